"""The row that describes a body on disk: one JSON array, in the tag of diskcache's row. The names of files follow from the key.

Whoever can write to the directory can write rows, so nothing in a row is executed and no path is read from it.
"""

from __future__ import annotations

import json
from math import isfinite, isnan

from s3warm.codec import MAX_RATIO, RAW, ZSTD
from s3warm.entries import Entry, Metadata
from s3warm.hashing import blake2b
from s3warm.keys import ObjectKey
from s3warm.record import NamedTuple
from s3warm.terms import Terms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FORMAT",
    "OLDER",
    "PARTIAL",
    "WHOLE",
    "BadRow",
    "Row",
    "Seal",
    "body_name",
    "digest",
    "file_name",
    "is_named",
    "key_of_name",
    "older_key",
    "pack",
    "partial_keys",
    "partial_name",
    "readable",
    "unpack",
]

FORMAT = 5  # of rows and file names; a directory of another format is made anew

WHOLE = "whole"  # the current body of an object
OLDER = "older"  # a file that somebody may still use, though the object has another body by now
PARTIAL = "partial"  # a download under way, or one that was cut off and may go on

_COMPRESSED = frozenset((".gz", ".bz2", ".xz", ".zst", ".lz4", ".br"))
_LONGEST_SUFFIX = 32
_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # seconds since the epoch: the years from 1 to 9999, which a datetime can say
PARTIAL_SUFFIX = ".partial"
SLOTS = 4  # downloads of one object at a time, by processes that do not wait for each other


class BadRow(ValueError):
    """A row that this version did not write."""


class Seal(NamedTuple):
    """What tells that a file was not touched since it was verified: the kernel renews `ctime` at each change."""

    inode: int
    size: int
    changed_at: int  # nanoseconds


class Row(NamedTuple):
    """A body on disk: whose it is, in which form it is stored, and what proves it."""

    namespace: str
    object: ObjectKey
    info: Metadata
    codec: str
    stored_size: int
    checksum: int | None  # CRC-32 of what is stored, of an inline body; a tree's number; None for a file
    seal: Seal | None  # of a file: what proves it
    validated_at: float
    expires_at: float
    state: str = WHOLE
    finished: str = ""  # of a partial download: a bit for each part, from the lowest, in hexadecimal

    def entry(self, body: bytes) -> Entry:
        """The entry that the row and its body make."""
        return Entry(self.object, self.info, self.validated_at, self.expires_at, body)


def digest(namespace: str, key: ObjectKey) -> bytes:
    """Key of a row: 16 bytes whatever the length of the object's key. `repr` keeps the parts apart, and has no secret in it."""
    return blake2b(repr((namespace, *key)).encode(), digest_size=16).digest()


def key_of_name(name: str) -> bytes | None:
    """The key of the row that a file belongs to, from its name; None for a name that is not ours."""
    try:
        return bytes.fromhex(name[:32]) if len(name) > 32 and name[32] in "-." else None
    except ValueError:
        return None


def file_name(row: Row, row_key: bytes | None = None) -> str:
    """Name of the file that holds a body: each version of an object has its own, so that no reader's file changes under it.

    A raw file has the suffix of the object's key, since the libraries that load it go by that.
    """
    owner = digest(row.namespace, row.object) if row_key is None else row_key
    suffix = "+zstd" if row.codec == ZSTD else _suffix(row.object.key)
    if row.object.tree:
        suffix = f"-{row.checksum or 0:08x}.tree"  # two directories cannot take each other's place as files can
    return f"{owner.hex()}-{_short(row.info.etag)}{suffix}"


def body_name(row: Row, row_key: bytes | None = None) -> str | None:
    """Name of the file, or of a tree's directory; None for an inline body."""
    return file_name(row, row_key) if row.seal is not None or row.object.tree else None


def older_key(name: str) -> bytes:
    """Key of the row of a file that is no longer its object's current body."""
    return blake2b(b"older " + name.encode(), digest_size=16).digest()


def partial_keys(row_key: bytes) -> list[bytes]:
    """Keys of the rows that downloads of one object may have."""
    return [blake2b(b"partial %d " % slot + row_key, digest_size=16).digest() for slot in range(SLOTS)]


def partial_name(key: bytes) -> str:
    """Name of the file that a download fills."""
    return key.hex() + PARTIAL_SUFFIX


