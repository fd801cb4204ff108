"""A fleet over servers of other kinds: a cluster, TLS with a password, and a client of the user's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from s3warm import Cache
from s3warm.testing import FakeCache, FakeS3
from tests.support.authority import Authority
from tests.support.fleets import SECRET, FleetCache
from tests.support.valkey import ValkeyCluster, ValkeyServer, missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3warm.beyond import Beyond
    from s3warm.revalidation import Revalidation
    from s3warm.settings import Settings

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(missing() is not None, reason=f"no Valkey or Redis server here: {missing()}"),
]

URI = "s3://b/k"
PATIENT: dict[str, Any] = {"shared_timeout": 2.0, "shared_connect_timeout": 2.0}  # this machine may be busy


class DialledCache(FakeCache):
    """An environment with the fake's S3, and the server that its settings name."""

    def _fleet(self, settings: Settings, **parts: Any) -> Callable[[Revalidation], Beyond]:
        return Cache._fleet(self, settings, **parts)


README = Path(__file__).parents[2] / "README.md"


def rights() -> list[str]:
    """What the README says that a user of the server needs."""
    found = re.search(r"A user of the server needs `([^`]+)`", README.read_text())
    assert found is not None
    return found[1].split()


@pytest.fixture(params=["cluster", "tls", "rights"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "cluster":
        with ValkeyCluster(tmp_path) as cluster:
            yield f"{cluster.url}?cluster=true"
    elif request.param == "rights":
        with ValkeyServer(tmp_path) as server:
            server.ask("ACL", "SETUSER", "app", "on", ">hunter2", *rights())
            yield server.url.replace("://", "://app:hunter2@")
    else:
        authority = Authority(tmp_path)
        with ValkeyServer(tmp_path / "server", "--requirepass", "hunter2", tls=authority) as server:
            yield f"{server.url.replace('://', '://:hunter2@')}?ca={authority.ca}"


def test_each_way_through_the_house_works(url: str) -> None:
    s3 = FakeS3({f"{URI}{number}": b"old" for number in range(50)})
    options: dict[str, Any] = {"shared_url": url, "shared_secret": SECRET, "namespace": "n", "ttl": 60, **PATIENT}
    with DialledCache(s3, **options) as one, DialledCache(s3, **options) as other:
        for number in range(50):  # in slots of all nodes
            assert one.get("b", f"k{number}") == other.get("b", f"k{number}") == b"old"
        assert [request.status for request in s3.requests] == [200] * 50
        assert other.stats().shared_hits == 50
        s3.advance(61)
        s3.requests.clear()
        for number in range(50):
            assert one.get("b", f"k{number}") == other.get("b", f"k{number}") == b"old"
        assert [request.status for request in s3.requests] == [304] * 50
        s3.advance(1)
        s3[f"{URI}7"] = b"new"
        one.invalidate("b", "k7", everywhere=True)
        s3.advance(1)
        assert one.get("b", "k7") == other.get("b", "k7") == b"new"
        one.put("b", "k9", b"written")
        assert one.entry("b", "k9").body == b"written"
        s3.advance(1)
        del s3[f"{URI}8"]
        one.invalidate("b", "k8", everywhere=True)
        for cache in (one, other):
            with pytest.raises(FileNotFoundError):
                cache.get("b", "k8", ttl=0)
            assert (cache.stats().shared_errors, cache.stats().shared_refused) == (0, 0)


def test_a_cluster_that_is_not_said_to_be_one_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with ValkeyCluster(tmp_path) as cluster:
        s3 = FakeS3({f"{URI}{number}": b"old" for number in range(50)})
        with DialledCache(s3, shared_url=cluster.url, shared_secret=SECRET, namespace="n", **PATIENT) as cache:
            for number in range(50):
                assert cache.get("b", f"k{number}") == b"old"
    (warning,) = caplog.messages
    assert "?cluster=true" in warning


def test_a_client_of_the_users_is_used_as_it_is_and_not_closed(tmp_path: Path) -> None:
    import redis

    with ValkeyServer(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        s3 = FakeS3({URI: b"old"})
        for _ in range(2):
            with FleetCache(s3, client) as cache:
                assert cache.get("b", "k") == b"old"
        assert len(s3.requests) == 1
        assert client.ping()
