"""Which caches may join a fleet, and what those are told that may not."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import fakeredis
import pytest

from s3warm import Cache, ConfigurationError
from s3warm.errors import FleetUnavailableError
from s3warm.fleet import Fleet

SECRET = "sesame, open up: a secret"
PASSWORD = "pass-word-of-the-server"
URL = f"redis://app:{PASSWORD}@cache.invalid:6379"
GOOD: dict[str, Any] = {"shared_url": URL, "shared_secret": SECRET, "namespace": "app", "disk_budget": 0}


def refusal(**options: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Cache(**{**GOOD, **options})
    said = str(caught.value)
    for each in (said, repr(caught.value), repr(caught.value.__cause__), repr(caught.value.__context__)):
        assert SECRET not in each
        assert PASSWORD not in each
    return said


def sealer(**options: Any) -> Any:
    with Cache(**{**GOOD, **options}) as cache:
        assert isinstance(cache._beyond, Fleet)
        return cache._beyond.shared._sealer


def test_without_a_url_there_is_no_fleet() -> None:
    with Cache(disk_budget=0, shared_secret=SECRET) as cache:
        assert not isinstance(cache._beyond, Fleet)


def test_without_a_secret_it_is_refused_and_told_how_to_make_one() -> None:
    said = refusal(shared_secret=None)
    assert "shared_secret" in said
    assert "S3WARM_SHARED_SECRET" in said
    assert "shared_unauthenticated=True" in said
    made = subprocess.run([sys.executable, "-c", said.split("'")[1]], capture_output=True, text=True, check=True)
    assert len(made.stdout.strip()) == 64


def test_who_wants_none_can_do_without() -> None:
    assert sealer(shared_secret=None, shared_unauthenticated=True)._secret == b""
    assert sealer(shared_unauthenticated=True)._secret == SECRET.encode(), "one that is there is used"


def test_without_a_namespace_it_is_refused() -> None:
    assert "namespace=" in refusal(namespace=None)


def test_in_lambda_the_function_is_the_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "orders")
    assert "orders" in sealer(namespace=None).namespace


@pytest.mark.parametrize(
    "url",
    [
        f"http://app:{PASSWORD}@cache.invalid:6379",
        f"redis://app:{PASSWORD}@cache.invalid:port",
        f"redis://app:{PASSWORD}@:6379",
        f"redis://app:{PASSWORD}@cache.invalid:6379/db",
        f"redis://app:{PASSWORD}@cache.invalid:6379?clutser=true",
        f"redis://app:{PASSWORD}/@cache.invalid:6379",
        f"redis://app:{PASSWORD}@cache.invalid:6379#0",
    ],
    ids=["scheme", "port", "host", "database", "parameter", "slash", "fragment"],
)
def test_a_url_that_cannot_be_dialled_is_refused_at_once(url: str) -> None:
    assert "shared_url='***' is not understood" in refusal(shared_url=url)


def test_a_client_of_the_users_needs_no_url_but_a_secret_and_a_namespace() -> None:
    client = fakeredis.FakeRedis()
    with Cache(shared_client=client, shared_secret=SECRET, namespace="app", disk_budget=0) as cache:
        assert isinstance(cache._beyond, Fleet)
    for lacking in ("shared_secret", "namespace"):
        assert lacking in refusal(shared_url=None, shared_client=client, **{lacking: None})
    with pytest.raises(TypeError, match="redis-py or valkey-py"):
        Cache(shared_client=object(), shared_secret=SECRET, namespace="app")


@pytest.mark.parametrize("switch", ["S3WARM_DISABLED", "S3WARM_OFFLINE"])
def test_a_cache_that_is_switched_off_joins_nothing(switch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(switch, "1")
    with Cache(**GOOD, shared_client=fakeredis.FakeRedis()) as cache:
        assert not isinstance(cache._beyond, Fleet)
        with pytest.raises(ConfigurationError, match="not everywhere"):
            cache.invalidate("b", "k", everywhere=True)


def test_neither_secret_nor_password_is_printed() -> None:
    with Cache(**GOOD) as cache:
        said = f"{cache.settings!r} {cache.settings} {cache.budgets()} {cache._beyond!r} {vars(cache._beyond)}"
        assert SECRET not in said
        assert PASSWORD not in said


def test_what_cannot_be_told_everywhere_is_an_error_that_names_the_object() -> None:
    class Dead(fakeredis.FakeRedis):
        def execute_command(self, *args: Any, **options: Any) -> Any:
            raise ConnectionError(f"nobody at {URL}")

    with (
        Cache(**GOOD, shared_client=Dead()) as cache,
        pytest.raises(
            FleetUnavailableError, match="s3://b/k was invalidated for this process, but the fleet could not be told"
        ),
    ):
        cache.invalidate("b", "k", everywhere=True)


BEFORE_FIRST_USE = f"""
import sys
import s3warm
cache = s3warm.Cache(shared_url={URL!r}, shared_secret={SECRET!r}, namespace="app", disk_budget=0)
loaded = [name for name in sys.modules if name.split(".")[0] in ("redis", "valkey", "fakeredis", "hmac", "boto3")]
print(loaded, "s3warm.joining" in sys.modules)
"""


def test_no_client_is_imported_before_first_use() -> None:
    done = subprocess.run([sys.executable, "-c", BEFORE_FIRST_USE], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[] True"


def test_who_has_no_fleet_pays_for_none() -> None:
    code = "import sys, s3warm; s3warm.Cache(disk_budget=0); print([name for name in sys.modules if name in ('s3warm.joining', 's3warm.fleet')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
