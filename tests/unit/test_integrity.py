"""What a body is checked against: MD5 only where the ETag is one."""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64encode
from collections.abc import Mapping

import pytest

from s3warm.keys import ObjectKey
from s3warm.origin.integrity import Digest, Mismatch, md5_of_etag

BODY = b"the body"
MD5 = hashlib.md5(BODY).hexdigest()
CRC32 = b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode()
SHA1 = b64encode(hashlib.sha1(BODY).digest()).decode()
SHA256 = b64encode(hashlib.sha256(BODY).digest()).decode()
KEY = ObjectKey("bucket", "key")
DIRECTORY_KEY = ObjectKey("data--use1-az4--x-s3", "key")

KMS = {"x-amz-server-side-encryption": "aws:kms"}
DSSE = {"x-amz-server-side-encryption": "aws:kms:dsse"}
SSE_S3 = {"x-amz-server-side-encryption": "AES256"}
SSE_C = {"x-amz-server-side-encryption-customer-algorithm": "AES256"}


def verify(key: ObjectKey, headers: Mapping[str, str], body: bytes) -> str:
    """A body that arrives in two pieces."""
    digest = Digest(key, headers)
    digest.update(body[: len(body) // 2])
    digest.update(memoryview(body)[len(body) // 2 :])
    return digest.verify()


@pytest.mark.parametrize(
    ("key", "headers", "is_one"),
    [
        (KEY, {"etag": f'"{MD5}"'}, True),
        (KEY, {"etag": MD5}, True),
        (KEY, {"etag": f'"{MD5}"', **SSE_S3}, True),
        (KEY, {"etag": f'"{MD5}"', **KMS}, False),
        (KEY, {"etag": f'"{MD5}"', **DSSE}, False),
        (KEY, {"etag": f'"{MD5}"', **SSE_C}, False),
        (DIRECTORY_KEY, {"etag": f'"{MD5}"'}, False),
        (KEY, {"etag": f'"{MD5}-2"'}, False),
        (KEY, {"etag": f'"{MD5[:-2]}-2"'}, False),
        (KEY, {"etag": f'"{MD5.upper()}"'}, False),
        (KEY, {"etag": f'W/"{MD5}"'}, False),
        (KEY, {"etag": f'"{MD5[1:]}"'}, False),
        (KEY, {"etag": f'"{"g" * 32}"'}, False),
        (KEY, {"etag": f'"{"٣" * 32}"'}, False),
        (KEY, {"etag": ""}, False),
        (KEY, {}, False),
    ],
)
def test_an_etag_is_an_md5_only_where_s3_says_so(key: ObjectKey, headers: dict[str, str], is_one: bool) -> None:
    assert md5_of_etag(key, headers) == (MD5 if is_one else None)
    assert verify(key, headers, BODY) == ("md5" if is_one else "length")


@pytest.mark.parametrize(
    ("key", "headers"),
    [(KEY, KMS), (KEY, SSE_C), (DIRECTORY_KEY, {})],
    ids=["KMS", "SSE-C", "directory bucket"],
)
def test_an_etag_that_only_looks_like_an_md5_refuses_nothing(key: ObjectKey, headers: dict[str, str]) -> None:
    assert verify(key, {"etag": f'"{"0" * 32}"', **headers}, BODY) == "length"


@pytest.mark.parametrize("body", [b"", b"the bodY", BODY + b"\0", BODY[:-1]])
def test_another_body_than_the_md5s_is_damaged(body: bytes) -> None:
    with pytest.raises(Mismatch, match=f"its md5 is {hashlib.md5(body).hexdigest()}, S3 said {MD5}"):
        verify(KEY, {"etag": f'"{MD5}"'}, body)


@pytest.mark.parametrize(("name", "checksum"), [("crc32", CRC32), ("sha1", SHA1), ("sha256", SHA256)])
def test_a_checksum_of_the_whole_object_is_checked(name: str, checksum: str) -> None:
    headers = {"etag": '"opaque-2"', f"x-amz-checksum-{name}": checksum}
    assert verify(KEY, headers, BODY) == name
    assert verify(KEY, {**headers, "x-amz-checksum-type": "FULL_OBJECT"}, BODY) == name
    with pytest.raises(Mismatch, match=f"its {name} is .*, S3 said "):
        verify(KEY, headers, BODY + b"x")


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-crc32": CRC32 + "-3"},
        {"x-amz-checksum-sha256": SHA256 + "-2"},
        {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-type": "COMPOSITE"},
        {"x-amz-checksum-crc32": ""},
        {"x-amz-checksum-crc32c": "AAAAAA=="},
        {"x-amz-checksum-crc64nvme": "AAAAAAAAAAA="},
        {},
    ],
)
def test_a_composite_or_unknown_checksum_is_skipped(headers: dict[str, str]) -> None:
    assert verify(KEY, {"etag": '"opaque-3"', **headers}, BODY) == "length"


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"x-amz-checksum-crc32": CRC32, "x-amz-checksum-sha256": SHA256}, "sha256"),
        ({"x-amz-checksum-crc32": CRC32, "x-amz-checksum-sha1": SHA1}, "sha1"),
        ({"etag": f'"{MD5}"', "x-amz-checksum-sha256": SHA256}, "md5"),
        ({"etag": f'"{MD5}"', "x-amz-checksum-sha256": SHA256, **KMS}, "sha256"),
        ({"x-amz-checksum-sha256": SHA256 + "-2", "x-amz-checksum-crc32": CRC32}, "crc32"),
    ],
)
def test_the_best_that_there_is_is_used_and_named(headers: dict[str, str], name: str) -> None:
    assert verify(KEY, headers, BODY) == name


def test_an_empty_body_has_an_md5_too() -> None:
    assert verify(KEY, {"etag": f'"{hashlib.md5(b"").hexdigest()}"'}, b"") == "md5"
