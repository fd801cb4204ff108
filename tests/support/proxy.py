"""A TCP proxy that understands just enough HTTP/1.1 to count, hold back and break what passes through it.

What a cache promises shows in the requests that reach S3: how many, of which kind, with how many bytes, and in what
happens when they do not arrive. The proxy stands between client and server, whichever server it is, and records them.
It changes no byte of a request, so that SigV4 signatures (which cover the Host header) stay valid, and it passes
bodies on as they come, so that it never holds a whole object in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import unquote

_CHUNK = 256 * 1024
_BODILESS = {str(int(status)) for status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)}

_T = TypeVar("_T")
_Framing = int | Literal["chunked", "until close"]


@dataclass(frozen=True)
class RequestHead:
    """What is known of a request before it is forwarded."""

    method: str
    path: str  # percent-decoded, without the query
    query: str  # as sent, without the question mark
    headers: dict[str, str]  # of the request, names in lower case


@dataclass(frozen=True)
class Exchange(RequestHead):
    """A request and what became of it."""

    status: int
    response_body_bytes: int  # that were passed on, not counting the frames of a chunked body


class RecordingProxy:
    """A proxy to `upstream` on a free port of the loopback, run by a daemon thread of its own.

    An exchange is recorded before the last bytes of its response are passed on, so that a client that has read a
    response finds it in `exchanges`. One whose response breaks off is recorded with the bytes passed on until then;
    one that gets no response, or that `down` cuts off, is not recorded.

    `delay` (seconds) holds each request back before it is forwarded, as a distant server would.

    `before_request` is called with each request after the delay and before it is forwarded, `before_response` with
    each exchange (0 bytes of body so far) before the head of its response is passed on. Each call has a thread of its
    own, so that any number may block at once, say on an Event or a Barrier. A hook that raises OSError resets the
    client's connection: a fault to order. Any other exception does so too and is raised again by `close`, so that a
    failed assertion in a hook fails its test.
    """

    def __init__(self, upstream: tuple[str, int], *, delay: float = 0.0) -> None:
        self.upstream = upstream
        self.delay = delay
        self.before_request: Callable[[RequestHead], None] | None = None
        self.before_response: Callable[[Exchange], None] | None = None
        self._exchanges: list[Exchange] = []
        self._hook_errors: list[BaseException] = []
        self._down = False
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="recording-proxy", daemon=True)
        self._thread.start()
        # A listener made here rather than by asyncio would leave Nagle's algorithm on: 44 ms for a small response.
        self._server = self._wait(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_CHUNK, backlog=1024))
        self.address: tuple[str, int] = self._server.sockets[0].getsockname()
        self.endpoint = "http://{}:{}".format(*self.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def exchanges(self) -> list[Exchange]:
        """A copy of what was recorded so far, in the order in which the responses ended."""
        return list(self._exchanges)

    def clear(self) -> None:
        """Forget what was recorded so far."""
        self._exchanges.clear()

    @property
    def down(self) -> bool:
        """While true, connections are reset: those that are open when it is set, and new ones at once."""
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        self._wait(self._set_down(down))

    def close(self) -> None:
        """Reset what is open and stop; then raise what a hook raised unexpectedly, if one did."""
        if self._loop.is_closed():
            return
        self._wait(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._hook_errors:
            raise self._hook_errors[0]

    def _wait(self, step: Coroutine[Any, Any, _T]) -> _T:
        """Run a step in the proxy's thread and wait for it in this one."""
        return asyncio.run_coroutine_threadsafe(step, self._loop).result()

    async def _set_down(self, down: bool) -> None:
        self._down = down
        if down:
            await _cancel(*self._connections)

    async def _stop(self) -> None:
        self._server.close()
        await self._set_down(True)
        await _cancel(*asyncio.all_tasks() - {asyncio.current_task()})  # accepted, but not served yet

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a client's connection: one exchange after the other, over one connection to upstream if it lasts."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        client, upstream = _Peer(reader, writer), None
        try:
            if self._down:
                raise ConnectionResetError
            persistent = True
            while persistent:
                request = await client.head()
                path, _, query = request.start[1].partition("?")
                asked = RequestHead(request.start[0], unquote(path), query, request.headers)
                await asyncio.sleep(self.delay)
                await self._call(self.before_request, asked)
                if upstream is not None and upstream.gone:
                    upstream.reset()
                    upstream = None
                if upstream is None:
                    upstream = _Peer(*await asyncio.open_connection(*self.upstream, limit=_CHUNK))
                persistent = await self._exchange(asked, request, client, upstream)
            client.writer.close()
        except asyncio.IncompleteReadError:  # one side hung up, within a message or after one: pass that on
            client.writer.close()
        except (OSError, ValueError, asyncio.LimitOverrunError, asyncio.CancelledError):
            client.reset()
        finally:
            if upstream is not None:
                upstream.reset()
            self._connections.discard(task)

    async def _exchange(self, asked: RequestHead, request: _Message, client: _Peer, upstream: _Peer) -> bool:
        """Pass a request and its response on; returns whether the connection can carry another.

        The two flow at the same time, for a server may answer before it has read the body: with an interim response
        that asks for it (Expect: 100-continue), or with a refusal. After a refusal the client may or may not send the
        rest of its body, so where its next request would start is unknown, and it is told to close the connection.
        """
        upload = asyncio.create_task(_upload(request, client, upstream))
        try:
            while (response := await upstream.head()).start[1].startswith("1"):
                client.writer.write(response.raw)
            exchange = Exchange(**vars(asked), status=int(response.start[1]), response_body_bytes=0)
            bodiless = asked.method == "HEAD" or response.start[1] in _BODILESS
            framing = 0 if bodiless else response.framing(otherwise="until close")
            passed = 0

            def tally(count: int, last: bool) -> None:
                nonlocal passed
                passed += count
                if last:
                    self._exchanges.append(replace(exchange, response_body_bytes=passed))

            try:
                await self._call(self.before_response, exchange)
                early = not upload.done()
                head = response.closing() if early else response.raw
                open_still = await self._respond(exchange, response, head, framing, _Passage(client, upstream, tally))
            except (OSError, asyncio.IncompleteReadError):
                tally(0, last=True)
                raise
            if early:
                await upload
            return open_still and not early
        finally:
            upload.cancel()

    async def _respond(self, exchange: Exchange, response: _Message, head: bytes, framing: _Framing, passage: _Passage) -> bool:
        """Pass a response on; returns whether it leaves the client's connection open.

        A subclass may do otherwise: OSError resets the client, IncompleteReadError hangs up in order.
        """
        await _Transfer(passage.upstream.reader, passage.client.writer, passage.tally).run(head, framing)
        return response.persistent and framing != "until close"

    async def _call(self, hook: Callable[[_T], None] | None, argument: _T) -> None:
        """Run a hook in a daemon thread, which, unlike a pool's, can block neither its likes nor the exit."""
        if hook is None:
            return
        finished = asyncio.Event()
        failures: list[OSError] = []

        def run() -> None:
            try:
                hook(argument)
            except OSError as error:
                failures.append(error)
            except BaseException as error:  # noqa: BLE001 - `close` raises it again
                self._hook_errors.append(error)
                failures.append(ConnectionResetError())
            with contextlib.suppress(RuntimeError):  # the proxy was closed in the meantime
                self._loop.call_soon_threadsafe(finished.set)

        threading.Thread(target=run, name="recording-proxy-hook", daemon=True).start()
        await finished.wait()
        if failures:
            raise failures[0]


