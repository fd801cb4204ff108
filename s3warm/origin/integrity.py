"""Was the body received that S3 described? Length always, MD5 where the ETag is one, else a checksum that S3 sent along."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3warm.keys import ObjectKey

__all__ = ["Mismatch", "verify"]


class Mismatch(ValueError):
    """The body is not the one that was described."""


def verify(key: ObjectKey, headers: Mapping[str, str], body: bytes) -> str:
    """Check the body and name what it was checked against; the length is the caller's to check.

    Raises:
        Mismatch: the body is damaged.
    """
    md5 = md5_of_etag(key, headers)
    if md5 is not None:
        import hashlib

        _compare("md5", md5, hashlib.md5(body, usedforsecurity=False).hexdigest())
        return "md5"
    for name in ("sha256", "sha1", "crc32"):
        expected = headers.get(f"x-amz-checksum-{name}")
        # A composite checksum ("...-3", or so typed) covers the parts of an upload, which cannot be told from the whole.
        if expected and "-" not in expected and headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT":
            _compare(name, expected, _digest(name, body))
            return name
    return "length"


def md5_of_etag(key: ObjectKey, headers: Mapping[str, str]) -> str | None:
    """The MD5 in the ETag, or None where the ETag is not one.

    It is one for objects written in one piece and encrypted with SSE-S3 or not at all
    (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html), and never in directory buckets.
    """
    etag = headers.get("etag", "").strip('"')
    if len(etag) != 32 or not all(digit in "0123456789abcdef" for digit in etag):
        return None
    encryption = headers.get("x-amz-server-side-encryption", "AES256")
    customer_key = "x-amz-server-side-encryption-customer-algorithm" in headers
    if encryption != "AES256" or customer_key or key.bucket.endswith("--x-s3"):
        return None
    return etag


def _digest(name: str, body: bytes) -> str:
    from base64 import b64encode

    if name == "crc32":
        from zlib import crc32

        digest = crc32(body).to_bytes(4, "big")
    else:
        import hashlib

        digest = hashlib.new(name, body, usedforsecurity=False).digest()
    return b64encode(digest).decode()


def _compare(name: str, expected: str, actual: str) -> None:
    if expected != actual:
        raise Mismatch(f"its {name} is {actual}, S3 said {expected}")
