"""Objects that nobody stores: each body follows from its key, for the server that sends it and for the handler that checks it.

A body is a slice of one of two files, at an offset drawn from its key: of noise, which does not compress, or of text, which
compresses to a quarter. The files are outside of what a box covers, and what is read of them is not mapped.
"""

from __future__ import annotations

import os
import random
import re
from typing import NamedTuple
from zlib import crc32

MIB = 1024 * 1024
LARGEST = 64 * MIB
BUCKET = "generated"
TEXT_RATIO = 0.2525
"""What text compresses to (zstd, level 1), of bodies that are not tiny."""

_SPREAD = 32 * MIB  # of the offsets
_PAGE = 1024  # bytes of noise that make a page of text, four times over
_PIECE = 256 * 1024


class Body(NamedTuple):
    """Where a body lies: the file's name, the offset in it, and its length."""

    file: str
    start: int
    size: int


def key_of(number: int, size: int, *, text: bool) -> str:
    """The key of an object, which says all that there is to know of it."""
    if not 0 <= size <= LARGEST:
        raise ValueError(f"a generated body has at most {LARGEST:,} bytes, not {size:,}")
    return f"{number}-{size}.{'text' if text else 'noise'}"


def body_of(key: str) -> Body | None:
    """The body of the object with this key; None for a key of another kind."""
    match = re.fullmatch(r"\d+-(\d+)\.(text|noise)", key, re.ASCII)
    if match is None or int(match[1]) > LARGEST:
        return None
    return Body(match[2], crc32(key.encode()) % _SPREAD, int(match[1]))


def stored_size(key: str) -> int:
    """The bytes that a compressing cache takes on disk for it, about."""
    body = body_of(key)
    if body is None:
        raise ValueError(f"not the key of a generated object: {key}")
    return int(body.size * TEXT_RATIO) if body.file == "text" and body.size > 4 * _PAGE else body.size


def write_files(folder: str, seed: int = 7) -> None:
    """Make the two files."""
    noise = random.Random(seed).randbytes(LARGEST + _SPREAD)
    with open(os.path.join(folder, "noise"), "xb") as file:
        file.write(noise)
    with open(os.path.join(folder, "text"), "xb") as file:
        file.writelines(noise[start : start + _PAGE] * 4 for start in range(0, len(noise) // 4, _PAGE))


class Checker:
    """Compares bodies with what they should be, byte by byte, with a small buffer of its own."""

    def __init__(self, folder: str) -> None:
        self._files = {name: os.open(os.path.join(folder, name), os.O_RDONLY) for name in ("noise", "text")}

    def is_right(self, key: str, body: bytes) -> bool:
        """Whether this is the body of the object with this key."""
        expected = body_of(key)
        if expected is None or len(body) != expected.size:
            return False
        file, view = self._files[expected.file], memoryview(body)
        return all(
            os.pread(file, min(_PIECE, expected.size - at), expected.start + at) == view[at : at + _PIECE]
            for at in range(0, expected.size, _PIECE)
        )

    def body(self, key: str) -> bytes:
        """The body of the object with this key, for those who serve it themselves."""
        expected = body_of(key)
        if expected is None:
            raise ValueError(f"not the key of a generated object: {key}")
        return os.pread(self._files[expected.file], expected.size, expected.start)

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.popitem()[1])