@dataclass(frozen=True)
class _Message:
    """The head of an HTTP message: its bytes, and what they say."""

    raw: bytes
    start: list[str]  # method, target and version of a request; version, status and reason of a response
    headers: dict[str, str]

    def framing(self, *, otherwise: _Framing) -> _Framing:
        """How to tell where the body ends; `otherwise` if the head does not say."""
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return "chunked"
        return int(self.headers["content-length"]) if "content-length" in self.headers else otherwise

    @property
    def persistent(self) -> bool:
        """Whether a response leaves the connection open."""
        option = self.headers.get("connection", "").lower()
        return "keep-alive" in option if self.start[0] == "HTTP/1.0" else "close" not in option

    def closing(self) -> bytes:
        """The head, saying that the connection closes after this message."""
        lines = self.raw.split(b"\r\n")[:-2]
        kept = [line for line in lines if not line.lower().startswith(b"connection:")]
        return b"\r\n".join([*kept, b"Connection: close", b"", b""])


@dataclass(frozen=True)
class _Peer:
    """One end of a proxied connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def gone(self) -> bool:
        """Whether the peer has hung up on an idle connection."""
        return self.reader.at_eof() or self.writer.is_closing()

    async def head(self) -> _Message:
        raw = await self.reader.readuntil(b"\r\n\r\n")
        start, *lines = raw.decode("latin-1").split("\r\n")[:-2]
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = (part.strip() for part in line.partition(":"))
            name = name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        method, target, version = f"{start}  ".split(" ", 2)
        return _Message(raw, [method, target, version.strip()], headers)

    def reset(self) -> None:
        """Drop the connection so that the peer gets an error rather than an end of file."""
        with contextlib.suppress(OSError):  # closed already
            at_once = struct.pack("ii", 1, 0)
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.writer.transport.abort()


@dataclass(frozen=True)
class _Passage:
    """The two ends between which a response passes, and who counts its bytes (see `_Transfer.tally`)."""

    client: _Peer
    upstream: _Peer
    tally: Callable[[int, bool], None]


async def _upload(request: _Message, client: _Peer, upstream: _Peer) -> None:
    """Pass a request on; where that fails, the upstream connection ends, and with it the wait for its response."""
    try:
        transfer = _Transfer(client.reader, upstream.writer, lambda count, last: None)
        await transfer.run(request.raw, request.framing(otherwise=0))
    except (OSError, ValueError, asyncio.LimitOverrunError, asyncio.IncompleteReadError):
        upstream.reset()


@dataclass(frozen=True)
class _Transfer:
    """A message on its way: head and body are written to `target` as they come from `source`.

    `tally` is called before each part of the body is written, with its length and whether it is the last. Nothing
    can fail after the last part was tallied.
    """

    source: asyncio.StreamReader
    target: asyncio.StreamWriter
    tally: Callable[[int, bool], None]

    async def run(self, head: bytes, framing: _Framing) -> None:
        if framing == 0:
            self.tally(0, True)
        self.target.write(head)
        if framing == "chunked":
            await self._chunks()
        elif framing == "until close":
            await self._rest()
        else:
            await self._span(framing, final=True)

    async def _span(self, length: int, *, final: bool) -> None:
        while length:
            data = await self.source.read(min(length, _CHUNK))
            if not data:
                raise asyncio.IncompleteReadError(b"", length)
            length -= len(data)
            last = final and not length
            self.tally(len(data), last)
            self.target.write(data)
            if not last:
                await self.target.drain()

    async def _chunks(self) -> None:
        while size := int((line := await self.source.readuntil(b"\r\n")).partition(b";")[0], 16):
            self.target.write(line)
            await self._span(size, final=False)
            self.target.write(await self.source.readexactly(len(b"\r\n")))
        end = line
        while line != b"\r\n":  # trailers, and the empty line after them
            line = await self.source.readuntil(b"\r\n")
            end += line
        self.tally(0, True)
        self.target.write(end)

    async def _rest(self) -> None:
        while data := await self.source.read(_CHUNK):
            self.tally(len(data), False)
            self.target.write(data)
            await self.target.drain()
        self.tally(0, True)


async def _cancel(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks and wait for their end."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
