"""The client that s3warm makes for itself, and what goes wrong between it and S3."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from s3warm import Cache, OriginUnavailableError
from tests.support.proxy import RecordingProxy
from tests.support.worlds import client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.embedded import EmbeddedS3
    from tests.support.gateway import RadosGateway

BODY = os.urandom(300_000)


@pytest.fixture
def proxy(embedded: EmbeddedS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingProxy]:
    """moto's server behind a proxy, which is where the environment says that S3 is."""
    with RecordingProxy(embedded.address) as proxy:
        yield from _environment(proxy, embedded.endpoint, "key", "secret", monkeypatch)
    embedded.reset()


def _environment(
    proxy: RecordingProxy, endpoint: str, access_key: str, secret_key: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RecordingProxy]:
    s3 = client(endpoint, access_key, secret_key)
    s3.create_bucket(Bucket="own-client")
    s3.put_object(Bucket="own-client", Key="k", Body=BODY)
    s3.close()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield proxy


def break_first(proxy: RecordingProxy, times: int) -> list[Any]:
    """Reset the connection instead of passing on the response, so many times."""
    broken: list[Any] = []

    def before_response(exchange: Any) -> None:
        if len(broken) < times:
            broken.append(exchange)
            raise ConnectionResetError

    proxy.before_response = before_response
    return broken


def test_its_own_client_is_made_from_the_environment(proxy: RecordingProxy) -> None:
    with Cache() as cache:
        assert cache.get("own-client", "k") == BODY
        assert cache.get("own-client", "k", ttl=0) == BODY
    assert [(seen.method, seen.status) for seen in proxy.exchanges] == [("GET", 200), ("GET", 304)]


@pytest.mark.parametrize("times", [1, 2])
def test_a_connection_that_breaks_is_asked_again_in_silence(proxy: RecordingProxy, times: int) -> None:
    broken = break_first(proxy, times)
    with Cache() as cache:
        assert cache.get("own-client", "k") == BODY
        assert cache.stats().origin_requests == times + 1
    assert len(broken) == times


def test_after_three_attempts_it_is_an_outage(proxy: RecordingProxy) -> None:
    broken = break_first(proxy, 100)
    with Cache() as cache, pytest.raises(OriginUnavailableError) as caught:
        cache.get("own-client", "k")
    assert len(broken) == 3
    assert caught.value.__cause__ is not None


def test_with_a_copy_at_hand_one_repeat_is_enough(proxy: RecordingProxy) -> None:
    with Cache(ttl=0) as cache:
        cache.get("own-client", "k")
        broken = break_first(proxy, 100)
        assert cache.entry("own-client", "k").stale
    assert len(broken) == 2


def test_a_client_of_the_users_keeps_its_own_retries(proxy: RecordingProxy) -> None:
    broken = break_first(proxy, 100)
    given = client(proxy.endpoint, "key", "secret")
    with Cache(client=given) as cache, pytest.raises(OriginUnavailableError):
        cache.get("own-client", "k")
    assert len(broken) == 1
    given.close()


@pytest.mark.e2e
def test_connections_are_used_again(gateway_proxy: RecordingProxy) -> None:
    with Cache(memory_budget=0, disk_budget=0) as cache:
        for _ in range(5):
            cache.get("own-client", "k")
        assert _pool_connections(cache) == 1


def _pool_connections(cache: Cache) -> int:
    """Connections that the client's HTTP pool has opened."""
    session = cache._origin._exchange.requests._made._endpoint.http_session  # type: ignore[attr-defined]
    return sum(pool.num_connections for pool in session._manager.pools._container.values())


@pytest.fixture
def gateway_proxy(gateway: RadosGateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingProxy]:
    with RecordingProxy(gateway.address) as proxy:
        yield from _environment(proxy, gateway.endpoint, gateway.access_key, gateway.secret_key, monkeypatch)


@pytest.mark.e2e
def test_a_pooled_connection_that_died_while_frozen_costs_a_silent_retry(gateway_proxy: RecordingProxy) -> None:
    with Cache(ttl=0) as cache:
        cache.get("own-client", "k")
        gateway_proxy.down = True
        gateway_proxy.down = False
        assert cache.entry("own-client", "k").stale is False
        assert cache.stats().revalidated == 1


@pytest.mark.e2e
def test_a_bad_secret_is_an_outage_and_evicts_nothing(gateway_proxy: RecordingProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    with Cache(ttl=0) as cache:
        cache.get("own-client", "k")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "unknown")
        assert cache.entry("own-client", "k").stale is True
        with pytest.raises(OriginUnavailableError, match=r"InvalidAccessKeyId.*credentials"):
            cache.get("own-client", "k", ttl=0)
        assert cache.explain("own-client", "k").tiers == ("memory", "disk")
        gateway_proxy.clear()


@pytest.mark.e2e
def test_new_credentials_are_tried_once(gateway_proxy: RecordingProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that rotate under a process that lives on."""
    right = os.environ["AWS_SECRET_ACCESS_KEY"]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with Cache() as cache:
        gateway_proxy.before_request = lambda _: os.environ.__setitem__("AWS_SECRET_ACCESS_KEY", right)
        assert cache.get("own-client", "k") == BODY
    assert [seen.status for seen in gateway_proxy.exchanges] == [403, 200]


def test_a_stall_ends_with_the_time_out(proxy: RecordingProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    from s3warm.origin import boto

    monkeypatch.setattr(boto, "READ_TIMEOUT", 0.2)
    release = threading.Event()

    def stall(_: Any) -> None:
        assert release.wait(30)

    proxy.before_response = stall
    with Cache() as cache, pytest.raises(OriginUnavailableError, match="no answer in time"):
        cache.get("own-client", "k")
    assert cache.stats().origin_requests == 1, "a time-out is not waited for twice"
    release.set()


def test_no_credentials_says_where_to_set_them() -> None:
    code = """
import s3warm
try:
    s3warm.get("bucket", "key")
except s3warm.OriginUnavailableError as error:
    print(error)
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
    }
    printed = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, check=True, capture_output=True, text=True, timeout=60
    ).stdout
    assert "no credentials" in printed
    assert "AWS_ACCESS_KEY_ID" in printed
    assert "role" in printed
