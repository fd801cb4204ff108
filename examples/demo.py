"""What s3warm is worth, measured: the handler of `examples/handler.py` with s3warm and with plain boto3 (`make demo`).

No cell of the table is written down beforehand: where an answer came from follows from `s3warm.stats()`, the requests are those that a
proxy in front of the S3 server counted, and every body is compared with what was put. `PROMISED` is what has to come out.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from examples.demo_bucket import CONFIG, MODEL, PRODUCTS, Bucket
from examples.demo_environment import DemoError, Environment, Invocation, World
from s3warm import Stats
from tests.support.proxy import Exchange, RecordingProxy
from tests.support.static_origin import StaticOrigin

DELAY = 0.020  # seconds, from the function to S3
RATE = 90e6  # bytes/s of one connection, as S3 has it
ROUNDS = 3  # of each row about the config; the times are medians
CALLS = 1_000
THREADS = 10  # as many as a boto3 client has connections
EXPIRY = 301.0  # seconds: more than the TTL
BACK_OFF = 61.0  # seconds: more than s3warm waits before it asks an S3 that was down
MIB = 2**20
MODEL_PARTS = 17  # of 4 MiB, by a request each

# Where the answer comes from, requests to S3, and whether plain boto3 fails.
PROMISED = {
    "new environment": ("S3", "1 GET", False),
    "again": ("memory", "0", False),
    "runtime crashed": ("/tmp", "0", False),
    "TTL over, unchanged": ("memory, 304", "1 GET, 0 bytes", False),
    "TTL over, changed": ("S3", "1 GET", False),
    "S3 down": ("stale", "0", True),
    "model, new environment": ("S3", f"{MODEL_PARTS} GET", False),
    "model, again": ("memory", "0", False),
    "model, runtime crashed": ("/tmp", "0", False),
}
ROW = "{:<24} {:<12} {:<8} {:<8} {}"

INTRODUCTION = f"""\
The handler of examples/handler.py, run with s3warm and with plain boto3. S3 is a server on this machine that is as far away and as fast as
the real one: {DELAY * 1000:.0f} ms, {RATE / 1e6:.0f} MB/s a connection. In it a config, {PRODUCTS:,} products, a model of 64 MiB. Times are those of one get, of
the config or, where it says so, of the model.
"new environment" and "runtime crashed" (by SIGKILL) are new processes; for the config, the imports count too. Requests are s3warm's.
"""


class Table:
    """What was measured, by row."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[Invocation, Invocation]]] = {label: [] for label in PROMISED}

    def add(self, label: str, warm: Invocation, plain: Invocation) -> None:
        """One more measurement of a row, which has to come out as promised."""
        source, requests, fails = PROMISED[label]
        if (warm.source, _told(warm.requests), warm.error) != (source, requests, None):
            raise DemoError(f"{label}: promised from {source}, requests {requests}; {_summary(warm)}")
        if bool(plain.error) != fails or _told(plain.requests) != (f"{plain.gets} GET" if plain.gets else "0"):
            raise DemoError(
                f"{label}: plain boto3 was to {'fail' if fails else 'send one GET for each get'}; {_summary(plain)}"
            )
        self._rows[label].append((warm, plain))

    def show(self) -> None:
        """Print the rows that are complete and have not been printed yet."""
        for label in [label for label, measured in self._rows.items() if measured]:
            measured = self._rows.pop(label)
            warm, plain = [made[0] for made in measured], [made[1] for made in measured]
            times = _duration(warm), "fails" if plain[0].error else _duration(plain)
            print(ROW.format(label, warm[0].source, *times, _told(warm[0].requests)), flush=True)

    def check_complete(self) -> None:
        """Every row has to have been printed."""
        if self._rows:
            raise DemoError(f"not measured: {', '.join(self._rows)}")


def start_and_crash(table: Table, world: World, directory: str, event: dict[str, Any], key: str) -> None:
    """A new environment, its second call, and its successor after a crash: by the time of the last get that the event leads to."""
    cold, prefix = not event, "model, " if event else ""
    with Environment(world, "s3warm", directory=directory) as warm, Environment(world, "boto3") as plain:
        if not cold:
            warm.invoke({})
            plain.invoke({})
        table.add(f"{prefix}new environment", warm.invoke(event, cold=cold), plain.invoke(event, cold=cold))
        table.add(
            f"{prefix}again", _again(warm, event, key, 10_000), _again(plain, event, key, 1) if cold else plain.invoke(event)
        )
        warm.crash()
        plain.crash()
    with Environment(world, "s3warm", directory=directory) as warm, Environment(world, "boto3") as plain:
        table.add(f"{prefix}runtime crashed", warm.invoke(event, cold=cold), plain.invoke(event, cold=cold))


