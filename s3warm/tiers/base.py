"""The contract that every tier keeps, so that the cache can treat them alike. One test suite holds it for all of them."""

from __future__ import annotations

from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Any, Protocol, Self

    from s3warm.entries import Entry, FileEntry, Known, Metadata
    from s3warm.errors import S3WarmError
    from s3warm.keys import ObjectKey
    from s3warm.origin.base import Sink
    from s3warm.tiers.slot import ValueSlot

    Term = tuple[float, float]  # when an object was validated, and when it expires
    Found = Callable[[Term | None], bool]  # whether a caller's object is there now, with these times, or, without, on looking

    class Tier(Protocol):
        """A place where entries are kept.

        A tier MUST NOT raise for trouble of its own (a full disk, a corrupt row): it counts, reports once and answers as if it
        held nothing. It MAY forget anything at any time. It MUST be safe to call from many threads.
        """

        name: str

        def get(self, key: ObjectKey) -> Entry | None:
            """What is held for the key, fresh or not, whole and verified; None if nothing is.

            Raises:
                ObjectTooLargeError: there is not enough memory left for the body.
            """
            ...

        def put(self, entry: Entry) -> bool:
            """Keep the entry; False if it was not admitted.

            Afterwards the tier MUST hold this entry for its key, or nothing, unless it holds one that was validated later
            (rule: put and refresh never replace a later validation by an earlier one).
            """
            ...

        def refresh(
            self, key: ObjectKey, etag: str, validated_at: float, expires_at: float, *, supersede: bool = False
        ) -> bool:
            """S3 has confirmed the body with this ETag: move its times. False if another body, or a later validation, is held.

            `supersede`: also in place of a later validation, which was made before the clock was set back.
            """
            ...

        def expire(self, key: ObjectKey) -> None:
            """Count what is held as stale from now on, but keep its body: a conditional request may confirm it."""
            ...

        def expire_all(self) -> None:
            """`expire` for everything that is held."""
            ...

        def evict(self, key: ObjectKey) -> None:
            """Forget the key. MUST NOT return before no later `get` can find it."""
            ...

        def clear(self) -> None:
            """Forget everything."""
            ...

        def usage(self) -> Usage:
            """What is held and what may be."""
            ...

        def describe(self, key: ObjectKey) -> Held | None:
            """How the key is held, for `explain`."""
            ...

        def renew(self) -> None:
            """This is a forked child: replace locks, leave connections to the parent."""
            ...

        def close(self) -> None:
            """Give back what the tier holds of the system; a persistent tier keeps its entries."""
            ...

    class Slot(Protocol):
        """What the hit path reads of an entry in memory."""

        body: bytes
        validated_at: float
        deadline: float
        expires_at: float
        hits: int

    class Elastic(Protocol):
        """A tier in memory that makes room for others."""

        due: float  # until then the hit path answers alone; from then on somebody has to look at the process's memory first
        freed: int  # bytes of all that was evicted, replaced or removed so far

        def held(self) -> int:
            """Bytes that the tier holds, bookkeeping included."""
            ...

        def limit(self, bound: int) -> tuple[int, int]:
            """Hold no more than this, and never more than the budget, until another limit is set.

            Returns:
                The bytes that were freed by evictions, and how many of them in pieces too small for the allocator to return each.
            """
            ...

    class Account(Protocol):
        """The account of the process's memory."""

        def largest(self) -> int:
            """The largest body that may be allocated now."""
            ...

        def hold(self, where: ObjectKey, size: int) -> AbstractContextManager[int]:
            """Make room for a body, for the length of a block; gives the bytes that buffers may take besides.

            Raises:
                ObjectTooLargeError: there is not enough memory for it.
            """
            ...

        def buffers(self, most: int) -> AbstractContextManager[int]:
            """Up to so many bytes for buffers, for the length of a block; gives how many."""
            ...

    class HotTier(Tier, Elastic, Protocol):
        """The tier that the hit path reads without a call: `slots[bucket][key]`."""

        @property
        def slots(self) -> Mapping[str, Mapping[Any, Slot]]:
            """All slots; one object for the life of the tier."""
            ...

        @property
        def values(self) -> Mapping[Any, Mapping[str, Mapping[Any, Any]]]:
            """All values that were made of bodies, by what made them: `values[decoder][bucket][key]`; likewise."""
            ...

        beside: ValueSlot | None  # the one value that alone is larger than the budget

        def value(self, key: ObjectKey, decoder: object) -> ValueSlot | None:
            """What a decoder made of the object, fresh or not."""
            ...

        def values_of(self, key: ObjectKey) -> list[ValueSlot]:
            """All that was made of the object, the oldest first."""
            ...

        def put_value(self, slot: ValueSlot) -> bool:
            """Keep a value, in the place of what its decoder made before; False if it was not admitted."""
            ...

        def restate(self, slot: ValueSlot, known: Known) -> None:
            """Let a value stand for another body than it was made of, until that expires."""
            ...

        def outdate(self, key: ObjectKey, etag: str, validated_at: float) -> None:
            """The object has the body with this ETag now: another one goes, and what was made of another is not fresh any more."""
            ...

        def drop(self, slot: ValueSlot) -> None:
            """Forget a value."""
            ...

        def drop_unused(self, key: ObjectKey) -> None:
            """Forget a body that nobody has used, but whoever made a value of it just now."""
            ...

        def resize(self, budget: int, largest: int) -> None:
            """Have another budget, and another largest body, from now on."""
            ...

        def hit(self, key: ObjectKey) -> None:
            """Count a hit that did not come by the hit path; that may answer again from now on."""
            ...

        def prolong(self, slot: Any) -> None:
            """Let the hit path answer from a slot until its expiry, or until the next look is due."""
            ...

        def hits(self) -> int:
            """Hits so far, however they came."""
            ...

    class Download(Sink, Protocol):
        """A body on its way into a tier."""

        def admit(self, entry: Entry) -> bool:
            """Keep the complete body for an entry that has it, as `Tier.put` would; but what is older may be held still if it fails."""
            ...

        def publish(self, info: Metadata, validated_at: float, expires_at: float, *, current: bool) -> FileEntry:
            """The complete body as a file, pinned; found by later calls only if it is `current`, and nothing validated later is held.

            Raises:
                NoRoom: it cannot be written.
            """
            ...

        def close(self) -> None:
            """End it. Finished parts of an incomplete body stay for the next download of it."""
            ...

    class FileTier(Tier, Protocol):
        """A tier that can give files out."""

        def file(self, key: ObjectKey) -> FileEntry | None:
            """What is held for the key, fresh or not, as a raw file, pinned; None if nothing is.

            Raises:
                NoRoom: it is held in another form, and there is no room for a raw one.
            """
            ...

        def suspend(self) -> None:
            """Let go of files and of the database until the next use."""
            ...

        def turn(self, key: ObjectKey, found: Found, patience: float) -> AbstractContextManager[Turn]:
            """The right to ask S3 for the object, for the length of a block: one process at a time has it, who dies has given it up.

            Others wait for at most `patience` seconds, and then enter without it. Whether the object was `found` after a wait is looked
            for, or judged by when it was validated and expires, where that is known.
            """
            ...

        def before_fork(self) -> Callable[[], None] | None:
            """This process is about to fork: hold still until what is returned is called in the parent; None: nothing is to be done."""
            ...

        def download(self, key: ObjectKey, *, at_any_cost: bool) -> Download:
            """A sink for the object's body. At any cost: whatever is not pinned may go for it.

            Raises:
                NoRoom: the tier is out of order.
            """
            ...

        def download_tree(self, key: ObjectKey) -> TreeDownload:
            """Where the members of a tree are put, at any cost.

            Raises:
                NoRoom: the tier is out of order.
            """
            ...

    class TreeDownload(Protocol):
        """A tree on its way into a tier."""

        def begin(self, info: Metadata, members: Sequence[tuple[str, str, int]]) -> frozenset[int]:
            """Make room for all members (relative name, ETag, bytes); the numbers of those that are there already.

            Raises:
                NoRoom: there is none.
            """
            ...

        def take_over(self, number: int) -> bool:
            """Take a member from the tree that is held; False if that has it not."""
            ...

        def member(self, number: int) -> Member:
            """A sink for a member, to be entered."""
            ...

        def finished(self, number: int, /) -> None:
            """A member is complete."""
            ...

        def publish(self, info: Metadata, validated_at: float, expires_at: float, *, current: bool) -> FileEntry:
            """The complete tree as a directory, pinned; see `Download.publish`."""
            ...

        def reset(self) -> None:
            """Nothing of it is any good."""
            ...

        def close(self) -> None:
            """End it. Finished members of an incomplete tree stay for the next download of it."""
            ...

    class Member(Sink, Protocol):
        """A sink for one file of a tree."""

        def __enter__(self) -> Self: ...

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
        ) -> None: ...

        def complete(self) -> None:
            """All of it is there."""
            ...

    Evicted = Callable[[ObjectKey, int], None]


__all__ = ["Held", "Turn", "Usage"]


class Turn:
    """What the wait for the right to ask has come to, and, for those who wait in turn, what the asking came to.

    Attributes:
        found: the object is there now.
        taken: another process still has the right.
        told: the error with which the turn of another process ended.
        failure: the error with which this one ends; set by whoever asked.
    """

    __slots__ = ("failure", "found", "taken", "told")

    def __init__(self, *, found: bool = False, taken: bool = False, told: S3WarmError | None = None) -> None:
        self.found = found
        self.taken = taken
        self.told = told
        self.failure: S3WarmError | None = None


class Usage(NamedTuple):
    """Bytes and entries that a tier holds, and the bytes that it may hold."""

    bytes: int
    budget: int
    entries: int


class Held(NamedTuple):
    """How a tier holds one body: in which form and in how many bytes, and when that was last validated."""

    tier: str
    codec: str
    stored_size: int
    etag: str
    size: int
    verified_by: str
    validated_at: float
    expires_at: float
    last_modified: float | None = None
