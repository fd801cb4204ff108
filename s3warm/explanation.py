"""Answers to "why?": where an object lies, and where the budgets come from. Made to be printed."""

from __future__ import annotations

from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.keys import ObjectKey
    from s3warm.rules.budget import Budget
    from s3warm.tiers.base import Held

__all__ = ["Budgets", "Explanation", "explain"]


class Explanation(NamedTuple):
    """What the cache knows of one object. Where nothing is held, `tiers` is empty, and what would describe a copy is None.

    Attributes:
        bucket: name of the bucket.
        key: key of the object.
        version_id: the version that was asked for, or None.
        tiers: where it lies, nearest first: `"memory"`, `"disk"`.
        etag: the entity tag, opaque, with its quotation marks.
        size: length of the body in bytes.
        stored_size: bytes that it takes in /tmp; None if it is only in memory.
        codec: how it is stored in /tmp; None if it is only in memory.
        age: seconds since S3 was last asked for it.
        expires_in: seconds until it is to be revalidated; negative if that time is over, `inf` for a pinned version.
        verified_by: what the body was checked against: `"md5"`, a checksum's name, or `"length"`.
        refusal: what a call is told without asking S3, since that has just failed, or said that there is none (`negative_ttl`).
        last_modified: when the object was written, in seconds since the epoch.
        paused: seconds for which S3 is not asked for a stale copy, since it has just failed; 0 otherwise.
        values: what is made of the object and kept in memory: what made it, and the bytes that it takes.

    Example:
        >>> from s3warm.testing import fake_s3
        >>> import s3warm
        >>> with fake_s3({"s3://cfg/flags.json": b"{}"}, ttl=60) as s3:
        ...     body = s3warm.get("cfg", "flags.json")
        ...     s3.advance(10)
        ...     before = s3warm.explain("cfg", "flags.json")
        ...     s3.advance(60)
        ...     after = s3warm.explain("cfg", "flags.json")
        >>> (before.tiers, before.fresh, before.expires_in), (after.tiers, after.fresh, after.expires_in)
        ((('memory', 'disk'), True, 50.0), (('memory', 'disk'), False, -10.0))
    """

    bucket: str
    key: str
    version_id: str | None
    tiers: tuple[str, ...]
    etag: str | None = None
    size: int | None = None
    stored_size: int | None = None
    codec: str | None = None
    age: float | None = None
    expires_in: float | None = None
    verified_by: str | None = None
    refusal: str | None = None
    last_modified: float | None = None
    paused: float = 0.0
    values: tuple[str, ...] = ()

    @property
    def fresh(self) -> bool:
        """Whether the next call is answered without asking S3."""
        return self.expires_in is not None and self.age is not None and self.expires_in > 0 and self.age >= 0

    def __str__(self) -> str:
        name = f"s3://{self.bucket}/{self.key}" + (f" (version {self.version_id})" if self.version_id else "")
        made = [f"  value     by {value}" for value in self.values]
        if self.age is None or self.expires_in is None or self.size is None:
            return "\n".join((name, f"  not held; {self.refusal or 'the next call fetches it'}", *made))
        expiry = "expired: the next call revalidates it"
        if self.paused:
            expiry = f"expired; S3 failed a moment ago, and is left in peace for another {self.paused:.1f} s"
        if self.fresh:
            expiry = "never expires" if self.expires_in == float("inf") else f"fresh for {self.expires_in:.1f} s"
        stored = "" if self.stored_size is None else f", {self.stored_size:,} in /tmp as {self.codec}"
        return "\n".join(
            (
                name,
                f"  held in   {', '.join(self.tiers)}",
                f"  etag      {self.etag}",
                f"  size      {self.size:,} bytes{stored}",
                f"  validated {self.age:.1f} s ago, {expiry}",
                f"  verified  by {self.verified_by}",
                *made,
            )
        )


def explain(
    where: ObjectKey, held: list[Held], now: float, refusal: Exception | None = None, paused: float = 0.0
) -> Explanation:
    """The explanation of what the tiers hold for one object, of what is raised in place of asking for it, and for how long S3 is not."""
    nothing = Explanation(where.bucket, where.key, where.version_id, ())
    if not held:
        return nothing._replace(refusal=None if refusal is None else str(refusal))
    newest = max(held, key=lambda found: found.validated_at)
    stored = next((found for found in held if found.tier == "disk"), None)
    return nothing._replace(
        tiers=tuple(found.tier for found in held),
        etag=newest.etag,
        size=newest.size,
        stored_size=stored.stored_size if stored else None,
        codec=stored.codec if stored else None,
        age=now - newest.validated_at,
        expires_in=newest.expires_at - now,
        verified_by=newest.verified_by,
        last_modified=newest.last_modified,
        paused=paused,
    )


class Budgets(NamedTuple):
    """What was chosen for each tier and from what. Sizes are bytes. Reads well when printed.

    Attributes:
        memory: of the memory tier: its `bytes`, and in words their `origin`. 0 bytes turn it off.
        disk: the same of the disk tier, for all processes on the directory; None where there is none, or it cannot be used now.
        largest_in_memory: bytes of the largest body that is kept in memory.
        directory: where the disk tier lies; None where there is none.
        fleet: whose entries of the shared tier are this cache's, and eight digits that are the same in all environments which share them;
            None where there is no shared tier.

    Example:
        >>> from s3warm.testing import fake_s3
        >>> import s3warm
        >>> with fake_s3({}, memory_budget="8MiB"):
        ...     s3warm.budgets().memory
        Budget(bytes=8388608, origin='as set')
    """

    memory: Budget
    disk: Budget | None
    largest_in_memory: int
    directory: str | None
    fleet: str | None = None

    def __str__(self) -> str:
        disk = "off" if self.directory is None else f"off: {self.directory} cannot be used now, and the log says why"
        if self.disk is not None:
            disk = f"{_size(self.disk.bytes)}: {self.disk.origin}"
        memory = f"off: {self.memory.origin}"
        if self.memory.bytes:
            memory = f"{_size(self.memory.bytes)}: {self.memory.origin}; bodies up to {_size(self.largest_in_memory)}"
        return "\n".join(
            (
                f"memory  {memory}",
                f"disk    {disk}" + (f" (in {self.directory})" if self.disk is not None else ""),
                *([] if self.fleet is None else [f"shared  {self.fleet}"]),
            )
        )


def _size(number: int) -> str:
    return f"{number / 2**20:,.1f} MiB"
