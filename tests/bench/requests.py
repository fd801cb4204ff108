"""A request through the whole of s3warm, with its own client and with what it writes, beside boto3: a 304, and a miss of 1 KiB.

Both ask the same `StaticOrigin`, which is a process of its own, over the loopback, in the clear, signed with the same credentials.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.bodies import KIB, json_like
from tests.bench.lean_place import BUCKET, like_lambda
from tests.bench.report import Line, Report, Table, number
from tests.bench.spent import median, take_turns
from tests.support.static_origin import StaticOrigin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from s3warm import Cache
    from tests.bench.spent import Prepare, Spent

__all__ = ["run"]

ROUNDS, TIMES = 9, 200
HELD = "held.json"
NEVER_FRESH = 1e-6  # seconds: over before the answer is there

BOTO3 = "boto3"
EXPIRED = "s3warm, expired"
NOW = "s3warm, ttl=0"
OURS = "s3warm"
NO_DISK = ", disk_budget=0"
LEAN = "s3warm's lean origin alone"
SHARE, TIMES_AS_MANY = 20.0, 4.0


def run(directory: str) -> Report:
    """Measure both, and show what one costs and how many there are in a second."""
    with StaticOrigin() as origin, like_lambda(origin.endpoint), contextlib.ExitStack() as stack:
        etag = _put(origin, Path(directory))
        caches = {
            name: stack.enter_context(made)
            for name, made in {
                EXPIRED: _cache(directory, "expired", ttl=NEVER_FRESH),
                EXPIRED + NO_DISK: _cache(directory, "", ttl=NEVER_FRESH, disk_budget=0),
                NOW: _cache(directory, "now"),
                NOW + NO_DISK: _cache(directory, "", disk_budget=0),
                OURS: _cache(directory, "cold"),
                OURS + NO_DISK: _cache(directory, "", disk_budget=0),
            }.items()
        }
        confirmed = take_turns(_confirmations(caches, etag), rounds=ROUNDS, times=TIMES)
        fetched = take_turns(_misses(caches), rounds=ROUNDS, times=TIMES)
        _check(caches, etag)
    costs, rates = _medians(confirmed), _medians(fetched)
    base = costs[BOTO3].cpu
    tables = [
        Table(
            f"A conditional GET, answered 304, through the whole of s3warm (medians of {ROUNDS} rounds of {TIMES})",
            ("", "wall µs", "CPU µs", "% of boto3's CPU"),
            [(name, *_microseconds(cost), number(cost.cpu / base * 100)) for name, cost in costs.items()],
        ),
        Table(
            f"Misses of 1 KiB, each another key, one after the other (medians of {ROUNDS} rounds of {TIMES})",
            ("", "wall µs", "CPU µs", "a second", "× boto3"),
            [
                (name, *_microseconds(cost), number(1e9 / cost.wall), number(rates[BOTO3].wall / cost.wall))
                for name, cost in rates.items()
            ],
        ),
    ]
    lines = [
        *(
            Line(f"CPU of a 304 through {name}, of boto3's", costs[name].cpu / base * 100, "at most", SHARE, "%")
            for name in (EXPIRED, EXPIRED + NO_DISK)
        ),
        *(
            Line(
                f"misses of 1 KiB a second, {name}, beside boto3",
                rates[BOTO3].wall / rates[name].wall,
                "at least",
                TIMES_AS_MANY,
                "×",
            )
            for name in (OURS, OURS + NO_DISK)
        ),
    ]
    return Report(tables, {"304": _json(confirmed), "miss": _json(fetched)}, lines)


def _put(origin: StaticOrigin, directory: Path) -> str:
    """One object that is held, and one for each miss, all with the same body; the ETag."""
    body = directory / "body"
    body.write_bytes(json_like(KIB))
    etag = origin.put(BUCKET, HELD, body)
    for turn in range(ROUNDS + 1):
        for key in _keys(turn):
            origin.put(BUCKET, key, body, etag=etag)
    return etag


def _keys(turn: int) -> list[str]:
    return [f"records/{turn}/{each}.json" for each in range(TIMES)]


def _cache(directory: str, name: str, **options: Any) -> Cache:
    from s3warm import Cache

    return Cache(origin="lean", directory=os.path.join(directory, name) if name else None, **options)


def _confirmations(caches: Mapping[str, Cache], etag: str) -> dict[str, Prepare]:
    """The ways to ask whether what is held is still right."""
    conditional, lean = _boto3(), _lean()
    ways: dict[str, Callable[[], object]] = {BOTO3: lambda: conditional(HELD, IfNoneMatch=etag)}
    for name in (EXPIRED, EXPIRED + NO_DISK):
        ways[name] = _getting(caches[name].get, BUCKET, HELD)
    for name in (NOW, NOW + NO_DISK):
        ways[name] = _getting(caches[name].get, BUCKET, HELD, ttl=0)
    ways[LEAN] = lambda: lean(HELD, etag)
    return {name: _repeated(way) for name, way in ways.items()}


def _misses(caches: Mapping[str, Cache]) -> dict[str, Prepare]:
    """The ways to get what is not there."""
    from_boto3, lean = _boto3(), _lean()
    ways: dict[str, Callable[[str], object]] = {
        BOTO3: from_boto3,
        OURS: lambda key: caches[OURS].get(BUCKET, key),
        OURS + NO_DISK: lambda key: caches[OURS + NO_DISK].get(BUCKET, key),
        LEAN: lambda key: lean(key, None),
    }
    return {name: _each_key(way) for name, way in ways.items()}


def _getting(get: Callable[..., object], *arguments: object, **options: object) -> Callable[[], object]:
    return lambda: get(*arguments, **options)


def _repeated(way: Callable[[], object]) -> Prepare:
    def work() -> None:
        for _ in range(TIMES):
            way()

    return lambda _turn: work


def _each_key(way: Callable[[str], object]) -> Prepare:
    def prepare(turn: int) -> Callable[[], object]:
        keys = _keys(turn)

        def work() -> None:
            for key in keys:
                way(key)

        return work

    return prepare


def _boto3() -> Callable[..., bytes]:
    """`get_object().read()` as it is written without s3warm; empty where boto3 raises: for a 304."""
    import boto3
    from botocore.exceptions import ClientError

    client: Any = boto3.session.Session().client("s3")

    def get(key: str, **options: Any) -> bytes:
        try:
            body: bytes = client.get_object(Bucket=BUCKET, Key=key, **options)["Body"].read()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 304:
                raise
            return b""
        return body

    return get


def _lean() -> Callable[[str, str | None], bytes]:
    """The small client with nothing around it."""
    from s3warm.keys import ObjectKey
    from s3warm.origin.base import Request
    from s3warm.origin.lean import LeanRequests

    requests = LeanRequests()

    def get(key: str, etag: str | None) -> bytes:
        answer = requests.get(Request(ObjectKey(BUCKET, key), etag))
        body = b"" if answer.status == 304 else answer.read(KIB)
        answer.close()
        return body

    return get


def _check(caches: Mapping[str, Cache], etag: str) -> None:
    """Each did what it was measured for: every call asked, nothing was answered from what is fresh, and what should be on disk is."""
    turns = (ROUNDS + 1) * TIMES
    for name in (EXPIRED, EXPIRED + NO_DISK, NOW, NOW + NO_DISK):
        stats = caches[name].stats()
        assert (stats.misses, stats.revalidated) == (1, turns - 1), f"{name}: {stats}"
    for name in (OURS, OURS + NO_DISK):
        assert caches[name].stats().misses == turns, name
        held = caches[name].explain(BUCKET, _keys(ROUNDS)[-1]).tiers
        assert held == (("memory",) if name.endswith(NO_DISK) else ("memory", "disk")), held
    assert _boto3()(HELD, IfNoneMatch=etag) == b""


def _medians(samples: Mapping[str, Sequence[Spent]]) -> dict[str, Spent]:
    return {name: median(found) for name, found in samples.items()}


def _microseconds(cost: Spent) -> Iterator[str]:
    return (number(ns / 1e3) for ns in cost)


def _json(samples: Mapping[str, Sequence[Spent]]) -> dict[str, Any]:
    return {
        name: {
            **{f"{clock}_ns": ns for clock, ns in median(found)._asdict().items()},
            "samples_ns": [list(one) for one in found],
        }
        for name, found in samples.items()
    }
