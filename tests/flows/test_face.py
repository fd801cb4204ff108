"""The module functions over the default cache, and what the environment decides."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import s3warm
from s3warm import default
from s3warm import get as imported_before
from s3warm.testing import FakeCache, FakeS3, fake_s3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

URI = "s3://cfg/flags.json"


@pytest.fixture
def no_default() -> Iterator[None]:
    before = default._swap(None)
    yield
    last = default._swap(before)
    if last is not None:
        last.close()


def test_get_imported_before_configure_sees_the_new_cache(no_default: None) -> None:
    with fake_s3({URI: b"one"}) as s3:
        assert imported_before(URI) == b"one"
        with pytest.warns(RuntimeWarning, match="after the default cache had been used"):
            s3warm.configure(ttl=7)
        s3[URI] = b"two"
        assert imported_before("cfg", "flags.json") == b"two"
        assert imported_before("cfg", "flags.json") is imported_before("cfg", "flags.json")
        assert s3warm.default_cache().settings.ttl == 7
        s3.advance(7)
        s3[URI] = b"three"
        assert imported_before("cfg", "flags.json") == b"three", "the new cache's clock and TTL"
    assert default._cache is None


def test_configure_before_first_use_does_not_warn() -> None:
    with fake_s3({URI: b"one"}), warnings.catch_warnings():
        warnings.simplefilter("error")
        s3warm.configure(ttl=timedelta(minutes=1))
        s3warm.configure(ttl=30)
        assert s3warm.get(URI) == b"one"


def test_configure_validates_at_once_and_keeps_the_old_cache_if_it_fails() -> None:
    with fake_s3({URI: b"one"}):
        s3warm.get(URI)
        before = s3warm.default_cache()
        with pytest.raises(s3warm.ConfigurationError, match="memory_budget='lots' is not understood; accepted: bytes"):
            s3warm.configure(memory_budget="lots")
        with pytest.raises(s3warm.ConfigurationError, match="did you mean memory_budget"):
            s3warm.configure(memory_budgt=1)  # type: ignore[call-arg]
        assert s3warm.default_cache() is before


def test_the_default_cache_is_made_at_first_use_and_once(no_default: None) -> None:
    assert default._cache is None
    s3warm.stats()
    assert default._cache is s3warm.default_cache()


def test_a_closed_cache_reads_through() -> None:
    s3 = FakeS3({URI: b"one"})
    cache = FakeCache(s3)
    cache.get(URI)
    cache.close()
    s3[URI] = b"two"
    assert cache.get(URI) == b"two"
    assert cache.explain(URI).tiers == ()


def test_the_temporary_directory_is_private_made_late_and_removed() -> None:
    cache = FakeCache(FakeS3({URI: b"x" * 100_000}))
    tier = cache._disk_tier
    assert tier is not None
    assert not os.path.exists(tier.path)
    cache.get(URI)
    assert os.stat(tier.path).st_mode & 0o777 == 0o700
    cache.close()
    assert not os.path.exists(tier.path)


def run(code: str, **environment: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_temporary_directory_is_removed_at_exit() -> None:
    code = """
import s3warm
from s3warm.testing import FakeCache, FakeS3
cache = FakeCache(FakeS3({"s3://b/k": b"x" * 100_000}))
cache.get("b", "k")
print(cache._disk_tier.path)
"""
    assert not os.path.exists(run(code).strip())


def test_offline_never_dials_and_names_the_switch(tmp_path: Path) -> None:
    warm = f"""
from s3warm.testing import FakeCache, FakeS3
import time
s3 = FakeS3({{"s3://b/k": b"warm"}})
s3.now = time.time()
FakeCache(s3, directory={str(tmp_path / "cache")!r}, namespace="named x").get("b", "k")
"""
    run(warm)
    cold = f"""
import s3warm, sys
s3warm.configure(directory={str(tmp_path / "cache")!r}, namespace="x")
print(s3warm.get("b", "k"))
try:
    s3warm.get("b", "other")
except s3warm.OriginUnavailableError as error:
    print(error)
print("boto3" in sys.modules)
"""
    printed = run(cold, S3WARM_OFFLINE="1").splitlines()
    assert printed[0] == "b'warm'"
    assert "S3WARM_OFFLINE=1" in printed[1]
    assert printed[2] == "False"


def test_disabled_keeps_nothing_and_reads_through() -> None:
    code = """
from s3warm.testing import FakeCache, FakeS3
from s3warm import Settings
s3 = FakeS3({"s3://b/k": b"body"})
cache = FakeCache(s3, Settings(memory_budget="1GiB", ttl=100))
for _ in range(3):
    assert cache.get("b", "k") == b"body"
print(len(s3.requests), cache.explain("b", "k").tiers, cache.stats().memory_bytes <= 1000)
s3.down = True
try:
    cache.get("b", "k")
except ConnectionError:
    print("plain")
"""
    assert run(code, S3WARM_DISABLED="1").split("\n")[:2] == ["3 () True", "plain"]


def test_in_lambda_the_directory_lies_in_tmp_and_the_budget_comes_from_the_variable() -> None:
    code = """
