"""Stored forms of a body: as it is, or one zstd frame. The only module that imports zstandard.

Frames have no content checksum, whose verification takes an eighth of a decompression: who stores a frame can tell whether it is the one that
was written (`tiers/verified.py`).
"""

from __future__ import annotations

import os
import threading

from s3warm.rules import placement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import zstandard

__all__ = [
    "MAX_RATIO",
    "RAW",
    "ZSTD",
    "CorruptFrame",
    "compress",
    "compressed_chunks",
    "decompress",
    "decompressed_chunks",
    "decompressed_file",
    "estimate",
]

RAW = "raw"
ZSTD = "zstd"

_CHUNK = 1024 * 1024
_AT_ONCE = 64 * _CHUNK
_HEADER = 18  # bytes, at most (RFC 8878, section 3.1.1.1)

# The smallest block that there is, 4 bytes, can stand for the largest, 128 KiB of one byte (RFC 8878, section 3.1.1.2).
MAX_RATIO = 32 * 1024

# A (de)compressor may serve one thread at a time, and making one costs more than a small frame.
_local = threading.local()


class CorruptFrame(ValueError):
    """Bytes that are not the frame they should be."""


def estimate(body: bytes, level: int) -> int | None:
    """Bytes that the body would take as a frame, judged by samples (7 to 82 µs) unless it is small; None if that does not pay."""
    offsets = placement.sample_offsets(len(body))
    if offsets is None or level == 0:
        return None
    if not offsets:
        return len(body)  # compressed whole anyway; `compress` gives up if it did not pay
    view = memoryview(body)
    compressor = _compressor(level)
    taken = placement.SAMPLE_SIZE * len(offsets)
    size = sum(len(compressor.compress(view[offset : offset + placement.SAMPLE_SIZE])) for offset in offsets)
    return len(body) * size // taken if placement.must_pay(taken, size) else None


def compress(body: bytes, level: int) -> bytes | None:
    """The body as one frame, or None if that did not pay."""
    frame = _compressor(level).compress(body)
    return frame if placement.must_pay(len(body), len(frame)) else None


def compressed_chunks(body: bytes, level: int) -> Iterator[bytes]:
    """The body as one frame, piece by piece, so that a second copy of a large body is never held."""
    compressor = _compressor(level).compressobj(size=len(body))
    view = memoryview(body)
    for start in range(0, len(body), _CHUNK):
        chunk = compressor.compress(view[start : start + _CHUNK])
        if chunk:
            yield chunk
    yield compressor.flush()


def decompress(frame: bytes, size: int) -> bytes:
    """The `size` bytes in a frame.

    The size that the frame claims is compared first, before anything is allocated: a frame may claim terabytes.
    """
    import zstandard

    try:
        claimed = zstandard.frame_content_size(frame)
        if claimed != size or size > len(frame) * MAX_RATIO:
            raise CorruptFrame(f"a frame of {len(frame)} bytes claims {claimed} instead of {size}")
        body: bytes = _decompressor().decompress(frame)
    except zstandard.ZstdError as error:
        raise CorruptFrame(str(error)) from error
    if len(body) != size:
        raise CorruptFrame(f"the frame held {len(body)} bytes instead of {size}")
    return body


def decompressed_file(descriptor: int, size: int) -> bytes:
    """The `size` bytes in a frame that lies in a file, in one allocation, with no more of the frame in memory than a piece."""
    from io import BytesIO

    body = BytesIO(bytes(size))
    with body.getbuffer() as view:
        for _ in _decompress_into(descriptor, size, lambda position: view[position : position + _AT_ONCE]):
            pass
    return body.getvalue()


def decompressed_chunks(descriptor: int, size: int) -> Iterator[memoryview]:
    """The `size` bytes in a frame that lies in a file, piece by piece; each is overwritten by the next."""
    chunk = memoryview(bytearray(_CHUNK))
    for count in _decompress_into(descriptor, size, lambda _: chunk[:]):
        yield chunk[:count]


def _decompress_into(descriptor: int, size: int, target: Callable[[int], memoryview]) -> Iterator[int]:
    """How many bytes came into the target for a position, until there are `size`."""
    import zstandard

    try:
        os.lseek(descriptor, 0, os.SEEK_SET)  # it may have been read, to be summed
        claimed = zstandard.frame_content_size(os.pread(descriptor, _HEADER, 0))
        if claimed != size:
            raise CorruptFrame(f"a frame claims {claimed} bytes instead of {size}")
        with (
            open(descriptor, "rb", buffering=0, closefd=False) as file,
            zstandard.ZstdDecompressor().stream_reader(file, read_size=_CHUNK // 4) as frame,
        ):
            left = size
            while left:
                with target(size - left) as whole, whole[:left] as piece:
                    count = frame.readinto(piece)
                if not count:
                    raise CorruptFrame(f"the frame ends {left} bytes early")
                left -= count
                yield count
            if frame.read(1):
                raise CorruptFrame(f"the frame holds more than {size} bytes")
    except zstandard.ZstdError as error:
        raise CorruptFrame(str(error)) from error


def _compressor(level: int) -> zstandard.ZstdCompressor:
    held = getattr(_local, "compressor", None)
    if held is None or held[0] != level:
        import zstandard

        held = level, zstandard.ZstdCompressor(level=level)
        _local.compressor = held
    compressor: zstandard.ZstdCompressor = held[1]
    return compressor


def _decompressor() -> zstandard.ZstdDecompressor:
    decompressor: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if decompressor is None:
        import zstandard

        decompressor = _local.decompressor = zstandard.ZstdDecompressor()
    return decompressor
