"""A fleet at work: environments that ask for objects in a Zipf-like way, over several TTLs, on a clock that moves when all have asked.

Every environment is a whole cache of its own with settings as they are by default, but for small budgets. What they ask for is the same in
each run, and each draws its own jitter, so that without a server in between a run is the same each time.
"""

from __future__ import annotations

import itertools
import math
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import patch

from s3warm.declared import DEFAULT_TTL, TABLE
from s3warm.testing import FakeCache, FakeS3
from tests.support.fleets import FleetCache

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from s3warm.metrics import Stats
    from s3warm.origin.base import Request

__all__ = ["BAR", "BUCKET", "FULL", "JITTER", "SMALL", "TTL", "Outcome", "Plan", "simulate"]

TTL = DEFAULT_TTL
JITTER = float(next(setting.default for setting in TABLE if setting.name == "ttl_jitter"))
BAR = 1.05 / (1 - JITTER / 2)  # requests per object and TTL: a TTL is shortened by half of the jitter on average
BUCKET = "configs"
_SIZES = 200, 6000  # bytes of a body
_MEMORY, _DISK = "96KiB", "8MiB"
_WITH_DISK = 10  # one of so many environments has a disk
_CHANGE_EVERY = 10  # steps
_SILENCE = 60.0  # seconds: what is asked for at least that often, by anybody, is asked for all the time
_PATIENCE = 120.0  # seconds for one step of all


class Plan(NamedTuple):
    """How large a fleet is, and how long it runs."""

    environments: int
    objects: int
    ttls: int
    step: float  # seconds; each environment asks once in a step
    workers: int  # threads, which take their environments in turn

    @property
    def steps(self) -> int:
        return round(self.ttls * TTL / self.step)

    def asked(self, environment: int) -> Sequence[str]:
        """Keys that an environment asks for, one a step: the most popular object twice as often as the second, thrice as the third."""
        weights = [1 / rank for rank in range(1, self.objects + 1)]
        draw = random.Random(f"environment {environment}")
        return draw.choices([_key(number) for number in range(self.objects)], weights, k=self.steps)


FULL = Plan(environments=100, objects=500, ttls=20, step=5.0, workers=8)
SMALL = Plan(environments=12, objects=10, ttls=20, step=10.0, workers=4)


class Outcome(NamedTuple):
    """What came of a run.

    Attributes:
        plan: what was run.
        requests: when S3 was asked for each object, in seconds from the start, by key.
        silences: the longest time in seconds for which nobody asked for an object, by key.
        sources: hits by tier, of all environments.
        oldest: the most seconds for which a body that was served had been replaced.
        troubles: errors of calls and of the shared tier, as the environments counted them.
        seconds: that the run took.
    """

    plan: Plan
    requests: Mapping[str, Sequence[float]]
    silences: Mapping[str, float]
    sources: Mapping[str, int]
    oldest: float
    troubles: int
    seconds: float

    @property
    def total(self) -> int:
        """Requests at S3."""
        return sum(map(len, self.requests.values()))

    @property
    def steady(self) -> list[str]:
        """Keys of objects that were asked for all the time."""
        return [key for key, silence in self.silences.items() if silence <= _SILENCE]

    @property
    def closest(self) -> float:
        """The fewest seconds between two requests for one object."""
        pauses = (b - a for times in self.requests.values() for a, b in itertools.pairwise(times))
        return min(pauses, default=math.inf)

    def per_ttl(self, keys: Sequence[str]) -> list[float]:
        """Requests per TTL over the whole run, the first one included, for each of these objects."""
        return [len(self.requests[key]) / self.plan.ttls for key in keys]


def simulate(plan: Plan, client: Callable[[], Any] | None = None) -> Outcome:
    """Run it.

    Args:
        plan: what is to be run.
        client: makes a client of the server that they share, one for each environment; None: they share nothing.
    """
    begin = time.perf_counter()
    world = _World(plan, client)
    try:
        with patch("s3warm.revalidation.draw", world.draw), ThreadPoolExecutor(plan.workers) as pool:
            for done in [pool.submit(world.work, number) for number in range(plan.workers)]:
                done.result()
        return world.outcome(time.perf_counter() - begin)
    finally:
        world.close()


