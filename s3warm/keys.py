"""Which object is meant: bucket and key, or one literal `s3://` URI, checked before any I/O."""

from __future__ import annotations

from sys import intern

from s3warm.record import NamedTuple
from s3warm.terms import terms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from s3warm.terms import Terms

__all__ = ["MISSING", "Missing", "ObjectKey", "locate", "locate_tree", "trees_of"]

_BUCKET_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")
_MAX_KEY_BYTES = 1024  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html


class Missing:
    """The type of `MISSING`: "no second argument", which an explicit None is not."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<no key given>"


MISSING: Final = Missing()


class ObjectKey(NamedTuple):
    """One object, or one version of it: what every tier is keyed by."""

    bucket: str
    key: str
    version_id: str | None = None
    tree: bool = False  # not an object, but all below the prefix that `key` is
    request: Terms | None = None  # what a request for it says besides

    def __str__(self) -> str:
        version = f" (version {self.version_id})" if self.version_id else ""
        return f"s3://{self.bucket}/{self.key}{version}"

    @property
    def pinned(self) -> bool:
        """Whether the version can never change. `"null"` names whatever was written last without versioning."""
        return self.version_id is not None and self.version_id != "null"


def locate(
    bucket: str,
    key: str | Missing = MISSING,
    version_id: str | None = None,
    request: Mapping[str, object] | None = None,
) -> ObjectKey:
    """The object meant by `(bucket, key)` or by one `"s3://bucket/key"`.

    URIs are literal: nothing is decoded, so `%20` and `+` stand for themselves, and `//` and `..` are kept.

    Raises:
        TypeError: something is not a string.
        ValueError: the bucket or key cannot name an object of S3.

    Example:
        >>> locate("s3://models/bert/config.json")
        ObjectKey(bucket='models', key='bert/config.json', version_id=None, tree=False, request=None)
        >>> locate("models", "a b.json") == locate("s3://models/a b.json")
        True
    """
    if not isinstance(bucket, str):
        raise TypeError(f"bucket must be a string, not {type(bucket).__name__}: {bucket!r}")
    if isinstance(key, Missing):
        bucket, key = _split(bucket)
    elif not isinstance(key, str):
        hint = '; for an object by its URI give "s3://bucket/key" as the only argument' if key is None else ""
        raise TypeError(f"key must be a string, not {type(key).__name__}: {key!r}{hint}")
    elif bucket.startswith("s3://"):
        raise ValueError(f"the URI {bucket!r} takes no second argument, but got key {key!r}")
    _check_bucket(bucket)
    _check_key(bucket, key)
    if version_id is not None and not isinstance(version_id, str):
        raise TypeError(f"version_id must be a string or None, not {type(version_id).__name__}: {version_id!r}")
    if version_id is not None and not version_id.isprintable():
        raise ValueError(f"version_id {version_id!r} of s3://{bucket}/{key} is none that S3 gives")
    if version_id == "":
        raise ValueError(f"version_id of s3://{bucket}/{key} is empty; leave it out to get the latest version")
    # Exact strings: an enum that is a string as well would print, and so be filed on disk, under another name.
    plain = str.__str__
    version = None if version_id is None else plain(version_id)
    return ObjectKey(intern(plain(bucket)), plain(key), version, request=None if request is None else terms(request))


def locate_tree(bucket: str, prefix: str | Missing = MISSING) -> ObjectKey:
    """What lies below `(bucket, prefix)` or below one `"s3://bucket/prefix/"`; a slash ends the prefix, written or not.

    Raises:
        TypeError: something is not a string.
        ValueError: the bucket or prefix cannot name anything in S3.

    Example:
        >>> locate_tree("s3://models/bert").key
        'bert/'
    """
    where = locate(bucket, prefix)
    return where._replace(key=where.key if where.key.endswith("/") else where.key + "/", tree=True)


def trees_of(where: ObjectKey) -> list[ObjectKey]:
    """All trees that an object lies in, and the one that it could be the root of.

    Example:
        >>> [tree.key for tree in trees_of(locate("s3://models/bert/config.json"))]
        ['bert/', 'bert/config.json/']
    """
    parts = where.key.split("/")
    return [ObjectKey(where.bucket, "/".join(parts[:depth]) + "/", tree=True) for depth in range(1, len(parts) + 1)]


def _split(uri: str) -> tuple[str, str]:
    if not uri.startswith("s3://"):
        raise ValueError(f'{_shown(uri)!r} is not an object: give a bucket and a key, or one "s3://bucket/key"')
    name = uri[5:]
    if name.startswith("arn:"):
        return _split_arn(name)
    bucket, _, key = name.partition("/")
    return bucket, key


def _shown(text: str) -> str:
    """A URL, taken for the name of an object, without what may be secret in it: the query, which may be signed, and a password."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text.partition("?X-Amz-")[0]
    authority, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def _split_arn(name: str) -> tuple[str, str]:
    """An access point's ARN and the key. The parts of its resource are set apart by `/` or `:`, the key always by `/`.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-naming.html; on Outposts the resource has four parts.
    """
    import re

    point = r"(?:outpost[/:][^/:]+[/:])?accesspoint[/:][^/:]+"
    found = re.fullmatch(rf"(arn:[^:/]*:s3[^:/]*:[^:/]*:[^:/]*:{point})(?:/(.*))?", name, re.DOTALL)
    if found is None:
        raise ValueError(f"'s3://{name}' is not an object: after an ARN of an access point comes a slash and the key")
    return found[1], found[2] or ""


def _check_bucket(bucket: str) -> None:
    if not bucket:
        raise ValueError("the bucket is empty")
    if bucket.startswith("arn:"):
        return
    if not _BUCKET_CHARACTERS.issuperset(bucket):
        wrong = next(character for character in bucket if character not in _BUCKET_CHARACTERS)
        raise ValueError(f"bucket {_shown(bucket)!r} cannot exist: {wrong!r} is not allowed in bucket names")


def _check_key(bucket: str, key: str) -> None:
    if not key:
        raise ValueError(f"the key is empty; s3://{bucket}/ names a bucket, not an object or a prefix in it")
    try:
        length = len(key) if key.isascii() else len(key.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"key {key!r} in bucket {bucket!r} is not valid Unicode text: {error.reason}") from error
    if length > _MAX_KEY_BYTES:
        raise ValueError(f"key {key[:40]!r}... in bucket {bucket!r} has {length} bytes; S3 allows {_MAX_KEY_BYTES}")
