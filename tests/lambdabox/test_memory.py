"""A function that works on many objects, in boxes of all sizes: it is never killed for memory, and its cache is worth having."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.bench.report import Table
from tests.lambdabox import figures, replay
from tests.lambdabox.box import LambdaBox
from tests.lambdabox.errors import BoxCrashed
from tests.lambdabox.generated import GeneratedOrigin
from tests.lambdabox.objects import MIB, body_of, stored_size
from tests.lambdabox.workload import Step, steps

HANDLER = Path(__file__).parent / "handlers" / "random_work.py"
SOAK = os.environ.get("SOAK") == "1"
INVOCATIONS = 3_000 if SOAK else 300
GETS = 4  # of one invocation
SIZES = (128, 256, 512, 1024)
WORTH = 0.9  # of the hits of the policy alone
WORTH_IN_MEMORY = (
    0.8  # the cache learns what this disk and this origin cost, where the replay counts with those that it begins with
)

pytestmark = [pytest.mark.usefixtures("boxes"), pytest.mark.timeout(1800 if SOAK else 120)]


@pytest.fixture(scope="module")
def measured() -> Iterator[dict[str, dict[str, Any]]]:
    """Figures by size of the function; kept when all are there."""
    rows: dict[str, dict[str, Any]] = {}
    yield rows
    figures.save("lambda_memory", rows)


@pytest.mark.parametrize("memory_mb", SIZES)
def test_random_work_is_not_killed_and_hits(
    memory_mb: int, generated: GeneratedOrigin, measured: dict[str, dict[str, Any]]
) -> None:
    asked = steps(memory_mb, INVOCATIONS * GETS, seed=1)
    begin = time.monotonic()
    with _box(generated, memory_mb) as box:
        answers = _run(box, asked)
        assert box.oom_kills() == 0
    seconds = time.monotonic() - begin
    refused = [tuple(told) for answer in answers for told in answer["too_large"]]
    last = answers[-1]
    policy = _replayed(asked, [key for key, *_ in refused], last)
    row = _row(last, policy, len(refused), seconds)
    measured[str(memory_mb)] = row
    print(_table({str(memory_mb): row}))
    assert len({answer["pid"] for answer in answers}) == 1
    assert [key for answer in answers for key in answer["wrong"]] == []
    assert [error for answer in answers for error in answer["errors"]] == []
    assert last["stats"]["disk_errors"] == 0, "what /tmp refused"
    assert [told for told in refused if _size(told[0]) <= told[1] / 2] == []
    assert row["hit_ratio"] >= WORTH * policy.hit_ratio
    if memory_mb > 128:  # there the handler needs for itself what the budget would allow
        assert row["memory_hits"] >= WORTH_IN_MEMORY * policy.memory_hits


@pytest.mark.parametrize("memory_mb", [128, 512])
def test_the_same_work_with_a_dict_is_killed(memory_mb: int, generated: GeneratedOrigin) -> None:
    with _box(generated, memory_mb) as box:
        with pytest.raises(BoxCrashed, match="signal 9"):
            _run(box, steps(memory_mb, INVOCATIONS * GETS, seed=1), cache="dict")
        assert box.oom_kills() > 0


def _box(generated: GeneratedOrigin, memory_mb: int) -> LambdaBox:
    environ = {"AWS_ENDPOINT_URL": generated.endpoint, "BODIES": generated.folder, "S3WARM_TTL": "86400"}
    return LambdaBox(HANDLER, memory_mb, environ=environ)


def _run(box: LambdaBox, asked: Sequence[Step], cache: str = "s3warm") -> list[dict[str, Any]]:
    """The answers; the crash, if there is one, says what went before it."""
    answers: list[dict[str, Any]] = []
    for at in range(0, len(asked), GETS):
        try:
            answers.append(box.invoke({"steps": asked[at : at + GETS], "cache": cache}))
        except BoxCrashed as crash:
            before = answers[-1] if answers else {}
            held = {name: f"{before.get(name, 0) / MIB:.1f} MiB" for name in ("anonymous", "peak")}
            cached = f"{before.get('stats', {}).get('memory_bytes', 0) / MIB:.1f} MiB"
            work = [f"{step.work / MIB:.1f} MiB" for step in asked[max(0, at - 1) : at + GETS]]
            crash.add_note(f"at step {at}; before it {held}, of it cached {cached}; work from the step before on: {work}")
            raise
    return answers


def _replayed(asked: Sequence[Step], refused: Sequence[str], told: dict[str, Any]) -> replay.Outcome:
    """The policy's outcome for what was not refused, however often it was."""
    left = list(refused)
    served = [key for key, _ in asked if key not in left or left.remove(key)]  # type: ignore[func-returns-value]
    return replay.replay(
        [replay.Asked(key, _size(key), stored_size(key)) for key in served],
        memory_budget=told["memory_budget"],
        largest=told["largest_in_memory"],
        disk_budget=told["disk_budget"],
    )


def _size(key: str) -> int:
    body = body_of(key)
    assert body is not None
    return body.size


def _row(told: dict[str, Any], policy: replay.Outcome, refused: int, seconds: float) -> dict[str, Any]:
    stats = told["stats"]
    hits = stats["memory_hits"] + stats["disk_hits"]
    gets = INVOCATIONS * GETS
    return {
        "gets": gets,
        "memory_hits": stats["memory_hits"],
        "disk_hits": stats["disk_hits"],
        "misses": stats["misses"],
        "too_large": refused,
        "hit_ratio": hits / max(1, gets - refused),
        "replayed_hit_ratio": policy.hit_ratio,
        "replayed_memory_hits": policy.memory_hits,
        "peak_anonymous": told["peak"],
        "tmp_used": told["tmp_used"],
        "memory_budget": told["memory_budget"],
        "disk_budget": told["disk_budget"],
        "seconds": round(seconds, 1),
    }


def _table(rows: dict[str, dict[str, Any]]) -> Table:
    heads = (
        "MB",
        "gets",
        "memory",
        "replayed",
        "disk",
        "S3",
        "too large",
        "hit ratio",
        "replayed",
        "peak MiB",
        "/tmp MiB",
        "s",
    )
    cells = [
        (
            memory_mb,
            *(f"{row[name]:,}" for name in ("gets", "memory_hits", "replayed_memory_hits", "disk_hits", "misses", "too_large")),
            *(f"{row[name]:.3f}" for name in ("hit_ratio", "replayed_hit_ratio")),
            *(f"{row[name] / MIB:.1f}" for name in ("peak_anonymous", "tmp_used")),
            f"{row['seconds']}",
        )
        for memory_mb, row in rows.items()
    ]
    return Table("Random work", heads, cells)
