"""Many environments of one fleet at once: who asks S3, and how often."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import pytest

from s3warm.testing import FakeS3
from s3warm.tiers import scripts
from tests.fleet.servers import PATIENCE, InMemory, Real
from tests.fleet.simulation import BAR, FULL, JITTER, SMALL, TTL, Outcome, simulate
from tests.fleet.table import table
from tests.support.fleets import FleetCache
from tests.support.valkey import ValkeyServer, missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from s3warm.origin.base import Request

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = 100
URI, BODY = "s3://cfg/flags.json", b'{"dark": true}'


@pytest.fixture(params=["in memory", pytest.param("real", marks=pytest.mark.e2e)])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[InMemory | Real]:
    if request.param == "in memory":
        yield InMemory()
        return
    lacking = missing()
    if lacking is not None:
        pytest.skip(f"no real server here: {lacking}")
    with ValkeyServer(tmp_path) as process:
        yield Real(process)


@pytest.fixture(autouse=True)
def _waits_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast this machine is does not decide who asks."""
    monkeypatch.setattr("s3warm.revalidation.PATIENCE_WITH_COPY", PATIENCE)
    monkeypatch.setattr("s3warm.tiers.leases.LONGEST", PATIENCE)


class Watched:
    """A client; `before` is called with each script that is to be run, `after` with what it was answered."""

    def __init__(
        self,
        client: Any,
        before: Callable[[str], object] = lambda _script: None,
        after: Callable[[str, Any], object] = lambda _script, _answer: None,
    ) -> None:
        self._client = client
        self._before = before
        self._after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def eval(self, script: str, *arguments: Any) -> Any:
        self._before(script)
        answer = self._client.eval(script, *arguments)
        self._after(script, answer)
        return answer


class Stampede:
    """Environments of which one asks S3, which does not answer before all others have been told that it is not for them to ask."""

    def __init__(self, server: InMemory | Real) -> None:
        self.s3 = FakeS3({URI: BODY})
        self._lock = threading.Lock()
        self._waiting: set[int] = set()
        self._all_wait = threading.Event()
        self._start = threading.Barrier(ENVIRONMENTS)
        self.caches = [
            FleetCache(self.s3, self._client(server, number), memory_budget="1MiB", disk_budget=0, ttl_jitter=JITTER)
            for number in range(ENVIRONMENTS)
        ]

    def run(self) -> list[bytes]:
        """What each environment is given."""
        self.s3.requests.clear()
        self.s3.before_answer = self._hold
        with ThreadPoolExecutor(ENVIRONMENTS) as pool:
            return list(pool.map(self._get, self.caches))

    def close(self) -> None:
        for cache in self.caches:
            cache.close()

    def _get(self, cache: FleetCache) -> bytes:
        self._start.wait(PATIENCE)
        return cache.get(URI)

    def _hold(self, _: Request) -> None:
        assert self._all_wait.wait(PATIENCE), f"only {len(self._waiting)} wait for the one that asks"

    def _client(self, server: InMemory | Real, number: int) -> Watched:
        def told(script: str, answer: Any) -> None:
            if script == scripts.TAKE and not answer[1]:
                with self._lock:
                    self._waiting.add(number)
                    if len(self._waiting) == ENVIRONMENTS - 1:
                        self._all_wait.set()

        return Watched(server.client(), after=told)


@pytest.fixture
def stampede(server: InMemory | Real) -> Iterator[Stampede]:
    made = Stampede(server)
    yield made
    made.close()


def test_a_stampede_on_a_cold_key_is_one_get(stampede: Stampede) -> None:
    assert stampede.run() == [BODY] * ENVIRONMENTS
    assert [(request.status, request.if_none_match) for request in stampede.s3.requests] == [(200, None)]
    stats = [cache.stats() for cache in stampede.caches]
    assert sum(each.shared_hits for each in stats) == ENVIRONMENTS - 1
    assert sum(each.misses for each in stats) == 1
    assert sum(each.shared_errors + each.shared_refused for each in stats) == 0


def test_a_stampede_on_an_expired_key_is_one_conditional_get(stampede: Stampede) -> None:
    for cache in stampede.caches:
        cache.get(URI)
    assert len(stampede.s3.requests) == 1
    stampede.s3.advance(TTL)
    assert stampede.run() == [BODY] * ENVIRONMENTS
    assert [request.status for request in stampede.s3.requests] == [304]
    assert sum(cache.stats().revalidated for cache in stampede.caches) == 1


