"""A TCP relay that knows which requests came over which connection, and can lose its clients' connections.

`tests.support.proxy` understands HTTP and holds requests back; this one passes bytes on as they are. Its clients send no bodies.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

_CHUNK = 256 * 1024
_TCP_REPAIR = 19  # linux/tcp.h; in this state a socket is closed without a word to the other side
_AT_ONCE = struct.pack("ii", 1, 0)

_T = TypeVar("_T")


class Relay:
    """A relay to the server at the URL `upstream`, on a free port of the loopback, run by a daemon thread of its own."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self._heard: list[bytearray] = []  # from each client
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        self._server = self._wait(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_CHUNK, backlog=1024))
        self.endpoint = "http://{}:{}".format(*self._server.sockets[0].getsockname())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def senders(self) -> list[list[str]]:
        """Of each connection there was: the application ids in the User-Agents of its requests, one for each request."""
        return [re.findall(r"(?mi)^user-agent:.* app/(\S+)", heard.decode("latin-1")) for heard in list(self._heard)]

    def reset(self) -> None:
        """Reset every connection of a client."""
        self._wait(self._lose(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE))

    def vanish(self) -> None:
        """Forget every connection without telling the client, which finds out when it sends. Takes Linux and root."""
        self._wait(self._lose(socket.IPPROTO_TCP, _TCP_REPAIR, struct.pack("i", 1)))

    def close(self) -> None:
        """Reset what is open and stop."""
        self._server.close()
        self.reset()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, step: Coroutine[Any, Any, _T]) -> _T:
        """Run a step in the relay's thread and wait for it in this one."""
        return asyncio.run_coroutine_threadsafe(step, self._loop).result()

    async def _lose(self, level: int, option: int, value: bytes) -> None:
        lost = dict(self._open)
        for task, client in lost.items():
            with contextlib.suppress(OSError):  # it is gone already
                client.get_extra_info("socket").setsockopt(level, option, value)
            client.transport.abort()
            task.cancel()
        await asyncio.gather(*lost, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted is closed in the loop's next turn

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        heard = bytearray()
        self._heard.append(heard)
        server: asyncio.StreamWriter | None = None
        try:
            answers, server = await asyncio.open_connection(self._upstream.hostname, self._upstream.port, limit=_CHUNK)
            back = asyncio.create_task(_pass_on(answers, writer))
            try:
                await _pass_on(reader, server, heard)
            finally:
                back.cancel()
                await asyncio.gather(back, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, server):
                if end is not None:
                    end.transport.abort()
            del self._open[task]


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, heard: bytearray | None = None) -> None:
    """Pass bytes on until the source ends, and then the end."""
    while data := await source.read(_CHUNK):
        if heard is not None:
            heard += data
        target.write(data)
        await target.drain()
    target.close()
