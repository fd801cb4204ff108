"""One HTTP/1.1 connection: a request is sent, the head of its answer parsed, its body received straight into the caller's buffer.

http.client takes 68 µs of CPU for a 304, most of it in email.parser, and its import 18 ms: this is the little of RFC 9112 that a client
for GETs needs, with bounds for whatever a server may send.
"""

from __future__ import annotations

import contextlib
import os
import time

from s3warm.origin.base import Late, TransportError
from s3warm.origin.heads import length_of, malformed, parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket

__all__ = ["READ_TIMEOUT", "Connection"]

READ_TIMEOUT = 5.0  # seconds for each piece, and for a whole head
_BUFFER = 16 * 1024  # bytes: a head and a small body arrive at once; so large is a TLS record
_MOST_HEAD = 64 * 1024
_PIECE = 256 * 1024  # bytes of a body that is sent
_DRAINED = 64 * 1024  # bytes of a body that nobody reads; more than that costs more than a new connection
_DRAIN = 0.1  # seconds
_ENDLESS = 1 << 62  # bytes of a body that lasts until the connection is closed
_HEX = frozenset("0123456789abcdefABCDEF")


class Connection:
    """A connected socket that takes one request at a time."""

    def __init__(self, connected: socket) -> None:
        self.socket = connected
        self.pid = os.getpid()
        self.answered = False  # whether a byte of an answer to the last request has arrived
        self.reusable = False  # after the end of a body
        self._broken = False  # reading has failed; drained is only what has not
        self._failed = ""  # why it will fail again
        self._wait = -1.0  # the socket's time-out, as setting it is a system call
        self.until: float | None = None  # the deadline
        self._allowed = 0.0
        self._keep = False
        self._rest = 0  # bytes of the body, or of the chunk, that have not been read
        self._chunks = 0  # 0: the body is in one piece; 1: before its first chunk; 2: before another
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0  # what was received beyond what was asked for

    def ask(self, request: bytes, deadline: float | None, body: bytes = b"") -> tuple[int, dict[str, str]]:
        """Send a request with its body, and receive the status and the headers of its answer, names in lower case.

        Raises:
            TransportError: there is no answer, or none that can be understood; `answered` tells whether the server has seen it.
            Late: there is none before the deadline.
        """
        self.answered = self.reusable = self._broken = False
        self._failed = ""
        self._start = self._end = self._rest = self._chunks = 0
        self.until = deadline
        if deadline is not None:
            self._allowed = deadline - time.monotonic()
        try:
            self._set_timeout(deadline)
            self.socket.sendall(request)
            cut = self._send(body) if body else None
            minor, status, headers = self._head()
        except TimeoutError as error:
            raise self._too_slow(error) from error
        except OSError as error:
            raise TransportError(f"no answer ({error!r})") from error
        if cut is not None and status < 300:
            raise TransportError(f"it was accepted before all of it was sent ({cut!r})") from cut
        self._frame(minor, status, headers)
        if cut is not None:
            self._keep = self.reusable = False
        return status, headers

    @property
    def over(self) -> bool:
        """Whether the body has been read to its end."""
        return not self._rest and not self._chunks

    def readinto(self, buffer: memoryview) -> int:
        """See `Response.readinto`."""
        if self.pid != os.getpid():
            raise TransportError("the connection is the parent process's")
        if self._failed:
            raise TransportError(self._failed)
        try:
            return self._read(buffer)
        except TransportError as error:
            self._broken = True
            self._failed = str(error)
            raise
        except TimeoutError as error:
            self._broken = True
            if self.until is not None and time.monotonic() >= self.until:
                waited = 0.0 if isinstance(error, _Over) else self._wait
                raise Late("there was no time left for the rest of the body", waited=waited) from error
            raise TransportError(f"the body broke off (nothing came for {READ_TIMEOUT:.0f} s)") from error
        except OSError as error:
            self._broken = True
            raise TransportError(f"the body broke off ({error!r})") from error

    def drain(self) -> None:
        """Read what little there is of a body that nobody wants."""
        until = time.monotonic() + _DRAIN
        self.until = until if self.until is None else min(until, self.until)
        left = _DRAINED
        with contextlib.suppress(TransportError), memoryview(bytearray(_BUFFER)) as nowhere:
            while not self._broken and not self.over and self._rest <= left:
                left -= self.readinto(nowhere)

    def close(self) -> None:
        """Close the socket. In a forked child this leaves the parent's connection as it is: nothing is sent."""
        self.socket.close()

    # -- the head ------------------------------------------------------------------------------------------------------------------

    def _head(self) -> tuple[int, int, dict[str, str]]:
        start = scanned = 0
        patience: float | None = None
        while True:
            found = self._buffer.find(b"\r\n\r\n", max(start, scanned - 3), self._end)
            if found >= 0:
                minor, status, headers = parsed(self._buffer[start:found].decode("latin-1"))
                start = scanned = found + 4
                if status >= 200:
                    self._start = start
                    return minor, status, headers
                if status == 101:
                    raise malformed("it switches protocols")
                continue  # an interim answer (RFC 9110, section 15.2)
            scanned = self._end
            if self._end == len(self._buffer):
                self._grow()
            if self.answered and patience is None:
                patience = time.monotonic() + READ_TIMEOUT
            count = self._receive(self._view[self._end :], patience)
            if not count:
                said = "in the middle of the head" if self.answered else "without an answer"
                raise TransportError(f"the connection was closed {said}")
            self.answered = True
            self._end += count

    def _grow(self) -> None:
        if len(self._buffer) >= _MOST_HEAD:
            raise malformed(f"its head is longer than {_MOST_HEAD:,} bytes")
        longer = bytearray(_MOST_HEAD)
        longer[: self._end] = self._buffer
        self._buffer, self._view = longer, memoryview(longer)

    def _frame(self, minor: int, status: int, headers: dict[str, str]) -> None:
        """How long the body is (RFC 9112, section 6.3), and whether the connection is of use after it (section 9.3)."""
        options = headers.get("connection")
        self._keep = minor >= 1 and (not options or "close" not in [option.strip() for option in options.lower().split(",")])
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if status in (204, 304):
            self._rest = 0
        elif coding is not None:
            if coding.lower() != "chunked":
                raise malformed("its Transfer-Encoding is not chunked")
            self._chunks = 1
            if length is not None:
                del headers["content-length"]
                self._keep = False
        elif length is not None:
            self._rest = length_of(length)
            headers["content-length"] = str(self._rest)
        else:
            self._rest = _ENDLESS
            self._keep = False
        if self.over:
            self._finish()

    # -- the body ------------------------------------------------------------------------------------------------------------------

    def _read(self, buffer: memoryview) -> int:
        if self._chunks and not self._rest:
            self._next_chunk()
        wanted = min(len(buffer), self._rest)
        if not wanted:
            return 0
        count = min(self._end - self._start, wanted)
        if count:
            buffer[:count] = self._view[self._start : self._start + count]
            self._start += count
        else:
            # Released by hand: an error's traceback would keep it.
            with buffer[:wanted] as piece:
                count = self._receive(piece)
            if not count:
                if self._rest <= _ENDLESS // 2:
                    raise TransportError("the body broke off (the connection was closed)")
                self._rest = 0
                return 0
        self._rest -= count
        if not self._rest and not self._chunks:
            self._finish()
        return count

    def _next_chunk(self) -> None:
        """RFC 9112, section 7.1."""
        if self._chunks == 2 and self._line():
            raise malformed("a chunk is longer than it says")
        self._chunks = 2
        size = self._line().partition(";")[0].rstrip(" \t")
        if not 0 < len(size) <= 15 or not _HEX.issuperset(size):
            raise malformed("the size of a chunk is no number")
        self._rest = int(size, 16)
        if not self._rest:
            left = _MOST_HEAD
            while line := self._line():  # trailers
                left -= len(line)
                if left < 0:
                    raise malformed("its trailers have no end")
            self._chunks = 0
            self._finish()

    def _line(self) -> str:
        while (found := self._buffer.find(b"\r\n", self._start, self._end)) < 0:
            if self._start:
                kept = self._end - self._start
                self._view[:kept] = bytes(self._view[self._start : self._end])
                self._start, self._end = 0, kept
            if self._end == len(self._buffer):
                raise malformed("a line between its chunks has no end")
            count = self._receive(self._view[self._end :])
            if not count:
                raise TransportError("the body broke off (the connection was closed)")
            self._end += count
        line = self._buffer[self._start : found].decode("latin-1")
        self._start = found + 2
        return line

    def _finish(self) -> None:
        # What has come beyond the end belongs to no request.
        self.reusable = self._keep and self._start == self._end

    # -- the socket ----------------------------------------------------------------------------------------------------------------

    def _send(self, body: bytes) -> OSError | None:
        """Send a body; the error at which it was cut off. Who refuses it may say so and close before all of it is there (RFC 9112, section 9.6)."""
        # In pieces: the time-out is that of a whole `sendall`.
        with memoryview(body) as whole:
            for start in range(0, len(body), _PIECE):
                self._set_timeout(self.until)
                try:
                    with whole[start : start + _PIECE] as piece:
                        self.socket.sendall(piece)
                except TimeoutError:
                    raise
                except OSError as error:
                    return error
        return None

    def _receive(self, buffer: memoryview, patience: float | None = None) -> int:
        until = self.until
        if patience is not None and (until is None or patience < until):
            until = patience
        self._set_timeout(until)
        return self.socket.recv_into(buffer)

    def _set_timeout(self, until: float | None) -> None:
        wait = READ_TIMEOUT
        if until is not None:
            left = until - time.monotonic()
            if left <= 0:
                raise _Over("its head did not end")
            wait = min(wait, left)
        if wait != self._wait:
            self.socket.settimeout(wait)
            self._wait = wait

    def _too_slow(self, error: TimeoutError) -> TransportError:
        if self.until is not None and time.monotonic() >= self.until:
            return Late(f"no answer in the {self._allowed:.3g} s that were left", waited=self._allowed)
        # Repeating it would keep the handler waiting for as long once more.
        return TransportError(f"no answer in time ({error})", transient=False)


class _Over(TimeoutError):
    """There was no time left to wait at all."""
