"""What a hit costs, counted rather than timed: instructions, calls, locks, memory, statements, files.

These are the figures that `make bench` turns into nanoseconds, held where a time would depend on who else uses the machine.
"""

from __future__ import annotations

import dis
import gc
import json
import subprocess
import sys
import time
import tracemalloc
from itertools import repeat
from types import FunctionType
from typing import TYPE_CHECKING, Any

import pytest

import s3warm
from s3warm.default import front
from s3warm.testing import fake_s3
from tests.support.entries import an_entry, noise, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

    from s3warm.metrics import Event

BUCKET, KEY = "cfg", "flags.json"
OBJECT = {f"s3://{BUCKET}/{KEY}": b"{}"}

# Instructions of one memory hit. To be lowered when it gets shorter, and raised only for something that is worth it to each hit.
INSTRUCTIONS = {(3, 11): 37, (3, 12): 36, (3, 13): 36}
LONGEST = max(INSTRUCTIONS.values())

LOCKING = {"BEFORE_WITH", "BEFORE_ASYNC_WITH", "LOAD_SPECIAL", "WITH_EXCEPT_START"}


class Run:
    """What CPython did for a function, without the instructions of the function itself."""

    def __init__(self, function: FunctionType) -> None:
        self.instructions: list[str] = []
        self.python_calls: list[str] = []
        self.c_calls: list[Any] = []
        names: dict[CodeType, dict[int, str]] = {}

        def trace(frame: FrameType, event: str, _argument: Any) -> Any:
            code = frame.f_code
            if code is function.__code__:
                return None
            frame.f_trace_lines = False
            frame.f_trace = trace  # first: 3.13 takes the next line into account only then
            frame.f_trace_opcodes = True
            if event == "call":
                self.python_calls.append(code.co_qualname)
                names.setdefault(code, {at.offset: at.opname for at in dis.get_instructions(code)})
            elif event == "opcode":
                self.instructions.append(names[code][frame.f_lasti])
            return trace

        def profile(frame: FrameType, event: str, argument: Any) -> None:
            if event == "c_call" and argument is not sys.setprofile:
                self.c_calls.append(argument)

        tracing, profiling = sys.gettrace(), sys.getprofile()
        collecting = gc.isenabled()
        gc.disable()  # what a trace function allocates is not the hit's
        sys._getframe().f_trace_opcodes = True  # 3.12: `settrace` asks for them only if some frame does already
        try:
            sys.settrace(trace)
            function()
            sys.settrace(tracing)
            sys.setprofile(profile)
            function()
        finally:
            sys.setprofile(profiling)
            sys.settrace(tracing)
            if collecting:
                gc.enable()


