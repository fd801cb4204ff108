"""Lambda Managed Instances: AWS's runtime client forks a process for each request that may run at once, and then imports the handler.

All of them have one memory limit and one /tmp.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.lambdabox.available import why_not
from tests.lambdabox.box import LambdaBox
from tests.lambdabox.gate import Gate
from tests.support.entries import noise
from tests.support.static_origin import StaticOrigin

ACCOUNT = Path(__file__).parent / "handlers" / "account.py"
CONCURRENCY = 4
MEMORY_MB = 1024
MIB = 2**20
KEYS = [f"key-{number}" for number in range(CONCURRENCY)]
BODIES = {"same": noise(24 * MIB), "only-get": noise(24 * MIB, seed=5), "only-as_file": noise(24 * MIB, seed=6)} | {
    key: noise(3 * MIB + number, seed=number) for number, key in enumerate(KEYS)
}


@pytest.fixture(scope="module")
def origin() -> Iterator[StaticOrigin]:
    with StaticOrigin() as made:
        for key, body in BODIES.items():
            made.put("bucket", key, body)
        yield made


@pytest.fixture(scope="module")
def box(origin: StaticOrigin) -> Iterator[LambdaBox]:
    missing = why_not()
    if missing is not None:
        pytest.skip(f"no LambdaBox here: {missing}")
    environ = {
        "AWS_ENDPOINT_URL_S3": origin.endpoint,
        "AWS_LAMBDA_MAX_CONCURRENCY": str(CONCURRENCY),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances",
    }
    with LambdaBox(ACCOUNT, MEMORY_MB, environ=environ) as made:
        yield made
        assert made.oom_kills() == 0


def all_at_once(box: LambdaBox, keys: list[str], **event: Any) -> list[dict[str, Any]]:
    """As many invocations as may run at once, none of which begins before all are there."""
    assert len(keys) == CONCURRENCY
    with Gate() as gate, ThreadPoolExecutor(CONCURRENCY) as pool:
        answers = [pool.submit(box.invoke, {"bucket": "bucket", "key": key, "gate": gate.port, **event}) for key in keys]
        gate.open(CONCURRENCY)
        found = [answer.result() for answer in answers]
    assert len({answer["pid"] for answer in found}) == CONCURRENCY
    assert [answer["sum"] for answer in found] == [hashlib.sha256(BODIES[key]).hexdigest() for key in keys]
    for answer in found:
        stats = answer["stats"]
        assert (stats["errors"], stats["disk_errors"], stats["corrupt"], stats["stale_served"]) == (0, 0, 0, 0)
    return found


def test_each_process_has_its_share_of_the_memory(box: LambdaBox) -> None:
    answers = all_at_once(box, KEYS)
    assert {answer["memory_budget"] for answer in answers} == {MEMORY_MB * MIB // 4 // CONCURRENCY}
    assert {answer["directory"] for answer in answers} == {"/tmp/s3warm"}
    assert box.oom_kills() == 0


def test_what_one_has_brought_all_find(box: LambdaBox, origin: StaticOrigin) -> None:
    all_at_once(box, KEYS)
    origin.forget()
    all_at_once(box, KEYS[1:] + KEYS[:1])
    all_at_once(box, [KEYS[0]] * CONCURRENCY)
    assert origin.requests() == []


@pytest.mark.parametrize("way", ["get", "as_file"])
def test_all_want_the_same_at_once(box: LambdaBox, origin: StaticOrigin, way: str) -> None:
    origin.put("bucket", "same", BODIES["same"])
    all_at_once(box, ["same"] * CONCURRENCY, way=way, ttl=0)
    origin.forget()
    all_at_once(box, ["same"] * CONCURRENCY, way=way)
    assert origin.requests() == []
    assert box.oom_kills() == 0


@pytest.mark.parametrize("way", ["get", "as_file"])
def test_one_download_for_all(box: LambdaBox, origin: StaticOrigin, way: str) -> None:
    origin.forget()
    origin.pace(latency=0.5, rate=None)
    try:
        all_at_once(box, [f"only-{way}"] * CONCURRENCY, way=way)
    finally:
        origin.pace(latency=0, rate=None)
    assert [served.range for served in origin.requests()].count("") == 1
