"""verify="require": what S3 gives nothing to check against is not downloaded."""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from s3warm import Cache, ConfigurationError, IntegrityError
from tests.support.entries import noise
from tests.support.static_origin import StaticOrigin
from tests.support.worlds import FakeWorld, client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = "models/net.bin"
SMALL, LARGE = noise(100_000), noise(9 * 2**20)


def base(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def crc32(body: bytes) -> str:
    return base(zlib.crc32(body).to_bytes(4, "big"))


def parts(body: bytes) -> dict[str, str]:
    """Uploaded in parts: the ETag is no MD5 of the whole."""
    return {"etag": f'"{hashlib.md5(hashlib.md5(body).digest()).hexdigest()}-2"'}


def kms(body: bytes) -> dict[str, str]:
    """Encrypted by KMS: the ETag looks like an MD5 and is none."""
    return {"etag": f'"{hashlib.md5(b"key" + body).hexdigest()}"', "x_amz_server_side_encryption": "aws:kms"}


def composite(body: bytes) -> dict[str, str]:
    """A checksum of the checksums of the parts."""
    return {**parts(body), "x_amz_checksum_crc32": crc32(body) + "-2", "x_amz_checksum_type": "COMPOSITE"}


UNVERIFIABLE = {"parts": parts, "kms": kms, "composite": composite}

VERIFIABLE: dict[str, tuple[str, Callable[[bytes], dict[str, str]]]] = {
    "md5": ("md5", lambda _: {}),
    "crc32": ("crc32", lambda body: {**parts(body), "x_amz_checksum_crc32": crc32(body)}),
    "sha256": ("sha256", lambda body: {**kms(body), "x_amz_checksum_sha256": base(hashlib.sha256(body).digest())}),
    "sha1": ("sha1", lambda body: {**parts(body), "x_amz_checksum_sha1": base(hashlib.sha1(body).digest())}),
    "full object": (
        "crc32",
        lambda body: {**parts(body), "x_amz_checksum_crc32": crc32(body), "x_amz_checksum_type": "FULL_OBJECT"},
    ),
}


def read(cache: Cache, uri: str) -> bytes:
    with cache.open(uri) as file:
        return file.read()


WAYS: dict[str, Callable[[Cache, str], bytes]] = {
    "get": lambda cache, uri: cache.get(uri),
    "path": lambda cache, uri: cache.path(uri).read_bytes(),
    "open": read,
    "tree": lambda cache, uri: (cache.tree(uri.rpartition("/")[0] + "/") / "net.bin").read_bytes(),
}


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeWorld]:
    made = FakeWorld(tmp_path / "cache")
    yield made
    made.close()


def put(world: FakeWorld, body: bytes, **headers: str) -> str:
    uri = f"s3://{world.bucket}/{KEY}"
    world.s3.put(uri, body, **headers)
    return uri


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("described", UNVERIFIABLE.values(), ids=UNVERIFIABLE.keys())
@pytest.mark.parametrize("body", [SMALL, LARGE, b""], ids=["small", "large", "empty"])
def test_what_cannot_be_verified_is_refused_before_a_byte_of_it_is_read(
    fake: FakeWorld, way: Callable[[Cache, str], bytes], described: Callable[[bytes], dict[str, str]], body: bytes
) -> None:
    uri = put(fake, body, **described(body))
    cache = fake.cache(verify="require")
    for _ in range(2):
        with pytest.raises(IntegrityError, match=r"cannot be verified.*full-object checksum") as caught:
            way(cache, uri)
        assert (caught.value.bucket, caught.value.key) == (fake.bucket, KEY)
        assert str(caught.value).startswith(uri)
    gets = [request for request in fake.s3.requests if request.uri == uri]
    assert [request.span for request in gets] == [None, None], "asked once a call, and never for a part"
    stats = cache.stats()
    assert (stats.origin_bytes, stats.errors, stats.misses) == (0, 2, 0)
    assert cache.explain(uri).tiers == ()
    assert way(fake.cache(), uri) == body, "by default it is checked by its length"


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize(("by", "described"), VERIFIABLE.values(), ids=VERIFIABLE.keys())
@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_what_can_be_verified_is_served(
    fake: FakeWorld, way: Callable[[Cache, str], bytes], by: str, described: Callable[[bytes], dict[str, str]], body: bytes
) -> None:
    uri = put(fake, body, **described(body))
    cache = fake.cache(verify="require")
    assert way(cache, uri) == body
    assert cache.stats().origin_bytes == len(body)
    assert cache.entry(uri).verified_by == by


def test_what_is_verified_and_damaged_is_an_error_all_the_same(fake: FakeWorld) -> None:
    uri = put(fake, SMALL, **parts(SMALL), x_amz_checksum_crc32=crc32(b"another"))
    for ask in (fake.cache(verify="require").get, fake.cache(verify="require").path):
        with pytest.raises(IntegrityError, match="arrived damaged"):
            ask(uri)