class Untouchable:
    """A lock that nobody may take."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the hit path reached for a lock ({name})")

    def __enter__(self) -> None:
        raise AssertionError("the hit path took a lock")

    def __exit__(self, *error: object) -> None: ...


def never(event: Event) -> None:
    raise AssertionError(f"a memory hit made an event: {event}")


@pytest.fixture(params=[None, never], ids=["", "with a hook"])
def hit(request: pytest.FixtureRequest) -> Iterator[FunctionType]:
    """`s3warm.get` of an object that lies fresh in memory, judged by the real clock; with and without an `on_event` hook."""
    with fake_s3(OBJECT, disk_budget=0, on_event=request.param):
        cache = s3warm.default_cache()
        entry = an_entry(b"{}", bucket=BUCKET, key=KEY, validated_at=time.time(), expires_at=time.time() + 3600)
        cache._memory.put(entry)
        cache._clock = front._clock = time.time

        def get() -> bytes:
            return s3warm.get(BUCKET, KEY)

        assert get() is entry.body
        assert isinstance(get, FunctionType)
        yield get


def test_a_memory_hit_executes_no_more_instructions_than_it_did(hit: FunctionType) -> None:
    run = Run(hit)
    bound = INSTRUCTIONS.get(sys.version_info[:2], LONGEST)
    assert 0 < len(run.instructions) <= bound, run.instructions


def test_a_memory_hit_is_one_call_and_that_calls_the_clock_alone(hit: FunctionType) -> None:
    run = Run(hit)
    assert run.python_calls == ["Front.get"]
    assert run.c_calls == [time.time]


def test_a_memory_hit_takes_no_lock(hit: FunctionType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not LOCKING.intersection(Run(hit).instructions)
    cache: Any = s3warm.default_cache()
    monkeypatch.setattr(cache._memory, "_lock", Untouchable())
    monkeypatch.setattr(cache._flights, "_lock", Untouchable())
    monkeypatch.setattr("s3warm.default._lock", Untouchable())
    hit()
    with pytest.raises(AssertionError, match="took a lock"):
        s3warm.stats()


def test_memory_hits_leave_nothing_behind(hit: FunctionType) -> None:
    for _ in repeat(None, 1_000):
        hit()

    def growth() -> tuple[int, int]:
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in repeat(None, 10_000):
            hit()
        after = sys.getallocatedblocks()
        gc.collect()
        return after - before, sys.getallocatedblocks() - before

    # A thread that another test has left may allocate meanwhile, once; what hits leave behind they leave each time.
    assert min(max(growth()) for _ in range(5)) < 10


def test_a_memory_hit_allocates_no_more_than_its_counter_and_the_time(hit: FunctionType) -> None:
    hit()
    tracemalloc.start()
    try:
        hit()
        turns = repeat(None, 1_000)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        for _ in turns:
            hit()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before <= 2 * sys.getsizeof(2**30) + sys.getsizeof(0.5), "the old count, the new one, the time"


@pytest.mark.parametrize(
    ("body", "number"), [(b"{}", 1), (text(50_000), 1), (noise(200_000), 0)], ids=["tiny", "inline", "file"]
)
def test_a_disk_hit_is_one_statement_or_none_for_a_file_that_was_just_read(
    body: bytes, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3warm.tiers.recent.TRUSTED", 3600.0)
    with fake_s3({"s3://bucket/key": body}, memory_budget=0):
        s3warm.get("bucket", "key")
        assert s3warm.get("bucket", "key") == body
        cache: Any = s3warm.default_cache()
        store = cache._disk._store
        statements: list[str] = []
        for connection in (store._reader, store._writer):
            connection.set_trace_callback(statements.append)
        before = s3warm.stats()
        statements.clear()
        assert s3warm.get("bucket", "key") == body
        found = list(statements)
        assert (s3warm.stats() - before).disk_hits == 1
    assert len(found) == number, found
    assert all(statement.startswith("SELECT") for statement in found)


AUDITED = """
import json, sys
import s3warm
from s3warm.testing import fake_s3
from tests.support.entries import noise, text

bodies = {"tiny": b"{}", "inline": text(50_000), "file": noise(200_000)}
events = []
watching = False
sys.addaudithook(lambda event, arguments: events.append(event) if watching else None)

def watched(name):
    global watching
    events.clear()
    watching = True
    s3warm.get("bucket", name)
    watching = False
    return list(events)

seen = {}
for tier, budget in (("memory", "8MiB"), ("disk", 0)):
    with fake_s3({f"s3://bucket/{name}": body for name, body in bodies.items()}, memory_budget=budget):
        for name in bodies:
            s3warm.get("bucket", name)
            s3warm.get("bucket", name)
            seen[f"{tier} {name}"] = watched(name)
        stats = s3warm.stats()
        assert (stats.memory_hits or stats.disk_hits) == 6, stats
print(json.dumps(seen))
"""


def test_only_a_body_in_a_file_opens_one() -> None:
    """Every audit event of a hit, and so every file, import and socket. In a process of its own, as audit hooks stay."""
    printed = subprocess.run([sys.executable, "-c", AUDITED], check=True, capture_output=True, text=True, timeout=60).stdout
    assert json.loads(printed) == {
        "memory tiny": [],
        "memory inline": [],
        "memory file": [],
        "disk tiny": [],
        "disk inline": [],
        "disk file": ["open"],
    }
