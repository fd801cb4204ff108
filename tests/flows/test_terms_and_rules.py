"""`request=` and the setting `rules`: what is asked for in different ways is kept apart, and what may not lie on disk does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import s3warm
from s3warm import DiskUnavailableError, OriginUnavailableError
from s3warm.testing import FakeCache, FakeS3, fake_s3
from tests.support.entries import noise

if TYPE_CHECKING:
    from pathlib import Path

URI = "s3://cfg/secret/flags.json"
PAYER = {"RequestPayer": "requester"}
SSE_C = {"SSECustomerKey": b"0123456789abcdef0123456789abcdef"}
BODY = b'{"top": "secret-of-the-body"}'


def everything(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.rglob("*") if file.is_file())


def test_what_is_asked_for_in_another_way_is_cached_apart() -> None:
    with fake_s3({URI: BODY}, ttl=60) as s3:
        for request in (None, PAYER, SSE_C):
            for _ in range(2):
                assert s3warm.get(URI, request=request) == BODY
        assert len(s3.requests) == 3
        assert s3warm.explain(URI, request=PAYER).tiers == ("memory", "disk")
        s3warm.invalidate(URI, request=PAYER)
        s3warm.get(URI)
        assert len(s3.requests) == 3
        s3warm.get(URI, request=PAYER)
        assert len(s3.requests) == 4
        s3.advance(61)
        assert s3warm.get(URI, request=PAYER, transform="json") == json.loads(BODY)
        assert [request.status for request in s3.requests] == [200, 200, 200, 304, 304]


def test_the_terms_are_sent_with_each_request_also_after_a_restart(tmp_path: Path) -> None:
    s3, sent = FakeS3({URI: noise(9 * 2**20)}), []
    s3.before_answer = lambda request: sent.append(request.object.request)
    kept: dict[str, Any] = {"directory": str(tmp_path), "namespace": "kept", "ttl": 60, "memory_budget": 0}
    with FakeCache(s3, **kept) as cache:
        cache.get(URI, request=PAYER)
    s3.advance(61)
    with FakeCache(s3, **kept) as cache:
        cache.get(URI, request=PAYER)
        assert cache.path(URI, request=PAYER).stat().st_size == 9 * 2**20
        cache.release(URI, request=PAYER)
        with cache.open(URI, request=PAYER) as file:
            assert len(file.read(10)) == 10
    assert [request.status for request in s3.requests] == [200, 206, 206, 304]
    assert {terms and terms.payer for terms in sent} == {"requester"}


@pytest.mark.parametrize("size", [20, 200_000, 9 * 2**20], ids=["inline", "file", "parts"])
def test_an_sse_c_body_is_never_on_disk_unless_a_rule_says_so(tmp_path: Path, size: int) -> None:
    body = BODY + noise(size)
    s3 = FakeS3({URI: body})
    with FakeCache(s3, directory=str(tmp_path / "a")) as cache:
        assert cache.get(URI, request=SSE_C) == body
        assert cache.explain(URI, request=SSE_C).tiers == ("memory",)
        assert b"secret-of-the-body" not in everything(tmp_path / "a")
        with pytest.raises(
            DiskUnavailableError, match=r"key of yours \(SSE-C\), so that its body may not lie on disk; open\(\)"
        ):
            cache.path(URI, request=SSE_C)
        with cache.open(URI, request=SSE_C) as file:
            assert file.read() == body
        assert b"secret-of-the-body" not in everything(tmp_path / "a")
    with FakeCache(s3, directory=str(tmp_path / "b"), rules={"s3://cfg/secret/": {"disk": True}}) as cache:
        assert cache.get(URI, request=SSE_C) == body
        assert cache.explain(URI, request=SSE_C).tiers == ("memory", "disk")
        assert cache.path(URI, request=SSE_C).read_bytes() == body
        assert SSE_C["SSECustomerKey"] not in everything(tmp_path / "b")


def test_what_a_rule_keeps_off_the_disk_goes_from_it(tmp_path: Path) -> None:
    s3 = FakeS3({URI: BODY, "s3://cfg/open.json": b"{}"})
    kept: dict[str, Any] = {"directory": str(tmp_path), "namespace": "kept", "ttl": 60}
    with FakeCache(s3, **kept) as cache:
        cache.get(URI)
        assert b"secret-of-the-body" in everything(tmp_path)
    with FakeCache(s3, **kept, rules={"s3://cfg/": {"ttl": 5}, "s3://cfg/secret": {"disk": False}}) as cache:
        assert cache.explain(URI).tiers == ()
        assert cache.get(URI) == BODY
        assert cache.explain(URI).tiers == ("memory",)
        cache.get("s3://cfg/open.json")
        assert cache.explain("s3://cfg/open.json").tiers == ("memory", "disk")
        with pytest.raises(DiskUnavailableError, match="a rule of the settings says disk=False"):
            cache.path(URI)
        with pytest.raises(DiskUnavailableError, match="a rule of the settings says disk=False"):
            cache.tree("s3://cfg/secret/")
        assert len(s3.requests) == 3, "it is refused before anything is asked"
    with FakeCache(s3, **kept) as cache:
        assert cache.explain(URI).tiers == (), "no copy of it was left"


def test_a_rule_has_another_ttl_and_stands_in_for_another_time() -> None:
    rules = {"s3://cfg/secret/": {"ttl": 5, "stale_if_error": 10}, "s3://cfg/": {"ttl": 3600}}
    with fake_s3({URI: b"1", "s3://cfg/a": b"2", "s3://b/a": b"3"}, ttl=60, rules=rules) as s3:
        for uri in (URI, "s3://cfg/a", "s3://b/a"):
            s3warm.get(uri)
        assert [s3warm.explain(uri).expires_in for uri in (URI, "s3://cfg/a", "s3://b/a")] == [5, 3600, 60]
        s3.down = True
        s3.advance(14)
        assert s3warm.get(URI) == b"1"
        s3.advance(2)
        with pytest.raises(OriginUnavailableError):
            s3warm.get(URI)


def test_s3warm_disabled_knows_no_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3WARM_DISABLED", "1")
    with fake_s3({URI: b"1"}, rules={"s3://cfg/": {"ttl": 3600, "stale_if_error": 3600}}) as s3:
        s3warm.get(URI)
        s3warm.get(URI)
        assert len(s3.requests) == 2


def test_rules_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3WARM_RULES", '{"s3://cfg": {"ttl": 7}}')
    with FakeCache(FakeS3({URI: b"1"}), ttl_jitter=0) as cache:
        cache.get(URI)
        assert cache.explain(URI).expires_in == 7
    monkeypatch.setenv("S3WARM_RULES", '{"cfg": {"ttl": 7}}')
    with pytest.raises(s3warm.ConfigurationError, match=r"S3WARM_RULES=.* is not understood; accepted: a mapping of prefixes"):
        s3warm.Cache()
