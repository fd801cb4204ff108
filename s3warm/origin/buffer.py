"""A sink in memory: one allocation of exactly the body's size, which is then handed out without a copy."""

from __future__ import annotations

from io import BytesIO

from s3warm.errors import ObjectTooLargeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from s3warm.entries import Metadata
    from s3warm.keys import ObjectKey

__all__ = ["Buffer"]


class Buffer:
    """See `Sink`. Bodies of more than `largest` bytes are refused.

    `BytesIO` owns a bytes object that nobody else knows, may be written through its buffer, and is handed out by
    `getvalue()` without a copy. `bytes(bytearray)` would need the body twice.
    """

    def __init__(self, key: ObjectKey, largest: int) -> None:
        self._key = key
        self._largest = largest
        self._bytes = BytesIO()
        self._view = self._bytes.getbuffer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._view.release()
        self._bytes = BytesIO()  # an error's traceback keeps this object

    def begin(self, info: Metadata) -> frozenset[int]:
        """See `Sink.begin`."""
        self._view.release()
        self._bytes = BytesIO()
        if info.size > self._largest:
            raise ObjectTooLargeError.of(self._key, info.size, self._largest)
        self._bytes = BytesIO(bytes(info.size))
        self._view = self._bytes.getbuffer()
        return frozenset()

    def buffer(self, offset: int, length: int) -> memoryview:
        """See `Sink.buffer`: the place in the body itself."""
        return self._view[offset : offset + length]

    def write(self, piece: memoryview, offset: int) -> None:
        """See `Sink.write`: it is there already."""

    def finished(self, part: int) -> None:
        """See `Sink.finished`."""

    def read(self, offset: int, length: int) -> memoryview:
        """See `Sink.read`."""
        return self._view[offset : offset + length]

    def reset(self) -> None:
        """See `Sink.reset`: `begin` forgets all of it anyway."""

    def body(self) -> bytes:
        """The body, complete."""
        self._view.release()
        return self._bytes.getvalue()