def outlive_the_ttl(table: Table, world: World, directory: str) -> None:
    """The TTL passes (by a clock that is moved), while the object stays as it is, is changed, or cannot be asked for."""
    with ExitStack() as stack:
        warm = stack.enter_context(Environment(world, "s3warm", directory=directory, clock="movable"))
        plain = stack.enter_context(Environment(world, "boto3"))
        warm.invoke({})
        plain.invoke({})
        for _ in range(ROUNDS):
            warm.advance(EXPIRY)
            table.add("TTL over, unchanged", warm.invoke({}), plain.invoke({}))
        for _ in range(ROUNDS):
            warm.advance(EXPIRY)
            world.bucket.put_config(world.bucket.revision + 1)
            table.add("TTL over, changed", warm.invoke({}), plain.invoke({}))
        world.proxy.down = True
        plain = stack.enter_context(Environment(world, "boto3", AWS_MAX_ATTEMPTS="1"))
        warm.advance(EXPIRY)
        for _ in range(ROUNDS):
            warm.advance(BACK_OFF)
            table.add("S3 down", warm.invoke({}), plain.invoke({}))
        world.proxy.down = False


def many_calls(world: World, directory: str) -> str:
    """The same calls for all kinds of objects, each way in a new environment, and what they cost."""
    events = world.bucket.events(CALLS)
    with Environment(world, "s3warm", directory=directory) as warm:
        few, objects = _invoke_many(warm, events)
        warm.invoke({})  # nothing else is under way: its figures are final
        stats = warm.stats
    with Environment(world, "boto3") as plain:
        many, _ = _invoke_many(plain, events)
    if (few, many) != (objects + MODEL_PARTS - 1, CALLS):
        raise DemoError(f"{CALLS} calls for {objects} objects made {few} requests with s3warm, {many} with boto3")
    return f"{CALLS:,} calls: s3warm {few:,} requests, boto3 {many:,}; {_held(stats)}"


def main() -> None:
    """Measure everything and print it."""
    print(INTRODUCTION, flush=True)
    with (
        StaticOrigin(rate=RATE) as server,
        RecordingProxy(("127.0.0.1", int(server.endpoint.rpartition(":")[2])), delay=DELAY) as proxy,
        tempfile.TemporaryDirectory(prefix="s3warm-demo-") as folder,
    ):
        world, table = World(proxy, Bucket(server)), Table()
        directories = [str(Path(folder, str(number))) for number in range(ROUNDS + 2)]
        print(ROW.format("what happened", "from", "s3warm", "boto3", "S3 requests"), flush=True)
        for directory in directories[:ROUNDS]:
            start_and_crash(table, world, directory, {}, CONFIG)
        table.show()
        outlive_the_ttl(table, world, directories[0])
        table.show()
        start_and_crash(table, world, directories[ROUNDS], {"model": True}, MODEL)
        table.show()
        table.check_complete()
        print(many_calls(world, directories[ROUNDS + 1]))
    print("\nEvery body was compared with what was put. The handler to copy is examples/handler.py; read on in README.md.")


def _again(environment: Environment, event: dict[str, Any], key: str, number: int) -> Invocation:
    """One more invocation, with the time of a get taken from many."""
    invocation = environment.invoke(event)
    return invocation._replace(seconds=environment.measure(key, number))


def _invoke_many(environment: Environment, events: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """Requests sent, and objects asked for."""
    result, requests = environment.invoke_all(events, threads=THREADS)
    if result["error"] or len(result["calls"]) != CALLS or {exchange.method for exchange in requests} != {"GET"}:
        raise DemoError(f"{CALLS} calls: {len(result['calls'])} were made; {result['error'] or _told(requests)}")
    return len(requests), len({call["key"] for call in result["calls"]})


def _summary(invocation: Invocation) -> str:
    return f"it was from {invocation.source or 'S3'}, requests {_told(invocation.requests)}, error {invocation.error}"


def _told(requests: Sequence[Exchange]) -> str:
    if not requests:
        return "0"
    methods = ", ".join(f"{count} {method}" for method, count in Counter(exchange.method for exchange in requests).items())
    return methods if any(exchange.response_body_bytes for exchange in requests) else f"{methods}, 0 bytes"


def _duration(invocations: Sequence[Invocation]) -> str:
    seconds = median(invocation.seconds for invocation in invocations)
    unit, name = (1e-3, "ms") if seconds >= 1e-3 else (1e-6, "µs") if seconds >= 1e-6 else (1e-9, "ns")
    return f"{seconds / unit:.{0 if seconds >= 99.95 * unit else 1}f} {name}"


def _held(stats: Stats) -> str:
    memory = f"memory {stats.memory_bytes / MIB:.0f} of {stats.memory_budget / MIB:.0f} MiB"
    return f"{memory}, /tmp {stats.disk_bytes / MIB:.0f} of {stats.disk_budget / MIB:.0f} MiB"


if __name__ == "__main__":
    try:
        main()
    except DemoError as error:
        sys.exit(f"demo: {error}")
