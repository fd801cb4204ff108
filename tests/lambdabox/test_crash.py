"""After a crash of the runtime /tmp is as good as it was: what was there is there, whole, and S3 is asked for no more than is due."""

from __future__ import annotations

import concurrent.futures
import os
import random
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench.report import Table
from tests.lambdabox import figures
from tests.lambdabox.box import LambdaBox
from tests.lambdabox.errors import BoxCrashed
from tests.lambdabox.generated import GeneratedOrigin
from tests.lambdabox.objects import LARGEST, key_of

HANDLERS = Path(__file__).parent / "handlers"
SOAK = os.environ.get("SOAK") == "1"
CRASHES = 120 if SOAK else 12
WARM = 1_000
DUE = 300  # of them are asked for when they have expired
TTL = 300.0
RUNS = 5

pytestmark = [pytest.mark.usefixtures("boxes"), pytest.mark.timeout(1800 if SOAK else 120)]


@pytest.fixture
def origin(generated: GeneratedOrigin) -> GeneratedOrigin:
    generated.forget()
    return generated


@pytest.fixture
def box(origin: GeneratedOrigin) -> Iterator[LambdaBox]:
    environ = {"AWS_ENDPOINT_URL": origin.endpoint, "BODIES": origin.folder, "S3WARM_TTL": str(TTL)}
    with LambdaBox(HANDLERS / "crash.py", 512, environ=environ) as made:
        yield made


def test_a_crash_costs_no_request_for_what_is_fresh_and_one_for_what_is_not(origin: GeneratedOrigin, box: LambdaBox) -> None:
    draws = random.Random(1)
    keys = [key_of(number, draws.randrange(20_000), text=number % 2 == 0) for number in range(WARM)]
    assert box.invoke({"keys": keys})["wrong"] == []
    assert origin.counts() == {"whole": WARM}
    origin.forget()

    box.crash()
    fresh = box.invoke({"keys": keys})
    assert (fresh["wrong"], fresh["disk_hits"], fresh["corrupt"]) == ([], WARM, 0)
    assert origin.counts() == {}

    box.crash()
    due = draws.sample(keys, DUE)
    expired = box.invoke({"keys": due, "ahead": TTL})
    assert (expired["wrong"], expired["revalidated"], expired["corrupt"]) == ([], DUE, 0)
    assert origin.counts() == {"304": DUE}
    assert sorted(served.key for served in origin.requests()) == sorted(due)
    origin.forget()

    box.crash()
    again = box.invoke({"keys": due, "ahead": TTL})
    assert (again["wrong"], again["disk_hits"]) == ([], DUE)
    assert origin.counts() == {}  # that they were confirmed has outlived the crash
    assert box.oom_kills() == 0


def test_a_crash_in_the_middle_of_downloads_tears_nothing(box: LambdaBox) -> None:
    draws = random.Random(2)
    keys = [key_of(number, _some_size(draws), text=number % 2 == 0) for number in range(40)]
    interrupted = 0
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for _ in range(CRASHES):
            assert box.invoke({"keys": []})["wrong"] == []  # the runtime is there
            answer = pool.submit(box.invoke, {"keys": draws.sample(keys, 20)})
            concurrent.futures.wait([answer], timeout=draws.uniform(0.05, 0.6))
            box.crash()
            try:
                assert answer.result()["wrong"] == []
            except BoxCrashed:
                interrupted += 1
    assert interrupted > CRASHES // 2, "most crashes came too late"
    whole = box.invoke({"keys": keys}, timeout=60)
    assert (whole["wrong"], whole["corrupt"], whole["disk_errors"]) == ([], 0, 0)
    box.crash()
    again = box.invoke({"keys": keys}, timeout=60)
    assert (again["wrong"], again["corrupt"], again["disk_errors"]) == ([], 0, 0)
    assert again["disk_hits"] > 0
    assert box.oom_kills() == 0


def test_how_soon_the_first_answer_is_there(box: LambdaBox) -> None:
    """From the start of the process to the first body, beside a handler with nothing but diskcache. Printed, and held to nothing."""
    key = key_of(0, 10_000, text=False)
    ours, plain = [], []
    with LambdaBox(HANDLERS / "plain_diskcache.py", 512) as other:
        assert box.invoke({"keys": [key]})["misses"] == 1
        other.invoke({"fill": 10_000})
        for _ in range(RUNS):
            ours.append(_first_answer(box, {"keys": [key]}))
            plain.append(_first_answer(other, {}))
    told = {"s3warm": statistics.median(ours), "diskcache": statistics.median(plain)}
    ratio = told["s3warm"] / told["diskcache"]
    rows = [(name, f"{seconds * 1000:.0f}") for name, seconds in told.items()]
    print(Table(f"First answer after a crash, {ratio:.2f} times", ("", "ms"), rows))
    figures.save("lambda_crash", {"seconds": told, "ratio": ratio, "runs": {"s3warm": ours, "diskcache": plain}})


def _first_answer(box: LambdaBox, event: dict[str, Any]) -> float:
    """Seconds from the start of a new runtime's process to its first body."""
    box.crash()
    first: float = box.invoke(event)["first"]
    assert box._runtime is not None
    return first - box._runtime._started


def _some_size(draws: random.Random) -> int:
    """From 1 KiB to 64 MiB; as many small ones as large ones."""
    return min(LARGEST, int(1024 * (LARGEST / 1024) ** draws.random()))
