"""Was the body received that S3 described? Length always, MD5 where the ETag is one, else a checksum that S3 sent along."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from s3warm.keys import ObjectKey

__all__ = ["Digest", "Mismatch", "md5_of_etag"]


class Mismatch(ValueError):
    """The body is not the one that was described."""


class Digest:
    """What a body is to be checked against, and the sum of what has arrived of it so far.

    `name` is what it is checked against; `wanted` is False where S3 gave nothing for that.
    """

    def __init__(self, key: ObjectKey, headers: Mapping[str, str]) -> None:
        self.name, self._expected = _expected(key, headers)
        self.wanted = self.name != "length"
        self._crc = 0
        self._hash: Any = None
        self._update_crc: Callable[[Any, int], int] | None = None
        if self.name in ("md5", "sha1", "sha256"):
            import hashlib

            self._hash = hashlib.new(self.name, usedforsecurity=False)
        else:
            self._update_crc = _crc(self.name)

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes into the sum."""
        if self._hash is not None:
            self._hash.update(data)
        elif self._update_crc is not None:
            self._crc = self._update_crc(data, self._crc)

    def verify(self) -> str:
        """Name what the body was checked against.

        Raises:
            Mismatch: it is not the body that S3 described.
        """
        if self.wanted:
            digest = self._hash.digest() if self._hash is not None else self._crc.to_bytes(len(self._expected), "big")
            if digest != self._expected:
                raise Mismatch(f"its {self.name} is {digest.hex()}, S3 said {self._expected.hex()}")
        return self.name


def _expected(key: ObjectKey, headers: Mapping[str, str]) -> tuple[str, bytes]:
    """Name and value of the strongest thing to check against."""
    md5 = md5_of_etag(key, headers)
    if md5 is not None:
        return "md5", bytes.fromhex(md5)
    for name, length in (("sha256", 32), ("sha1", 20), ("crc64nvme", 8), ("crc32c", 4), ("crc32", 4)):
        value = headers.get(f"x-amz-checksum-{name}")
        # A composite checksum ("...-3", or so typed) covers the parts of an upload, which cannot be told from the whole.
        if value and "-" not in value and headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT":
            expected = _decoded(value)
            if len(expected) == length and (not name.startswith("crc") or _crc(name) is not None):
                return name, expected
    return "length", b""


def _crc(name: str) -> Callable[[Any, int], int] | None:
    """What adds data to a CRC, `(data, so far) -> CRC`; None where no library that is there computes it."""
    if name == "crc32":
        from zlib import crc32

        return crc32
    if name not in ("crc32c", "crc64nvme"):
        return None
    try:
        from awscrt import checksums
    except ImportError:
        return _crc32c_by_itself() if name == "crc32c" else None
    found: Callable[[Any, int], int] | None = getattr(checksums, name, None)
    return found


def _crc32c_by_itself() -> Callable[[Any, int], int] | None:
    try:
        from google_crc32c import extend
    except ImportError:
        return None
    # It takes bytes alone.
    return lambda data, crc: int(extend(crc, bytes(data)))


def _decoded(value: str) -> bytes:
    from base64 import b64decode

    try:
        return b64decode(value, validate=True)
    except ValueError:
        return b""


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
