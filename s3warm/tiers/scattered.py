"""A file that many threads write at once, each where it is, and one reads behind them."""

from __future__ import annotations

import errno
import os
import threading

from s3warm.origin.base import CHUNK

__all__ = ["ScatteredFile"]


class ScatteredFile:
    """A private file, opened with `flags`; everything raises OSError.

    Example:
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = ScatteredFile(os.path.join(folder, "file"), os.O_CREAT)
        ...     file.write(memoryview(b"ld"), 3)
        ...     file.write(memoryview(b"wor"), 0)
        ...     bytes(file.read(0, 5))
        ...     file.close()
        b'world'
    """

    def __init__(self, path: str, flags: int) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
        self._buffers = threading.local()
        self._writing = threading.Lock()
        self._behind = memoryview(b"")

    def allocate(self, size: int) -> None:
        """Have the disk's blocks before anything is downloaded, where the system can do that."""
        if size and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self.descriptor, 0, size)
            except OSError as error:
                # The file system has no such thing; glibc helps itself then, others do not.
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
            else:
                return
        os.ftruncate(self.descriptor, size)

    def buffer(self, length: int) -> memoryview:
        """A buffer of the calling thread's own."""
        held: memoryview | None = getattr(self._buffers, "held", None)
        if held is None:
            held = self._buffers.held = memoryview(bytearray(CHUNK))
        return held[:length]

    def write(self, piece: memoryview, offset: int) -> None:
        """Write all of the piece. The kernel lets one thread at a time write to a file anyway, and its others spin meanwhile."""
        done = 0
        while done < len(piece):
            with piece[done:] as rest, self._writing:
                done += os.pwrite(self.descriptor, rest, offset + done)

    def read(self, offset: int, length: int) -> memoryview:
        """Some of what was written, for one thread, until it reads again."""
        if len(self._behind) < length:
            self._behind = memoryview(bytearray(length))
        view = self._behind[:length]
        count = os.preadv(self.descriptor, [view], offset)
        if not count:
            raise OSError("the file was cut off while it was written")
        return view[:count]

    def close(self) -> None:
        """Close it; once is enough."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
