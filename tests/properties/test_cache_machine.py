"""A random walk over everything that can happen to a cache, held against a plain model of what S3 had and when."""

from __future__ import annotations

import shutil
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from s3warm import ObjectNotFoundError, OriginUnavailableError
from s3warm.keys import locate
from s3warm.testing import FakeCache, FakeS3
from tests.support.entries import noise, text

if TYPE_CHECKING:
    from s3warm.origin.base import Request

KEYS = [f"k{number}" for number in range(3)]


class Body(bytes):
    """A body that prints as its size: Hypothesis keeps what each step would print."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes, {hash(bytes(self)) % 1000}>"


BODIES = [
    Body(body)
    for body in (
        b"",
        b"a",
        b"b",
        noise(900, 1),
        noise(900, 2),
        text(30_000),
        noise(30_000, 3),
        noise(70_000, 4),
        text(200_000),
        noise(200_000, 5),
    )
]
TTL = 60.0
STALE = 300.0
MEMORY = 60_000
DISK = 700_000

keys = st.sampled_from(KEYS)
bodies = st.sampled_from(BODIES)


class CacheMachine(RuleBasedStateMachine):
    """The model is `sightings`: what S3 had under each key at which time on the wall clock, None for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp(prefix="s3warm-machine-")
        self.s3 = FakeS3()
        self.sightings: dict[str, list[tuple[float, bytes | None]]] = {key: [] for key in KEYS}
        self.current: dict[str, bytes | None] = dict.fromkeys(KEYS)
        self.must_ask: set[str] = set()
        self.cache = self.new_cache()

    def new_cache(self) -> FakeCache:
        return FakeCache(
            self.s3,
            directory=self.directory,
            namespace="machine",
            ttl=TTL,
            ttl_jitter=0.1,
            stale_if_error=STALE,
            memory_budget=MEMORY,
            disk_budget=DISK,
        )

    def teardown(self) -> None:
        self.cache.close()
        shutil.rmtree(self.directory)

    def see(self) -> None:
        for key, body in self.current.items():
            self.sightings[key].append((self.s3.now, body))

    @initialize(first=bodies)
    def begin(self, first: bytes) -> None:
        self.put(KEYS[0], first)

    # -- what happens at the origin and to the clock ------------------------------------------------------------------------

    @rule(key=keys, body=bodies)
    def put(self, key: str, body: bytes) -> None:
        self.s3[f"s3://b/{key}"] = body
        self.current[key] = body
        self.see()

    @rule(key=keys)
    def delete(self, key: str) -> None:
        if self.current[key] is not None:
            del self.s3[f"s3://b/{key}"]
            self.current[key] = None
        self.see()

    @rule(seconds=st.sampled_from([0.5, 30.0, 53.0, 59.0, 61.0, 200.0, 400.0, 100_000.0, -1.0, -100.0, -100_000.0]))
    def clock(self, seconds: float) -> None:
        self.s3.advance(seconds)
        self.see()

    @rule(key=keys, body=bodies, seconds=st.sampled_from([0.0, 30.0, 61.0, -1.0, -100.0]))
    def get_then_overwrite_and_step(self, key: str, body: bytes, seconds: float) -> None:
        """The moment in which a copy in the cache turns old."""
        self.get(key, None)
        self.put(key, body)
        self.clock(seconds)
        self.get(key, None)

    @rule(down=st.booleans())
    def outage(self, down: bool) -> None:
        self.s3.down = down

    # -- what happens to the cache -----------------------------------------------------------------------------------------

    @rule(key=keys, ttl=st.sampled_from([None, None, None, 0, 10, 1000]))
    def get(self, key: str, ttl: float | None) -> None:
        asked = len(self.s3.requests)
        self.see()
        try:
            body: bytes | None = self.cache.get("b", key, ttl=ttl)
        except ObjectNotFoundError:
            body = None
            assert self.cache.explain("b", key).tiers == (), "what is gone is gone from every tier"
        except OriginUnavailableError:
            assert self.s3.down or (self.left_alone(key) and ttl != 0), (
                "only an outage makes S3 unavailable, and the pause after it"
            )
            return
        requests = len(self.s3.requests) - asked
        assert requests <= 1, "one request at most"
        if requests:
            assert body == self.current[key], "S3's own answer is what the caller gets"
            self.must_ask.discard(key)
            return
        assert body is not None, "errors are never cached"
        assert ttl != 0, "ttl=0 asks"
        assert body in [seen for _, seen in self.sightings[key]], "never a body that S3 never had"
        bound = TTL if ttl is None else ttl
        recent = [seen for time, seen in self.sightings[key] if time <= self.s3.now < time + bound]
        if self.s3.down:
            # A copy may have stood in.
            recent += [seen for time, seen in self.sightings[key] if self.s3.now < time + TTL + STALE]
        else:
            still_left_alone = self.left_alone(key)
            if still_left_alone:
                recent += [seen for time, seen in self.sightings[key] if self.s3.now < time + TTL + STALE]
            assert still_left_alone or key not in self.must_ask, "after invalidate S3 is asked"
        assert body in recent, f"{len(body)} bytes that are older than {bound} s"

    def left_alone(self, key: str) -> bool:
        """Whether S3 failed so recently that it is not asked now."""
        return not self.cache._revalidation._watch.may_ask(locate("b", key), self.s3.now)

    @rule(key=keys)
    def invalidate(self, key: str) -> None:
        self.cache.invalidate("b", key)
        self.must_ask.add(key)

    @rule(key=keys, overwrite=st.none() | bodies)
    @precondition(lambda self: not self.s3.down)
    def invalidate_during_a_flight(self, key: str, overwrite: bytes | None) -> None:
        """S3 is slow: while its answer is on the way, the object is invalidated (and perhaps overwritten)."""
        called: list[Request] = []

        def meanwhile(request: Request) -> None:
            if not called:
                called.append(request)
                if overwrite is not None:
                    self.put(key, overwrite)
                self.cache.invalidate("b", key)

        self.s3.before_answer = meanwhile
        try:
            self.get(key, 0)
        finally:
            self.s3.before_answer = None
        if called:
            self.must_ask.add(key)

    @rule(key=keys, tier=st.sampled_from(["memory", "disk"]))
    def evict(self, key: str, tier: str) -> None:
        held = self.cache._memory if tier == "memory" else self.cache._disk
        assert held is not None
        held.evict(locate("b", key))

    @rule()
    def restart(self) -> None:
        """As after a crash: nothing is closed, memory is gone, the directory is what it was."""
        warm = {key for key in KEYS if (known := self.cache.explain("b", key)).fresh and "disk" in known.tiers}
        self.cache = self.new_cache()
        asked = len(self.s3.requests)
        for key in warm:
            assert self.cache.get("b", key) in BODIES
        assert len(self.s3.requests) == asked, "a restart finds the disk warm"

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        assert self.cache.stats().memory_entries == 0
        assert all(self.cache.explain("b", key).tiers == () for key in KEYS)

    @invariant()
    def budgets_hold(self) -> None:
        stats = self.cache.stats()
        assert stats.memory_bytes <= stats.memory_budget
        assert stats.disk_bytes <= stats.disk_budget
        assert stats.disk_errors == stats.corrupt == 0


CacheMachine.TestCase.settings = settings(
    max_examples=200,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestCacheMachine = pytest.mark.timeout(170)(CacheMachine.TestCase)
