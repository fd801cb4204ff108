"""Where a body is kept and in which form. Sizes are bytes."""

from __future__ import annotations

__all__ = ["INLINE_LIMIT", "SAMPLE_SIZE", "WHOLE_LIMIT", "in_one_piece", "is_inline", "must_pay", "sample_offsets"]

# Stored bytes up to this lie in SQLite itself: a get is one statement and a checksum. Beyond, a file is quicker.
INLINE_LIMIT = 32 * 1024
# Of a frame that is made in one piece, which is a tenth quicker; larger ones are written as they are made.
WHOLE_LIMIT = 4 * 1024 * 1024
_LARGEST_WHOLE = 4 * WHOLE_LIMIT  # of its body: samples may be wrong
SMALLEST_COMPRESSED = 256  # a zstd frame has about 20 bytes of its own, and a row is 300 bytes anyway
SAMPLE_SIZE = 16 * 1024
SAMPLES = 4
PAYING_RATIO = 0.85  # weights compress to 0.93 or worse; stored raw they can be mapped


def is_inline(stored_size: int) -> bool:
    """Whether a stored body lies in its row rather than in a file of its own."""
    return stored_size <= INLINE_LIMIT


def in_one_piece(size: int, estimated: int) -> bool:
    """Whether a body of `size` bytes is compressed in one piece, as no large copy comes of it: its frame has some `estimated` bytes."""
    return size <= _LARGEST_WHOLE and estimated <= WHOLE_LIMIT


def sample_offsets(size: int) -> list[int] | None:
    """Where to take samples to learn whether compression pays; None: too small to try, []: compress all of it at once."""
    if size < SMALLEST_COMPRESSED:
        return None
    if size <= SAMPLES * SAMPLE_SIZE:
        return []
    step = (size - SAMPLE_SIZE) // (SAMPLES - 1)
    return [step * number for number in range(SAMPLES)]


def must_pay(raw: int, compressed: int) -> bool:
    """Whether compressing `raw` bytes to `compressed` is worth a decompression at each read."""
    return compressed <= raw * PAYING_RATIO
