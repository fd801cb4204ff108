"""What a process that has asked S3 in vain tells those that waited for it: its error, in a few bytes that lie beside the locks.

Only what S3 said is passed on. That a process had no time or no memory left is its own affair, and says nothing to others.
"""

from __future__ import annotations

import struct
from zlib import crc32

from s3warm.errors import AccessDeniedError, IntegrityError, ObjectNotFoundError, OriginUnavailableError
from s3warm.hashing import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.errors import S3WarmError
    from s3warm.keys import ObjectKey

__all__ = ["LENGTH", "pack", "unpack"]

LENGTH = 512  # bytes of a note
_HEAD = struct.Struct("<16sQBHI")  # digest of the name, count of the turn, kind, length of the text, checksum of all that
_ROOM = LENGTH - _HEAD.size
_OUTAGE, _OWN_TROUBLE = 3, 4
_KINDS: dict[int, type[S3WarmError]] = {
    1: ObjectNotFoundError,
    2: AccessDeniedError,
    _OUTAGE: OriginUnavailableError,
    _OWN_TROUBLE: OriginUnavailableError,
    5: IntegrityError,
}


def pack(name: str, count: int, error: S3WarmError) -> bytes:
    """A note for the turn `name` that is the `count`th to end in vain; empty if the error is not for others."""
    kind = next((kind for kind, known in _KINDS.items() if type(error) is known), 0)
    if isinstance(error, OriginUnavailableError):
        kind = 0 if error.late else _OUTAGE if error.outage else _OWN_TROUBLE
    if not kind:
        return b""
    text = str(error).encode(errors="replace")[:_ROOM]
    digest = _digest(name)
    return _HEAD.pack(digest, count, kind, len(text), _sum(digest, count, kind, text)) + text


def unpack(note: bytes, name: str, count: int, key: ObjectKey) -> S3WarmError | None:
    """The error that a note tells of; None if it is another turn's, or no note."""
    if len(note) < _HEAD.size:
        return None
    digest, counted, kind, length, check = _HEAD.unpack_from(note)
    text = note[_HEAD.size : _HEAD.size + length]
    known = _KINDS.get(kind)
    if (
        known is None
        or digest != _digest(name)
        or counted != count
        or len(text) != length
        or check != _sum(digest, count, kind, text)
    ):
        return None
    error = known(text.decode(errors="replace"), bucket=key.bucket, key=key.key)
    if isinstance(error, OriginUnavailableError):
        error.outage = kind == _OUTAGE
    return error


def _digest(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=16).digest()


def _sum(digest: bytes, count: int, kind: int, text: bytes) -> int:
    return crc32(b"%b %d %d %d %b" % (digest, count, kind, len(text), text))