def test_a_stampede_on_a_key_that_has_changed_is_one_conditional_get(stampede: Stampede) -> None:
    for cache in stampede.caches:
        cache.get(URI)
    stampede.s3.advance(TTL)
    stampede.s3[URI] = b"{}"
    assert stampede.run() == [b"{}"] * ENVIRONMENTS
    assert [(request.status, request.if_none_match is None) for request in stampede.s3.requests] == [(200, False)]


@pytest.mark.parametrize("expired", [False, True])
def test_who_comes_to_the_lease_when_all_is_over_asks_nobody(server: InMemory | Real, expired: bool) -> None:
    """Between its first look at the server and its wish for the lease another environment has asked S3, and is done."""
    s3 = FakeS3({URI: BODY})
    others: list[bytes] = []

    def meanwhile(script: str) -> None:
        if script == scripts.TAKE and len(others) < len(wanted):
            others.append(quick.get(URI))

    wanted: list[bytes] = []
    with FleetCache(s3, server.client()) as quick, FleetCache(s3, Watched(server.client(), before=meanwhile)) as late:
        if expired:
            quick.get(URI)
            late.get(URI)
            s3.advance(TTL)
        s3.requests.clear()
        wanted.append(BODY)
        assert late.get(URI) == BODY
        assert others == wanted
        assert [request.status for request in s3.requests] == [304 if expired else 200]
        assert list(server.client().scan_iter("*:lease")) == [], "and leaves no lease behind"


def test_without_a_shared_tier_a_hit_is_what_it_was() -> None:
    """The look of each second is the ledger's own, and nothing of the shared tier is loaded."""
    code = """
import sys
from tests.bench.subject import OfflineCache
cache = OfflineCache(memory_budget="1MiB", disk_budget=0, namespace="test")
assert cache._look == cache._ledger.look
names = ("redis", "s3warm.fleet", "s3warm.joining", "s3warm.tiers.shared", "s3warm.tiers.dialing")
print([name for name in names if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


# -- at work -------------------------------------------------------------------------------------------------------------------


def check(alone: Outcome, fleet: Outcome, dead: Outcome) -> None:
    """What is promised of a fleet that has a shared tier, beside one that has none and one whose server is dead."""
    print(f"\n{table({'no shared tier': alone, 'a shared tier': fleet, 'its server is dead': dead})}")
    for outcome in (alone, fleet, dead):
        assert 0 < outcome.oldest <= TTL, "what was replaced is served for a TTL at most"
        assert sum(outcome.sources.values()) + outcome.total == outcome.plan.environments * outcome.plan.steps, (
            "a hit, or a request"
        )
    assert (alone.troubles, fleet.troubles) == (0, 0)
    # It is tried after 1 s, 2 s, ... 16 s, and then every 30 s.
    assert 0 < dead.troubles <= dead.plan.environments * (dead.plan.ttls * TTL / 30 + 5), "it is left in peace"
    # Not to the last one: the memory tier asks the interpreter what its tables take, so that now and then another body is evicted.
    assert abs(dead.total - alone.total) <= alone.total / 1000, "without the server it is as if there were no shared tier"
    assert fleet.closest >= TTL * (1 - JITTER), "nobody asks again before the shortest TTL is over"
    # Also of what is asked for rarely, which can only have fewer: over the whole run, the first request included.
    assert max(fleet.per_ttl(list(fleet.requests))) <= BAR
    steady = fleet.per_ttl(fleet.steady)
    assert 0.95 < fmean(steady) <= BAR, "what is asked for all the time is revalidated in each TTL"


def test_a_small_fleet_asks_s3_once_per_object_and_ttl() -> None:
    server, dead = InMemory(), InMemory()
    dead.kill()
    check(simulate(SMALL), simulate(SMALL, server.client), simulate(SMALL, dead.client))


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_a_fleet_asks_s3_once_per_object_and_ttl(tmp_path: Path) -> None:
    lacking = missing()
    if lacking is not None:
        pytest.skip(f"no real server here: {lacking}")
    with ValkeyServer(tmp_path) as process:
        server = Real(process)
        alone, fleet = simulate(FULL), simulate(FULL, server.client)
        server.kill()
        check(alone, fleet, simulate(FULL, server.client))
