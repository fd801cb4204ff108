"""A fault proxy: it stands in front of any S3 server and breaks what comes back, as a seed has it.

Where the server is one that others wrote (moto, Ceph), it cannot be told to misbehave; what lies between it and the client can. Requests
reach the server untouched, so that signatures stay valid.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tests.support.proxy import RecordingProxy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.proxy import Exchange, RequestHead, _Framing, _Message, _Passage, _Peer

__all__ = ["KINDS", "FaultProxy"]

_CUTS = ("reset", "truncate", "stall")
KINDS = (*_CUTS, "flip", "503", "500", "late", "refuse")
"""The kinds of faults; see `FaultProxy`."""

_ERRORS = {
    "503": ("Slow Down", "SlowDown", "Please reduce your request rate."),
    "500": ("Internal Server Error", "InternalError", "We encountered an internal error. Please try again."),
}


class FaultProxy(RecordingProxy):
    """A `RecordingProxy` that breaks answers to GETs.

    - "reset": the connection is reset somewhere in the body.
    - "truncate": the connection is closed in order before the body is complete.
    - "stall": some of the body comes, and then nothing until the client closes the connection.
    - "flip": one bit of the body is flipped. Only of a whole object whose ETag is an MD5: elsewhere nobody could notice.
    - "503", "500": this is the answer, with the error that S3 gives (SlowDown, InternalError).
    - "late": the head comes `late` seconds late.
    - "refuse": the connection is closed without an answer.

    The first three need a body of known length: a 304 or an empty object goes through. An outage as a whole is `down`.

    Attributes:
        met: how many faults there were of each kind, counted before the first byte of the broken answer is sent.
        methods: how many requests there were by method, those without an answer too.
        late: seconds.
    """

    def __init__(self, upstream: tuple[str, int], *, late: float = 0.3) -> None:
        self.met: Counter[str] = Counter()
        self.methods: Counter[str] = Counter()
        self.late = late
        self._chaos = _Chaos(0, 0.0, ())
        super().__init__(upstream)

    def chaos(self, seed: int, share: float, kinds: Sequence[str]) -> None:
        """Break a share of the answers from now on; 0.0 ends it.

        Which ones and how depends on the seed, on the request (method, target, range) and on how often it was made since this call: not on
        the order among different requests, which threads decide.
        """
        if unknown := set(kinds) - set(KINDS):
            raise ValueError(f"no kinds of faults: {sorted(unknown)}; there are {KINDS}")
        self._chaos = _Chaos(seed, share, tuple(kinds))

    async def _exchange(self, asked: RequestHead, request: _Message, client: _Peer, upstream: _Peer) -> bool:
        self.methods[asked.method] += 1
        return await super()._exchange(asked, request, client, upstream)

    async def _respond(self, exchange: Exchange, response: _Message, head: bytes, framing: _Framing, passage: _Passage) -> bool:
        length = framing if isinstance(framing, int) else 0
        fault = self._chaos.draw(exchange, response.headers, length)
        if fault is not None:
            kind, offset = fault
            self.met[kind] += 1
            if kind == "late":
                await asyncio.sleep(self.late)
            elif kind == "refuse":
                raise asyncio.IncompleteReadError(b"", None)
            elif kind in _ERRORS:
                self._fail(kind, exchange, passage)
                return True
            elif kind == "flip":
                await _flipped(head, length, offset, passage)
                return response.persistent
            else:
                await _cut(kind, head, length, offset, passage)
        return await super()._respond(exchange, response, head, framing, passage)

    def _fail(self, kind: str, exchange: Exchange, passage: _Passage) -> None:
        """Answer in the server's place; the client's connection stays open, as S3 leaves it."""
        passage.upstream.reset()  # its body is still to come
        reason, code, message = _ERRORS[kind]
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
            "<RequestId>0</RequestId><HostId>0</HostId></Error>"
        ).encode()
        head = f"HTTP/1.1 {kind} {reason}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        self._exchanges.append(replace(exchange, status=int(kind), response_body_bytes=len(body)))
        passage.client.writer.write(head.encode() + body)


@dataclass(frozen=True)
class _Chaos:
    seed: int
    share: float
    kinds: tuple[str, ...]
    made: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # how often each request was

    def draw(self, exchange: Exchange, headers: dict[str, str], length: int) -> tuple[str, int] | None:
        """The fault of this answer, and where in its body."""
        if not self.share or exchange.method != "GET":
            return None
        same = (exchange.method, f"{exchange.path}?{exchange.query}", exchange.headers.get("range", ""))
        self.made[same] += 1
        draws = random.Random(f"{self.seed} {self.made[same]} {' '.join(same)}")
        if draws.random() >= self.share:
            return None
        suiting = [kind for kind in self.kinds if _suits(kind, exchange, headers, length)]
        return (draws.choice(suiting), draws.randrange(max(1, length))) if suiting else None


def _suits(kind: str, exchange: Exchange, headers: dict[str, str], length: int) -> bool:
    if kind in _CUTS:
        return length > 0
    if kind != "flip":
        return True
    whole = exchange.status == 200 and bool(exchange.path.lstrip("/").partition("/")[2])
    md5 = re.fullmatch('"?[0-9a-f]{32}"?', headers.get("etag", "")) is not None
    encrypted = headers.get("x-amz-server-side-encryption", "AES256") != "AES256"
    customers = "x-amz-server-side-encryption-customer-algorithm" in headers
    return length > 0 and whole and md5 and not encrypted and not customers


async def _cut(kind: str, head: bytes, length: int, offset: int, passage: _Passage) -> None:
    """Pass on what comes before the offset, and end the connection in one way or the other."""
    data = await passage.upstream.reader.readexactly(offset)
    passage.tally(offset, False)
    passage.client.writer.write(head + data)
    await passage.client.writer.drain()
    if kind == "truncate":
        raise asyncio.IncompleteReadError(data, length)
    while kind == "stall" and await passage.client.reader.read(1024):
        pass
    raise ConnectionResetError


async def _flipped(head: bytes, length: int, offset: int, passage: _Passage) -> None:
    data = bytearray(await passage.upstream.reader.readexactly(length))
    data[offset] ^= 1
    passage.tally(length, True)
    passage.client.writer.write(head + data)
    await passage.client.writer.drain()
