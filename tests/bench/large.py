"""Files of many MiB for an origin to serve."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tests.bench.bodies import MIB

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_object"]


def write_object(path: Path, block: bytes, size: int) -> str:
    """A file of many MiB like the block, no two of them the same; its MD5."""
    own, digest = bytearray(block), hashlib.md5()
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            own[:16] = b"%016d" % start
            file.write(own)
            digest.update(own)
    return digest.hexdigest()
