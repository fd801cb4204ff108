"""How the commands print sizes, durations, names and tables."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["duration", "name", "plural", "size", "span", "table"]


def size(number: float) -> str:
    """Bytes, in the unit that reads best.

    Example:
        >>> size(900), size(1536), size(5 * 2**20), size(3 * 2**30)
        ('900 B', '1.5 KiB', '5.0 MiB', '3.0 GiB')
    """
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if number >= 1024**power:
            return f"{number / 1024**power:,.1f} {unit}"
    return f"{number:.0f} B"


def duration(seconds: float) -> str:
    """A measured time, in the unit that reads best.

    Example:
        >>> duration(3.2e-7), duration(0.0254), duration(0.5), duration(12)
        ('320 ns', '25.4 ms', '500 ms', '12.0 s')
    """
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= unit:
            return f"{seconds / unit:.{0 if seconds >= 99.95 * unit else 1}f} {name}"
    return f"{seconds * 1e9:.0f} ns"


def span(seconds: float) -> str:
    """An age, or the time that is left.

    Example:
        >>> span(4.2), span(300), span(90_000), span(float("inf"))
        ('4 s', '5 min', '25 h', 'never')
    """
    if seconds == float("inf"):
        return "never"
    for unit, least, name in ((86_400, 3, "d"), (3_600, 2, "h"), (60, 2, "min")):
        if abs(seconds) >= least * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def name(text: str) -> str:
    r"""A name in one line: a terminal obeys what is not printable.

    Example:
        >>> name("a b.json"), name("\x1b[2J")
        ('a b.json', "'\\x1b[2J'")
    """
    return text if text.isprintable() else repr(text)


def plural(number: int, one: str, many: str = "") -> str:
    """A number of things.

    Example:
        >>> plural(1, "row"), plural(2000, "body", "bodies")
        ('1 row', '2,000 bodies')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def table(header: Sequence[str], body: Sequence[Sequence[str]], *, left: int = 1) -> Iterator[str]:
    r"""Lines of columns; the first `left` of them stand to the left, the others, which are numbers, to the right.

    Example:
        >>> print(*table(("name", "size"), [("a", "1"), ("bcdef", "1,000")]), sep="\n")
        name    size
        a          1
        bcdef  1,000
    """
    lines = [header, *body]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        cells = [
            cell.ljust(width) if at < left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
