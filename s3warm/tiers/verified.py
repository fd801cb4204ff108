"""From what is stored to the body that it stands for, verified: what comes from here is what was written."""

from __future__ import annotations

import os
from zlib import crc32

from s3warm import codec
from s3warm.tiers.directory import read_all
from s3warm.tiers.own import is_own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3warm.tiers.row import Row, Seal

__all__ = ["check_body", "check_file", "check_inline", "check_size", "check_touched", "pieces", "whole_file", "whole_inline"]

WHOLE_FRAME = 8 * 2**20  # stored bytes; a larger frame is decompressed from its file piece by piece


def whole_inline(row: Row, stored: bytes) -> bytes:
    """The body that an inline body stands for.

    Raises:
        CorruptFrame: it is not the body that was written.
    """
    check_inline(row, stored)
    return codec.decompress(stored, row.info.size) if row.codec == codec.ZSTD else stored


def check_inline(row: Row, stored: bytes) -> None:
    """Raises CorruptFrame if an inline body is not stored as it was written."""
    check_size(row, len(stored))
    if crc32(stored) != row.checksum:
        raise codec.CorruptFrame("its checksum differs")


def whole_file(row: Row, descriptor: int, seal: Seal) -> bytes:
    """The body that a file stands for. The kernel's ctime shows that a sealed file was not touched since it was.

    Raises:
        CorruptFrame: it is not the body that was written.
    """
    check_file(row, descriptor, seal)
    if row.codec == codec.RAW:
        return read_all(descriptor, row.stored_size)
    if row.stored_size > WHOLE_FRAME:
        return codec.decompressed_file(descriptor, row.info.size)
    return codec.decompress(read_all(descriptor, row.stored_size), row.info.size)


def check_file(row: Row, descriptor: int, seal: Seal) -> None:
    """Raises CorruptFrame if a file is not the one that was written; it is summed only if it is not as it was sealed."""
    check_size(row, seal.size)
    if seal != row.seal:
        check_touched(row, descriptor)


def check_size(row: Row, size: int) -> None:
    """Raises CorruptFrame if not as many bytes are stored as were written."""
    if size != row.stored_size:
        raise codec.CorruptFrame(f"{size} bytes are stored instead of {row.stored_size}")


def check_touched(row: Row, descriptor: int) -> None:
    """Sum the body in a file that is not as it was sealed, where its ETag is the MD5 of what was written. Nothing vouches for any other.

    Raises:
        CorruptFrame: it is not the body that was written, or may not be.
    """
    if not is_own(os.fstat(descriptor)):
        raise codec.CorruptFrame("its file lies elsewhere too")
    if row.info.verified_by != "md5":
        raise codec.CorruptFrame("somebody has touched its file, and its ETag is no MD5")
    check_body(row, descriptor)


def check_body(row: Row, descriptor: int) -> None:
    """Read the whole body in a file, a piece at a time: its length, its frame if it is one, and its sum where its ETag is an MD5.

    Raises:
        CorruptFrame: it is not the body that was written.
    """
    from hashlib import md5

    whole, total = md5(usedforsecurity=False) if row.info.verified_by == "md5" else None, 0
    for piece in pieces(row, descriptor):
        total += len(piece)
        if whole is not None:
            whole.update(piece)
    if total != row.info.size or (whole is not None and whole.hexdigest() != row.info.etag.strip('"')):
        raise codec.CorruptFrame("its checksum differs")


def pieces(row: Row, descriptor: int) -> Iterator[bytes | memoryview]:
    """The body in a file, piece by piece; each is overwritten by the next."""
    if row.codec == codec.ZSTD:
        yield from codec.decompressed_chunks(descriptor, row.info.size)
        return
    position = 0
    while piece := os.pread(descriptor, 2**20, position):
        position += len(piece)
        yield piece
