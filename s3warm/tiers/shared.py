"""The shared tier: entries on a Valkey or Redis server, for all environments of a fleet. Never authoritative, and never in the way.

Bodies that stay small when compressed lie there with their metadata; of others only the metadata, so that who has the body on its own disk learns
that it is still the current one. Whatever the server does, what is wrong is refused and counted, and S3 has the last word.
"""

from __future__ import annotations

import os

from s3warm import codec
from s3warm.entries import Entry, Known
from s3warm.errors import ObjectTooLargeError
from s3warm.record import NamedTuple
from s3warm.rules.freshness import never_fresh, parse_cache_control
from s3warm.tiers import scripts
from s3warm.tiers.base import Held, Usage
from s3warm.tiers.floors import Floors
from s3warm.tiers.row import Row
from s3warm.tiers.sealed import Refused, check
from s3warm.tiers.server import Misfit, Unanswered, strings, was_done

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from s3warm.keys import ObjectKey
    from s3warm.tiers.base import Account, Term
    from s3warm.tiers.sealed import Head, Sealer
    from s3warm.tiers.server import Server

__all__ = ["Seen", "SharedTier"]

SKEW = 1.0  # seconds by which clocks of environments may differ
_LONGEST = 7 * 86_400.0  # seconds that anything is kept
_TOMBSTONE = 300.0  # seconds that a generation is remembered: what was asked before is brought by nobody any more
_TIMES = 8  # a body of so many times what may be stored is not tried: it would have to compress to an eighth


class Seen(NamedTuple):
    """What was looked at on the server.

    Attributes:
        known: what it knows of the object; None: nothing that counts.
        has_body: whether the body lies there.
        generation: which has to be the same when something newer is put there.
        entry: with the body, where that was asked for, and is authentic.
        head: as it lies there, be it none of ours.
    """

    known: Known | None
    has_body: bool
    generation: bytes = b""
    entry: Entry | None = None
    head: bytes | None = None


