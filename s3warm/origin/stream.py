"""A body as a file that is read by ranged requests, pinned to its ETag, in bounded memory: for what fits nowhere."""

from __future__ import annotations

import io
from errno import EINVAL

from s3warm.origin.exchange import Again, Stream
from s3warm.origin.failures import unpinned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from s3warm.origin.base import Request, Response
    from s3warm.origin.exchange import Exchange

__all__ = ["RangedFile"]

FIRST_WINDOW = 1024 * 1024  # bytes asked for where a read begins; doubled for each window that is read to its end
LARGEST_WINDOW = 64 * 1024 * 1024
SKIP = 256 * 1024  # bytes that are read and dropped rather than that another request is sent


class RangedFile(io.RawIOBase):
    """Seekable and read-only. What is asked for grows while it is read in order, and begins anew with each jump.

    Errors: OriginUnavailableError (an OSError) if S3 cannot be reached, or if the object was overwritten since it was opened.
    """

    def __init__(self, exchange: Exchange, request: Request, size: int, response: Response) -> None:
        super().__init__()
        self._exchange = exchange
        self._request = request
        self._size = size
        self._position = 0
        # The first answer brings the whole, for whoever reads it in order; the first jump drops it.
        self._stream: Stream | None = Stream(exchange, request, (0, size - 1), response)
        self._end = size  # of the window under way
        self._window = FIRST_WINDOW

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position, in bytes from the begin."""
        self._check()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move; nothing is asked for before the next read."""
        self._check()
        if whence not in (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END):
            raise ValueError(f"whence must be 0, 1 or 2, not {whence!r}")
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(EINVAL, f"there is no position {base + offset}")  # as files have it: zipfile counts on it
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        """Read some bytes from the position on."""
        self._check()
        with memoryview(buffer).cast("B") as view:
            if not view or self._position >= self._size:
                return 0
            try:
                self._align()
                assert self._stream is not None
                count = self._stream.readinto(view)
            except Again as again:
                # The rest would be another body's.
                raise again.error from (again.__cause__ or again)
        self._position += count
        return count

    def close(self) -> None:
        """Drop the connection."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        super().close()

    def _align(self) -> None:
        """Let the stream stand where the next read begins."""
        stream = self._stream
        if stream is not None and stream.position <= self._position < self._end and self._position - stream.position <= SKIP:
            if stream.position < self._position:
                skipped = bytearray(self._position - stream.position)
                with memoryview(skipped) as view:
                    while stream.position < self._position:
                        stream.readinto(view[: self._position - stream.position])
            return
        in_order = stream is not None and self._position == self._end == stream.position
        self._window = min(self._window * 2, LARGEST_WINDOW) if in_order else FIRST_WINDOW
        if stream is not None:
            stream.close()
        if self._request.if_match is None:
            raise unpinned(self._request.object)  # the rest might be another body's
        self._end = min(self._position + self._window, self._size)
        self._stream = Stream(self._exchange, self._request, (self._position, self._end - 1))

    def _check(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")