def test_a_tree_names_the_member_that_cannot_be_verified(fake: FakeWorld) -> None:
    put(fake, SMALL)
    fake.s3.put(f"s3://{fake.bucket}/models/b.bin", SMALL, **parts(SMALL))
    with pytest.raises(IntegrityError, match=r"b\.bin cannot be verified") as caught:
        fake.cache(verify="require").tree(fake.bucket, "models/")
    assert caught.value.key == "models/b.bin"


@pytest.mark.parametrize("headers", [{}, {"x_amz_checksum_crc32": crc32(SMALL)}], ids=["md5", "crc32"])
def test_a_stream_is_never_verified_and_so_refused(fake: FakeWorld, headers: dict[str, str]) -> None:
    uri = put(fake, SMALL, **headers)
    cache = fake.cache(verify="require", disk_budget=0)
    with pytest.raises(IntegrityError, match=r"cannot be verified.*read as a stream"):
        cache.open(uri)
    assert cache.stats().origin_bytes == 0
    assert cache.get(uri) == SMALL
    assert read(fake.cache(disk_budget=0), uri) == SMALL


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_a_verified_copy_stands_in_for_what_cannot_be(fake: FakeWorld, way: Callable[[Cache, str], bytes]) -> None:
    uri = put(fake, SMALL)
    cache = fake.cache(verify="require", ttl=60, stale_if_error=600)
    assert way(cache, uri) == SMALL
    put(fake, LARGE, **parts(LARGE))
    fake.now += 100
    assert way(cache, uri) == SMALL
    assert (cache.stats().stale_served, cache.stats().origin_bytes) == (1, len(SMALL))
    fake.put("other", b"other")
    assert cache.get(fake.bucket, "other") == b"other", "the bucket is well"
    fake.now += 600
    with pytest.raises(IntegrityError):
        way(cache, uri)
    put(fake, b"verified")
    assert way(cache, uri) == b"verified"


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_a_verified_copy_is_confirmed(fake: FakeWorld, way: Callable[[Cache, str], bytes]) -> None:
    uri = put(fake, SMALL)
    cache = fake.cache(verify="require", ttl=60)
    assert way(cache, uri) == SMALL
    fake.now += 60
    assert way(cache, uri) == SMALL
    assert (cache.stats().revalidated, cache.stats().origin_bytes) == (1, len(SMALL))


@pytest.mark.parametrize("way", ["get", "path", "open"])
@pytest.mark.parametrize("passed", [0, 60], ids=["fresh", "confirmed"])
def test_a_copy_that_was_not_verified_does_not_count(fake: FakeWorld, way: str, passed: int) -> None:
    uri = put(fake, SMALL, **parts(SMALL))
    assert fake.cache(ttl=60).get(uri) == SMALL
    fake.now += passed
    with pytest.raises(IntegrityError):
        WAYS[way](fake.cache(verify="require", ttl=60), uri)


def test_the_environment_may_ask_for_it(fake: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = put(fake, SMALL, **parts(SMALL))
    monkeypatch.setenv("S3WARM_VERIFY", "require")
    with pytest.raises(IntegrityError):
        fake.cache().get(uri)
    assert fake.cache(verify="available").get(uri) == SMALL
    monkeypatch.setenv("S3WARM_VERIFY", "always")
    with pytest.raises(ConfigurationError, match=r"S3WARM_VERIFY='always'.*\"available\" or \"require\""):
        fake.cache()


@pytest.mark.parametrize("wrong", [True, None, "", "REQUIRED", 1])
def test_other_values_are_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="verify="):
        Cache(verify=wrong)


@pytest.fixture
def origin() -> Iterator[StaticOrigin]:
    with StaticOrigin() as server:
        yield server


def test_over_http_nothing_of_it_is_read_and_boto3_asks_for_checksums(origin: StaticOrigin, tmp_path: Path) -> None:
    origin.put("b", "parts.bin", LARGE, **parts(LARGE))
    origin.put("b", "summed.bin", LARGE, **parts(LARGE), x_amz_checksum_crc32=crc32(LARGE))
    with Cache(client=client(origin.endpoint, "key", "secret"), directory=tmp_path / "cache", verify="require") as cache:
        for ask in (cache.get, cache.path, cache.open):
            with pytest.raises(IntegrityError):
                ask("b", "parts.bin")
        assert cache.stats().origin_bytes == 0
        assert [(request.key, request.range) for request in origin.requests()] == [("parts.bin", "")] * 3
        assert cache.path("b", "summed.bin").read_bytes() == LARGE
        assert cache.entry("b", "summed.bin").verified_by == "crc32"


def test_checksums_are_asked_for_whatever_boto3_is_told(origin: StaticOrigin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    origin.put("b", "summed.bin", SMALL, **parts(SMALL), x_amz_checksum_crc32=crc32(SMALL))
    with Cache(client=client(origin.endpoint, "key", "secret"), verify="require") as cache:
        assert cache.get("b", "summed.bin") == SMALL