class SharedTier:
    """See the module.

    Args:
        server: where entries lie.
        sealer: makes them authentic.
        largest: bytes that a stored body may have.
        level: of compression.
        keep: seconds for which an expired entry is kept: a 304 may renew it, and it may stand in while S3 is out of reach.
        must_verify: whether bodies count that could be checked against their length alone.
        opted: what the rules say of sharing an object: True, also where it is encrypted with others' keys or `no-store`; False, not at all; None.
        account: of the process's memory.
        clock: the wall clock.
        refused: told of each object whose entry was none, and why.
    """

    name = "shared"

    def __init__(
        self,
        server: Server,
        sealer: Sealer,
        *,
        largest: int,
        level: int,
        keep: float,
        must_verify: bool = False,
        opted: Callable[[ObjectKey], bool | None],
        account: Account,
        clock: Callable[[], float],
        refused: Callable[[ObjectKey, Exception], object],
    ) -> None:
        self._server = server
        self._sealer = sealer
        self.largest = largest
        self._level = level
        self._keep = keep
        self._must_verify = must_verify
        self._opted = opted
        self._account = account
        self._clock = clock
        self._refused = refused
        self._expired, self._dropped = Floors(), Floors()

    def get(self, key: ObjectKey) -> Entry | None:
        """See `Tier.get`."""
        found = self.find(key)
        return None if found is None else found.entry

    def find(self, key: ObjectKey) -> Seen | None:
        """What the server has of an object, fresh or not, with its body; None if it does not answer."""
        name = self._sealer.name(key)
        found = self._told(key, 3, lambda client: client.eval(scripts.FIND, 1, name, self.largest))
        if found is None:
            return None
        raw, generation, body = found
        head = self._opened(key, raw)
        seen = self._seen(key, raw, head)._replace(generation=generation or b"")
        return seen._replace(entry=self._entry(key, head, body)) if head is not None and seen.has_body else seen

    def look(self, key: ObjectKey) -> Seen | None:
        """The same without the body, which is not moved."""
        found = self._fields(key, "h", "g")
        return None if found is None else self.seen(key, found[0])._replace(generation=found[1] or b"")

    def seen(self, key: ObjectKey, raw: bytes | None) -> Seen:
        """What a head says; what is none of this object's is counted."""
        return self._seen(key, raw, self._opened(key, raw))

    def describe(self, key: ObjectKey) -> Held | None:
        """See `Tier.describe`; a body that is not there takes no bytes."""
        found = self._fields(key, "h")
        head = None if found is None else self._opened(key, found[0])
        if head is None:
            return None
        row, info = head.row, head.row.info
        stored_size, times = 0 if head.sum is None else row.stored_size, self._times(key, head)
        return Held(self.name, row.codec, stored_size, info.etag, info.size, info.verified_by, *times, info.last_modified)

    def put(self, entry: Entry) -> bool:
        """See `Tier.put`. Of what may not be shared, or is too large, only the metadata."""
        if not self.may_know(entry):
            self.evict(entry.object)
            return False
        stored = self._stored(entry)
        return self._put(entry, stored, scripts.ANY, b"") and stored is not None

    def bring(self, known: Entry | Known, generation: bytes) -> bool:
        """Put what S3 has said since that generation was seen; False if it is another one by now, or later news are there.

        And if that was so long ago that another generation may have come and gone: a download takes its time, a frozen environment more.
        """
        if not self._clock() - known.validated_at < _TOMBSTONE - SKEW:
            return False
        stored = self._stored(known) if isinstance(known, Entry) else None
        return self.may_know(known) and self._put(known, stored, generation, b"")

    def replace(self, entry: Entry, generation: bytes) -> bool:
        """Put what was written since that generation was seen: who has looked before brings nothing any more. False as in `bring`."""
        return self.may_know(entry) and self._put(entry, self._stored(entry), generation, _drawn())

    def excludes(self, key: ObjectKey) -> bool:
        """Whether the server is not to know that there is such an object."""
        return key.tree or self._opted(key) is False

    def may_know(self, known: Entry | Known) -> bool:
        """Whether anything of it may be on the server, and is of any use there."""
        where, opted = known.object, self._opted(known.object)
        if self.excludes(where) or not known.etag or known.expires_at < known.validated_at:
            return False
        return opted is True or not parse_cache_control(known.info.cache_control).no_store

    def may_share(self, known: Entry | Known) -> bool:
        """Whether the body may lie there, if it is small enough."""
        where, opted = known.object, self._opted(known.object)
        encrypted = known.info.encryption is not None or (where.request is not None and where.request.encrypted)
        return self.may_know(known) and (opted is True or not encrypted) and known.size <= _TIMES * self.largest

    def refresh(self, key: ObjectKey, etag: str, validated_at: float, expires_at: float, *, supersede: bool = False) -> bool:
        """See `Tier.refresh`."""
        found = self._fields(key, "h")
        head = None if found is None else self._opened(key, found[0])
        if head is None or head.etag != etag or (head.validated_at > validated_at and not supersede):
            return False
        name, renewed = self._sealer.name(key), self._sealer.renewed(head, validated_at, expires_at)
        arguments = (repr(float(validated_at)), self._milliseconds(expires_at), head.raw, renewed)
        return bool(self._server.write(lambda client: was_done(client.eval(scripts.SWAP, 1, name, *arguments))))

    def expire(self, key: ObjectKey) -> None:
        """See `Tier.expire`: for this process. What another one validates from now on counts again, by whichever clock."""
        self._expired.lift(key, self._clock() + SKEW)

    def expire_all(self) -> None:
        """See `Tier.expire_all`, and `expire`."""
        self._expired.lift_all(self._clock() + SKEW)

    def evict(self, key: ObjectKey) -> None:
        """See `Tier.evict`: for all, if the server can be told, and for this process in any case."""
        self._withdraw(key, self._server.write)

    def withdraw(self, key: ObjectKey) -> bool:
        """`evict`, also where the server is left in peace; whether it was told."""
        return self._withdraw(key, self._server.insist)

    def _withdraw(self, key: ObjectKey, send: Callable[[Callable[[Any], bool]], bool | Unanswered]) -> bool:
        """What was asked of S3 before now is refused from now on, whoever brings it."""
        self._dropped.lift(key, self._clock())
        name, arguments = self._sealer.name(key), (_drawn(), int(_TOMBSTONE * 1000))
        told = bool(send(lambda client: was_done(client.eval(scripts.WITHDRAW, 1, name, *arguments))))
        if told:  # whatever lies there from now on came later, by whichever clock
            self._expired.lift(key, self._clock())
        else:  # it lies there still, and who put it there may have a clock that is a little ahead
            self._dropped.lift(key, self._clock() + SKEW)
        return told

    def clear(self) -> None:
        """See `Tier.clear`: for this process. The fleet's entries are not one environment's to drop."""
        self._dropped.lift_all(self._clock() + SKEW)

    @property
    def fleet(self) -> str:
        """Whose entries these are, and what is the same for all that have the same namespace and secret."""
        return f"{self._sealer.namespace} (fleet {self._sealer.log_name()[8:16]})"

    @property
    def trouble(self) -> Exception | None:
        """The last one that the server gave."""
        return self._server.trouble

    def usage(self) -> Usage:
        """See `Tier.usage`. What the server holds is its own business: `maxmemory` bounds it."""
        return Usage(0, 0, 0)

    def renew(self) -> None:
        """See `Tier.renew`."""
        self._server.renew()

    def suspend(self) -> None:
        """Hold no connection until the next use."""
        self._server.suspend()

    def close(self) -> None:
        """See `Tier.close`."""
        self._server.close()

    # -- what is sent, and what has come -----------------------------------------------------------------------------------

    def _fields(self, key: ObjectKey, *names: str) -> list[bytes | None] | None:
        """Fields of an object's hash; None if the server does not answer."""
        return self._told(key, len(names), lambda client: client.hmget(self._sealer.name(key), names))

    def _told(self, key: ObjectKey, count: int, ask: Callable[[Any], Any]) -> list[bytes | None] | None:
        """So many strings about an object, each of which may be missing; None if the server does not answer."""
        found = self._server.read(lambda client: strings(ask(client), count))
        if isinstance(found, Misfit):
            self._refused(key, Refused("it is of another type"))
            return [None for _ in range(count)]
        return None if isinstance(found, Unanswered) else found

    def _seen(self, key: ObjectKey, raw: bytes | None, head: Head | None) -> Seen:
        if head is None:
            return Seen(None, has_body=False, head=raw)
        has_body = head.sum is not None and head.row.stored_size <= self.largest  # another environment may have another limit
        return Seen(Known(key, head.row.info, *self._times(key, head)), has_body, head=raw)

    def _entry(self, key: ObjectKey, head: Head, body: bytes | None) -> Entry | None:
        """The entry that a head and its body make; None, and counted, if they do not belong together."""
        try:
            entry = head.row.entry(self._body(head, check(head, body)))
        except (Refused, codec.CorruptFrame) as error:
            self._refused(key, error)
            return None
        except ObjectTooLargeError:  # S3 will say so
            return None
        validated_at, expires_at = self._times(key, head)
        return entry._replace(validated_at=validated_at, expires_at=expires_at)

    def _opened(self, key: ObjectKey, raw: bytes | None) -> Head | None:
        """The head of what was not dropped; None, and counted, if it is none of this object's."""
        if raw is None:
            return None
        try:
            head = self._sealer.opened(key, raw)
        except Refused as error:
            self._refused(key, error)
            return None
        if self._must_verify and head.row.info.verified_by == "length":
            return None
        return None if head.validated_at <= self._dropped.of(key) else head

    def _times(self, key: ObjectKey, head: Head) -> Term:
        """The times that hold for this process: what was expired here is not fresh, and a clock may be a little ahead of ours."""
        now, validated_at, expires_at = float(self._clock()), head.validated_at, head.row.expires_at
        if validated_at <= self._expired.of(key):
            return validated_at, never_fresh(validated_at)
        return (now, expires_at) if now < validated_at <= now + SKEW else (validated_at, expires_at)

    def _body(self, head: Head, stored: bytes) -> bytes:
        row = head.row
        if row.codec == codec.RAW:
            return stored
        with self._account.hold(row.object, row.info.size):
            return codec.decompress(stored, row.info.size)

    def _stored(self, entry: Entry) -> tuple[str, bytes] | None:
        """The codec and the body as it is to be stored; None if it may not be, or is too large."""
        if not self.may_share(entry):
            return None
        body, estimated = entry.body, codec.estimate(entry.body, self._level)
        if estimated is not None and estimated <= _TIMES * self.largest:
            frame = codec.compress(body, self._level)
            if frame is not None:
                return (codec.ZSTD, frame) if len(frame) <= self.largest else None
        return (codec.RAW, body) if len(body) <= self.largest else None

    def _put(self, known: Entry | Known, stored: tuple[str, bytes] | None, seen: bytes, new: bytes) -> bool:
        where, info = known.object, known.info
        form, body = stored or (codec.RAW, None)
        size = info.size if body is None else len(body)
        row = Row(self._sealer.namespace, where, info, form, size, 0, None, known.validated_at, known.expires_at)
        times = repr(float(known.validated_at)), repr(float(self._clock()) + SKEW), self._milliseconds(known.expires_at)
        arguments = (*times, seen, new, self._sealer.sealed(row, body), *(() if body is None else (body,)))
        name = self._sealer.name(where)
        return bool(self._server.write(lambda client: was_done(client.eval(scripts.PUT, 1, name, *arguments))))

    def _milliseconds(self, expires_at: float) -> int:
        """For how long the server keeps an entry."""
        return int(1000 * min(_LONGEST, max(0.0, expires_at - self._clock()) + self._keep))


def _drawn() -> bytes:
    """A generation that nobody has seen."""
    return os.urandom(8).hex().encode()
