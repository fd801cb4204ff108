"""What was invalidated for the whole fleet: a log on the server, which each environment reads on from where it stopped, once a second.

Entries are authentic as heads are. A log that is gone (evicted, lost with its server), or was read too late, tells nothing of what is missing: then
everything is looked at anew. That is seen by whether the entry that was read last is still there.
"""

from __future__ import annotations

import json

from s3warm.keys import locate
from s3warm.record import NamedTuple
from s3warm.terms import Terms
from s3warm.tiers import scripts
from s3warm.tiers.sealed import Refused
from s3warm.tiers.server import Misfit, Senseless, Unanswered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from s3warm.keys import ObjectKey
    from s3warm.tiers.sealed import Sealer
    from s3warm.tiers.server import Server

__all__ = ["News", "Tiding", "Tidings"]

_KEPT = 1000  # entries
_PAGE = 64  # entries that are read at a time: they fit into what an answer may have, however long their keys are
_KEPT_FOR = 7 * 86_400_000  # milliseconds
_START = b"0-0"
_BEGINNING = {b"b": b""}  # the first entry of a log, which says nothing


class Tiding(NamedTuple):
    """An object was invalidated, at a time in seconds since the epoch."""

    object: ObjectKey
    at: float


class News(NamedTuple):
    """What was read of the log.

    Attributes:
        told: what was invalidated.
        complete: nothing is missing.
        lost: the log is not the one that was read before.
    """

    told: list[Tiding]
    complete: bool
    lost: bool


class Tidings:
    """The log of a namespace, as this process has read it."""

    def __init__(self, server: Server, sealer: Sealer, refused: Callable[[Exception], object]) -> None:
        self._server = server
        self._sealer = sealer
        self._refused = refused
        self._last = _START

    def tell(self, tiding: Tiding) -> bool:
        """Write one; whether the server has it."""
        where = tiding.object
        asked = None if where.request is None else where.request.fingerprint
        text = json.dumps([tiding.at, where.bucket, where.key, where.version_id, asked]).encode()
        name = self._sealer.log_name()

        def write(client: Any) -> object:
            written = client.xadd(name, {"e": text, "s": self._sealer.sum(text)}, maxlen=_KEPT, approximate=True)
            client.pexpire(name, _KEPT_FOR)
            return written

        def replace(client: Any) -> object:
            client.delete(name)
            return write(client)

        written = self._server.insist(write)
        if isinstance(written, Misfit):
            written = self._server.insist(replace)
        return bool(written)

    def news(self) -> News:
        """What was written since the last time, or since the beginning of the log."""
        told: list[Tiding] = []
        for _ in range(0, _KEPT, _PAGE):
            last = self._last
            page = self._page()
            if page is None:  # what was read last is not there any more: it was cut, or it is another log
                self._skip()
                return News(told, complete=False, lost=True)
            told += [tiding for tiding in (self._read(fields) for _, fields in page) if tiding is not None]
            if len(page) < _PAGE:
                return News(told, complete=True, lost=False)
            if last == _START:
                break  # who has only begun has little that could be out of date
        self._skip()
        return News(told, complete=False, lost=False)

    def _page(self) -> list[tuple[bytes, Any]] | None:
        """What follows on the entry that was read last; None if that is not there any more."""
        last, name = self._last, self._sealer.log_name()
        # From the last one on, to see that it is still there; XREAD would not say, and finds no node of a cluster by its first argument.
        entries = self._server.read(lambda client: _entries(client.xrange(name, min=last, max="+", count=_PAGE + 1)))
        if isinstance(entries, Misfit):
            self._refused(Refused("it is of another type"))
            return None if last != _START else []
        if isinstance(entries, Unanswered):
            return []
        if last == _START:
            if not entries:
                self._begin()
            entries = entries[:_PAGE]
        elif entries and entries[0][0] == last:
            del entries[0]
        else:
            return None
        if entries:
            self._last = entries[-1][0]
        return entries

    def _begin(self) -> None:
        """Begin the log, and remember by what: who reads it next may come so late that it is gone again."""
        name = self._sealer.log_name()
        first = self._server.write(lambda client: _first(client.eval(scripts.BEGIN, 1, name, _KEPT_FOR)))
        self._last = _START if isinstance(first, Unanswered) or not first else first

    def _skip(self) -> None:
        """Go on from what is the last entry now: everything is looked at anew, whatever the others say."""
        name = self._sealer.log_name()
        entries = self._server.read(lambda client: _entries(client.xrevrange(name, "+", "-", count=1)))
        if isinstance(entries, Unanswered) or not entries:
            self._begin()
        else:
            self._last = entries[0][0]

    def _read(self, fields: Any) -> Tiding | None:
        try:
            if fields == _BEGINNING:
                return None
            text = fields[b"e"]
            if not self._sealer.is_authentic(fields[b"s"], text):
                raise Refused("its HMAC is wrong")
            at, bucket, key, version_id, asked = json.loads(text)
            where = locate(bucket, key, version_id)
            return Tiding(where if asked is None else where._replace(request=_terms(asked)), float(at))
        except (TypeError, ValueError, KeyError, OverflowError, RecursionError) as error:
            self._refused(error)
            return None


def _terms(fingerprint: object) -> Terms:
    if not isinstance(fingerprint, str):
        raise TypeError(f"terms are text, not {type(fingerprint).__name__}")
    return Terms(fingerprint)


def _entries(answer: Any) -> list[tuple[bytes, Any]]:
    """The entries of a stream, if there are any.

    Raises:
        Senseless: it is something else.
    """
    try:
        entries = [(number, fields) for number, fields in answer]
        # Read on from a number that is none, and an honest server would refuse from then on.
        if all(_is_number(number) for number, _ in entries):
            return entries
    except (TypeError, ValueError, AttributeError):
        pass
    raise Senseless("it answers with something that is no part of a log")


def _first(answer: Any) -> bytes:
    """The number of the entry that a log begins with; nothing where another has begun it.

    Raises:
        Senseless: it is something else.
    """
    if isinstance(answer, bytes) and (not answer or _is_number(answer)):
        return answer
    raise Senseless(f"it answers with {type(answer).__name__}, where the number of an entry was asked for")


def _is_number(number: bytes) -> bool:
    """Whether an entry can have this number: two of 64 bits."""
    parts = number.split(b"-")
    return len(parts) == 2 and all(part.isdigit() and len(part) <= 20 and int(part) < 2**64 for part in parts)