class _World:
    """S3, its clock, and all environments."""

    def __init__(self, plan: Plan, client: Callable[[], Any] | None) -> None:
        self._plan = plan
        draw = random.Random("bodies")
        self._sizes = {_key(number): draw.randint(*_SIZES) for number in range(plan.objects)}
        self._s3 = FakeS3({f"s3://{BUCKET}/{key}": _body(key, 0, size) for key, size in self._sizes.items()})
        self._start = self._s3.now
        self._replaced: dict[bytes, float] = {}  # when, by body
        self._changes = random.Random("changes")
        self._steps = 0
        self._requests: dict[str, list[float]] = {key: [] for key in self._sizes}
        self._s3.before_answer = self._note
        self._asked = [plan.asked(number) for number in range(plan.environments)]
        self._draws = [random.Random(f"jitter {number}") for number in range(plan.environments)]
        self._turn = threading.local()
        self._oldest = [0.0] * plan.workers
        self._barrier = threading.Barrier(plan.workers, self._step)
        self._caches: list[FakeCache] = []
        for number in range(plan.environments):
            options: dict[str, Any] = {"memory_budget": _MEMORY, "disk_budget": 0, "ttl_jitter": JITTER}
            if number % _WITH_DISK == 0:
                options["disk_budget"] = _DISK
            self._caches.append(FakeCache(self._s3, **options) if client is None else FleetCache(self._s3, client(), **options))

    def draw(self) -> float:
        """In place of the kernel's: the environment's whose turn it is in this thread."""
        environment: int = self._turn.environment
        return self._draws[environment].random()

    def work(self, worker: int) -> None:
        """What one thread does: all that its environments ask for, in step with the others."""
        own = range(worker, self._plan.environments, self._plan.workers)
        try:
            for step in range(self._plan.steps):
                for environment in own:
                    self._turn.environment = environment
                    key = self._asked[environment][step]
                    body = self._caches[environment].get(BUCKET, key)
                    assert body.startswith(key.encode() + b" "), f"the body of another object than {key}"
                    age = self._s3.now - self._replaced.get(body, math.inf)
                    self._oldest[worker] = max(self._oldest[worker], age)
                self._barrier.wait(_PATIENCE)
        except BaseException:
            self._barrier.abort()  # the others are not to wait for this one
            raise

    def outcome(self, seconds: float) -> Outcome:
        stats: list[Stats] = [cache.stats() for cache in self._caches]
        hits = {tier: sum(getattr(each, f"{tier}_hits") for each in stats) for tier in ("memory", "disk", "shared")}
        troubles = sum(each.errors + each.shared_errors + each.shared_refused for each in stats)
        return Outcome(self._plan, self._requests, self._silences(), hits, max(self._oldest), troubles, seconds)

    def close(self) -> None:
        for cache in self._caches:
            cache.close()

    def _note(self, request: Request) -> None:
        self._requests[request.object.key].append(self._s3.now - self._start)

    def _step(self) -> None:
        """All have asked: some time passes, and S3 changes."""
        self._steps += 1
        self._s3.advance(self._plan.step)
        if self._steps % _CHANGE_EVERY == 0:
            key = self._changes.choice(list(self._sizes))
            uri = f"s3://{BUCKET}/{key}"
            self._replaced[self._s3[uri]] = self._s3.now
            self._s3[uri] = _body(key, self._steps, self._sizes[key])

    def _silences(self) -> dict[str, float]:
        """The run's end is no silence's: an object that is never asked for again has one until then all the same."""
        seen: dict[str, list[int]] = {key: [0] for key in self._sizes}
        for step, keys in enumerate(zip(*self._asked, strict=True)):
            for key in set(keys):
                seen[key].append(step)
        longest = Counter(
            {key: max(b - a for a, b in itertools.pairwise([*steps, self._plan.steps])) for key, steps in seen.items()}
        )
        return {key: steps * self._plan.step for key, steps in longest.items()}


def _key(number: int) -> str:
    return f"{number:03}.json"


def _body(key: str, version: int, size: int) -> bytes:
    """Text that compresses as such objects do, other text for each version."""
    draw = random.Random(f"{key} {version}")
    words = " ".join(
        f"{draw.choice(('basket', 'search', 'rollout', 'profile'))}={draw.randrange(1000)}" for _ in range(size // 8)
    )
    return f"{key} {version} {words}".encode()[:size]