def is_named(name: str, text_of: Callable[[bytes], object]) -> bool:
    """Whether a row names a file: its object's, one of its own, or that of its download; `text_of` gives the text of a row, None if there is none."""
    row_key = key_of_name(name)
    if row_key is None:
        return False
    row = readable(text_of(row_key))
    if partial_name(row_key) == name:
        return row is not None and row.state == PARTIAL
    # A body that lies in its row has no file, whatever the name of one would be.
    named = row is not None and body_name(row, row_key) == name
    return named or text_of(older_key(name)) is not None


def _short(etag: str) -> str:
    return blake2b(etag.encode(), digest_size=8).hexdigest()


def _suffix(key: str) -> str:
    """What follows the last dot of a key, and the last but one if the last means a compression; nothing that is not plain."""
    name = key.rpartition("/")[2]
    stem, dot, last = name.rpartition(".")
    suffix = dot + last if stem else ""
    if suffix in _COMPRESSED and "." in stem:
        suffix = "." + stem.rpartition(".")[2] + suffix
    plain = suffix.isascii() and suffix.replace(".", "").replace("_", "").replace("-", "").isalnum()
    return suffix if plain and len(suffix) <= _LONGEST_SUFFIX else ""


def pack(row: Row) -> str:
    """The row as text."""
    asked = row.object.request
    named = [*row.object[:4], None if asked is None else asked.fingerprint]
    return json.dumps([FORMAT, row.namespace, named, *row[2:]])


def unpack(text: object) -> Row:
    """The row in a text, each field checked.

    Raises:
        BadRow: the text is anything else than what `pack` makes.
    """
    try:
        if not isinstance(text, str):
            raise BadRow(f"a row is text, not {type(text).__name__}")
        version, namespace, key, info, codec, stored_size, checksum, seal, *rest = json.loads(text)
        row = Row(
            namespace,
            _object(*key),
            Metadata(*info),
            codec,
            stored_size,
            checksum,
            None if seal is None else Seal(*seal),
            *rest,
        )
        sane = version == FORMAT and _is_sane(row)
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BadRow(f"the row cannot be read: {error}") from error
    if not sane:
        raise BadRow("the row holds values that no version of s3warm writes")
    return row


def _object(bucket: str, key: str, version_id: str | None, tree: bool, asked: str | None) -> ObjectKey:
    return ObjectKey(bucket, key, version_id, tree, None if asked is None else Terms(asked))


def _is_sane(row: Row) -> bool:
    info = row.info
    user = {} if info.user is None else info.user
    checksum = () if row.checksum is None else (row.checksum,)
    numbers = (info.size, row.stored_size, *checksum, *(row.seal or ()))
    asked = () if row.object.request is None else (row.object.request.fingerprint,)
    texts = (row.namespace, *row.object[:2], *asked, info.etag, info.verified_by, row.finished, *user, *user.values())
    texts_or_none = (
        row.object.version_id,
        info.version_id,
        info.content_type,
        info.content_encoding,
        info.cache_control,
        info.encryption,
    )
    return (
        type(user) is dict
        and all(type(number) is int and number >= 0 for number in numbers)
        and (info.size == row.stored_size if row.codec == RAW else info.size <= row.stored_size * MAX_RATIO)
        and (row.checksum is None or row.checksum < 2**32)  # the name of a tree's directory ends in it
        and row.codec in (RAW, ZSTD)
        and row.state in (WHOLE, OLDER, PARTIAL)
        and repr(row.object.tree) in ("True", "False")  # and no number that is equal to one
        and ((row.state != PARTIAL and not row.object.tree) or row.codec == RAW)
        and (row.checksum is not None or row.state == PARTIAL or row.seal is not None)
        and (not row.finished or int(row.finished, 16) >= 0)
        and type(row.validated_at) is type(row.expires_at) is float
        and isfinite(row.validated_at)
        and not isnan(row.expires_at)
        and (info.last_modified is None or (type(info.last_modified) in (float, int) and _FIRST <= info.last_modified < _LAST))
        and all(type(text) is str and _encodes(text) for text in texts)
        and info.etag.isascii()
        and info.etag.isprintable()  # it is sent to S3
        and all(text is None or (type(text) is str and _encodes(text)) for text in texts_or_none)
    )


def _encodes(text: str) -> bool:
    """JSON can carry half of a surrogate pair, which is no text; that raises UnicodeEncodeError, a ValueError."""
    return text.isascii() or text.encode() is not None


def readable(text: object) -> Row | None:
    """The row in a text, or None where `unpack` would raise."""
    try:
        return unpack(text)
    except BadRow:
        return None
