"""What `preload` has done, source by source. Made to be printed."""

from __future__ import annotations

from s3warm.record import NamedTuple

__all__ = ["PreloadReport", "Preloaded", "reason", "shown"]

OUTCOMES = ("fetched", "fresh", "revalidated", "stale", "called", "failed", "unfinished")


class Preloaded(NamedTuple):
    """What became of one source.

    Attributes:
        source: the URI or the `(bucket, key)` pair as it was given; of a callable its qualified name.
        outcome: `"fetched"` from S3 or the shared tier, `"fresh"` (it was there already), `"revalidated"` (there already, and S3 or the fleet was asked whether it has
            changed), `"stale"` (S3 could not be asked, an older copy is there), `"called"` (a callable), `"failed"`, or `"unfinished"` (the
            time was over before it was done, or begun).
        tier: where it is when all are done, `"memory"` or `"disk"`; `""` if nowhere, and for callables.
        bytes: size of the object; of a callable that of the file or the `bytes` that it gave, 0 for anything else.
        seconds: the time that it took.
        error: what was raised; None if nothing was, as for a source that was not begun.
    """

    source: str | tuple[str, str]
    outcome: str
    tier: str = ""
    bytes: int = 0
    seconds: float = 0.0
    error: Exception | None = None


class PreloadReport(NamedTuple):
    """What `preload` has done. True if all went well, as `ok` is. Reads well when printed.

    Attributes:
        sources: one for each source, in the given order: its `source`, the `outcome` (`"fetched"`, `"fresh"`, `"revalidated"`, `"stale"`,
            `"called"`, `"failed"` or `"unfinished"`), the `tier` where it is now (`"memory"`, `"disk"` or `""`), its size in `bytes`, the
            `seconds` that it took, and the `error` that it raised, or None.
        seconds: the time that all took.

    Example:
        >>> report = PreloadReport((Preloaded("s3://cfg/flags.json", "fetched", "memory", 2**19, 0.03),), 0.03)
        >>> print(report)
        s3://cfg/flags.json  fetched  memory  512.0 KiB  0.03 s
        1 source, 512.0 KiB in 0.03 s: 1 fetched
        >>> report.ok, report.bytes, report.failed, report.unfinished
        (True, 524288, (), ())
    """

    sources: tuple[Preloaded, ...]
    seconds: float

    @property
    def bytes(self) -> int:
        """Bytes of all sources that are there now."""
        return sum(each.bytes for each in self.sources)

    @property
    def failed(self) -> tuple[Preloaded, ...]:
        """Those that raised."""
        return tuple(each for each in self.sources if each.outcome == "failed")

    @property
    def unfinished(self) -> tuple[Preloaded, ...]:
        """Those for which there was no time."""
        return tuple(each for each in self.sources if each.outcome == "unfinished")

    @property
    def ok(self) -> bool:
        """Whether nothing failed and nothing is unfinished."""
        return not self.failed and not self.unfinished

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        rows = [
            (
                shown(each.source),
                each.outcome,
                each.tier,
                _size(each.bytes) if each.bytes else "",
                f"{each.seconds:.2f} s",
            )
            for each in self.sources
        ]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(5)]
        lines: list[str] = []
        for row, each in zip(rows, self.sources, strict=True):
            # Words to the left, numbers to the right.
            cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=False)]
            cells += [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
            if each.outcome in ("failed", "unfinished"):
                cells.append(reason(each))
            lines.append("  ".join(cell for cell, width in zip(cells, [*widths, 1], strict=False) if width))
        counts = [(sum(each.outcome == outcome for each in self.sources), outcome) for outcome in OUTCOMES]
        said = ", ".join(f"{count:,} {outcome}" for count, outcome in counts if count)
        many = "1 source" if len(self.sources) == 1 else f"{len(self.sources):,} sources"
        summary = f"{many}{f', {_size(self.bytes)}' if self.bytes else ''} in {self.seconds:.2f} s"
        return "\n".join([*lines, f"{summary}: {said}" if said else summary])


def shown(source: str | tuple[str, str]) -> str:
    """A source in one line."""
    name = source if isinstance(source, str) else "s3://" + "/".join(source)
    return name if name.isprintable() else repr(name)


def reason(source: Preloaded) -> str:
    """Why a source is not there, in one line."""
    if source.error is None:
        return "not begun: the time was over"
    return " ".join(f"{type(source.error).__name__}: {source.error}".split())


def _size(number: int) -> str:
    if number < 2**10:
        return f"{number} bytes"
    return f"{number / 2**20:,.2f} MiB" if number >= 2**20 else f"{number / 2**10:,.1f} KiB"
