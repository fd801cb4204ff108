"""What a body is checked against: MD5 only where the ETag is one."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
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
        {"x-amz-checksum-crc32c": "AAAAAA==", "x-amz-checksum-type": "COMPOSITE"},
        {"x-amz-checksum-crc64nvme": "AAAAAAAAAAA=-2"},
        {"x-amz-checksum-crc32c": "AAAAAA"},
        {"x-amz-checksum-crc32c": "AAAAAAAAAAA="},
        {"x-amz-checksum-crc64nvme": "AAAAAA=="},
        {"x-amz-checksum-crc32": "no base64!"},
        {"x-amz-checksum-md9": "AAAAAA=="},
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


# -- CRCs that need a library ----------------------------------------------------------------------------------------------------


def reflected_crc(body: bytes, polynomial: int, bits: int) -> str:
    """A CRC as its definition has it, bit by bit, in S3's words."""
    crc = mask = (1 << bits) - 1
    for byte in body:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (polynomial if crc & 1 else 0)
    return b64encode((crc ^ mask).to_bytes(bits // 8, "big")).decode()


CRC32C = reflected_crc(BODY, 0x82F63B78, 32)
CRC64NVME = reflected_crc(BODY, 0x9A6C9329AC4BC9B5, 64)


def test_the_definitions_are_those_of_the_catalogue() -> None:
    """The check values of https://reveng.sourceforge.io/crc-catalogue/."""
    assert reflected_crc(b"123456789", 0x82F63B78, 32) == b64encode(bytes.fromhex("e3069283")).decode()
    assert reflected_crc(b"123456789", 0x9A6C9329AC4BC9B5, 64) == b64encode(bytes.fromhex("ae8b14860a799888")).decode()


def with_only(monkeypatch: pytest.MonkeyPatch, *present: str) -> None:
    """Hide the libraries that are not named; skip the test if one that is named is not installed."""
    for name in ("awscrt", "google_crc32c"):
        if name not in present:
            monkeypatch.setitem(sys.modules, name, None)
        elif importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed here")


@pytest.mark.parametrize(
    ("library", "name", "checksum"),
    [("awscrt", "crc32c", CRC32C), ("awscrt", "crc64nvme", CRC64NVME), ("google_crc32c", "crc32c", CRC32C)],
)
def test_a_crc_is_checked_where_a_library_computes_it(
    monkeypatch: pytest.MonkeyPatch, library: str, name: str, checksum: str
) -> None:
    with_only(monkeypatch, library)
    headers = {"etag": '"opaque-2"', f"x-amz-checksum-{name}": checksum, "x-amz-checksum-type": "FULL_OBJECT"}
    assert verify(KEY, headers, BODY) == Digest(KEY, headers).name == name
    for other in (b"", BODY + b"x", BODY[:-1], b"the bodY"):
        with pytest.raises(Mismatch, match=f"its {name} is .*, S3 said "):
            verify(KEY, headers, other)


@pytest.mark.parametrize(("name", "checksum"), [("crc32c", CRC32C), ("crc64nvme", CRC64NVME), ("crc32c", "AAAAAA==")])
def test_without_a_library_a_crc_is_no_promise(monkeypatch: pytest.MonkeyPatch, name: str, checksum: str) -> None:
    with_only(monkeypatch)
    headers = {"etag": '"opaque-2"', f"x-amz-checksum-{name}": checksum}
    digest = Digest(KEY, headers)
    assert not digest.wanted
    digest.update(BODY)
    assert digest.verify() == Digest(KEY, headers).name == "length"


def test_a_library_that_is_too_old_for_a_crc_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with_only(monkeypatch, "awscrt")
    from awscrt import checksums

    monkeypatch.delattr(checksums, "crc64nvme")
    headers = {"x-amz-checksum-crc64nvme": CRC64NVME, "x-amz-checksum-crc32": CRC32}
    assert verify(KEY, headers, BODY) == "crc32"


def test_without_a_library_for_the_best_the_next_best_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {"x-amz-checksum-crc64nvme": CRC64NVME, "x-amz-checksum-crc32c": CRC32C, "x-amz-checksum-crc32": CRC32}
    with monkeypatch.context() as hidden:
        with_only(hidden)
        assert verify(KEY, headers, BODY) == "crc32"
    with monkeypatch.context() as hidden:
        with_only(hidden, "google_crc32c")
        assert verify(KEY, headers, BODY) == "crc32c"
    with_only(monkeypatch, "awscrt")
    assert verify(KEY, headers, BODY) == "crc64nvme"


def test_what_nothing_is_known_of_is_not_wanted() -> None:
    assert not Digest(KEY, {}).wanted
    assert Digest(KEY, {"etag": f'"{MD5}"'}).wanted