import s3warm
print(s3warm.default_cache()._disk_tier.path)
print(s3warm.default_cache()._memory_budget)
"""
    environment = {
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
    }
    path, budget = run(code, **environment).splitlines()
    assert path == "/tmp/s3warm"
    assert budget == f"Budget(bytes={128 * 2**20}, origin='25% of AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512 MB')"


def test_a_fake_has_nothing_in_common_with_another_on_the_same_directory(tmp_path: Path) -> None:
    for body in (b"one", b"two"):
        with fake_s3({URI: body}, directory=tmp_path / "cache"):
            assert s3warm.get(URI) == body


def test_a_tuple_does_not_find_a_version() -> None:
    with fake_s3() as s3:
        version = s3.put(URI, b"one")
        assert s3warm.get(URI, version_id=version) == b"one"
        with pytest.raises(TypeError, match="key must be a string"):
            s3warm.get("cfg", ("flags.json", version))  # type: ignore[call-overload]
        assert "never expires" in str(s3warm.explain(URI, version_id=version))


def test_a_null_version_is_no_pin() -> None:
    with fake_s3(ttl=60) as s3:
        s3[URI] = b"one"
        assert s3warm.get(URI, version_id="null") == b"one"
        s3[URI] = b"two"
        assert s3warm.get(URI, version_id="null") == b"one"
        s3.advance(60)
        assert s3warm.get(URI, version_id="null") == b"two"


def test_a_budget_smaller_than_an_empty_database_turns_the_disk_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = FakeCache(FakeS3({URI: b"body"}), directory=tmp_path / "cache", disk_budget="16KiB")
    assert cache.get(URI) == b"body"
    assert (cache.stats().disk_bytes, cache.explain(URI).tiers) == (0, ("memory",))
    assert "less than an empty database takes" in caplog.text


@pytest.mark.parametrize("budget", ["0%", 0, "0"])
def test_a_budget_of_nothing_turns_a_tier_off(budget: Any) -> None:
    with FakeCache(FakeS3({URI: b"body"}), disk_budget=budget, memory_budget=budget) as cache:
        cache.get(URI)
        assert cache.explain(URI).tiers == ()
        assert cache.budgets().disk is None


def test_a_hook_that_raises_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    def hook(event: s3warm.Event) -> None:
        raise ZeroDivisionError

    s3 = FakeS3({URI: b"body"})
    with FakeCache(s3, on_event=hook, ttl=1) as cache:
        for _ in range(3):
            assert cache.get(URI) == b"body"
            s3.advance(2)
    assert len([record for record in caplog.records if "on_event" in record.message]) == 1


def test_two_clients_with_different_credentials_never_see_each_others_objects(tmp_path: Path) -> None:
    from tests.support.worlds import client

    namespaces = {
        s3warm.Cache(client=client(endpoint, key, "secret"), directory=tmp_path)._disk_tier.namespace  # type: ignore[union-attr]
        for endpoint in ("http://127.0.0.1:1", "http://127.0.0.1:2")
        for key in ("one", "two")
    }
    assert len(namespaces) == 4
    assert not any("one" in namespace.split() for namespace in namespaces), "the key id itself does not lie on disk"


def test_temporary_credentials_of_a_users_client_get_a_namespace_of_their_own(tmp_path: Path) -> None:
    import boto3

    clients = [
        boto3.client("s3", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="s", aws_session_token="t")
        for _ in range(2)
    ]
    namespaces = {s3warm.Cache(client=one, directory=tmp_path)._disk_tier.namespace for one in clients}  # type: ignore[union-attr]
    assert len(namespaces) == 2


def test_looking_at_a_clients_credentials_sends_nothing(tmp_path: Path) -> None:
    """Credentials that are fetched when they are needed are not needed for a name."""
    from types import SimpleNamespace

    class Refreshable:
        def refresh_needed(self) -> bool:
            raise AssertionError("asked")

        def get_frozen_credentials(self) -> None:
            raise AssertionError("asked")

    stub = SimpleNamespace(
        _request_signer=SimpleNamespace(_credentials=Refreshable()),
        get_object=lambda **_: None,
        meta=SimpleNamespace(endpoint_url="https://s3", region_name="eu-west-1"),
    )
    cache = s3warm.Cache(client=stub, directory=tmp_path)
    assert cache._disk_tier is not None
    assert cache._disk_tier.namespace.startswith("private")


@pytest.mark.parametrize("wrong", ["x", 7, object()])
def test_a_client_that_is_none_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"client must be a boto3 S3 client"):
        s3warm.Cache(client=wrong)


def test_a_disabled_cache_says_why_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3WARM_DISABLED", "1")
    assert str(s3warm.Cache().budgets()) == "memory  off: S3WARM_DISABLED=1\ndisk    off"


def test_a_directory_may_begin_with_the_home_directory() -> None:
    assert s3warm.Settings(directory="~/cache").directory == os.path.expanduser("~/cache")


def test_the_face_shows_its_names_and_nothing_else() -> None:
    assert dir(s3warm) == sorted([*s3warm.__all__, "aio", "emf", "notifications", "otel", "powertools"])


def test_a_misspelt_attribute_of_the_fake_is_an_error() -> None:
    with pytest.raises(AttributeError):
        FakeS3().dwon = True  # type: ignore[attr-defined]
