"""Objects at the limits, and functions that have little left for the cache."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.lambdabox.box import LambdaBox
from tests.lambdabox.errors import HandlerError
from tests.lambdabox.generated import GeneratedOrigin
from tests.lambdabox.objects import MIB, key_of

HANDLER = Path(__file__).parent / "handlers" / "edges.py"
TINY_HANDLER = HANDLER.with_name("tiny.py")
SOAK = os.environ.get("SOAK") == "1"
TINY = 200_000 if SOAK else 20_000
BATCH = 1_000

pytestmark = [pytest.mark.usefixtures("boxes"), pytest.mark.timeout(1800 if SOAK else 120)]


@pytest.fixture(scope="module")
def roomy(generated: GeneratedOrigin) -> Iterator[LambdaBox]:
    """A box with room for the limits that are set."""
    with _box(generated, 512) as made:
        yield made
        assert made.oom_kills() == 0


@pytest.fixture(scope="module")
def huge(generated: GeneratedOrigin, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The key, in `bucket`, of an object of 256 MiB."""
    path = tmp_path_factory.mktemp("huge") / "huge"
    with path.open("wb") as file:
        file.truncate(256 * MIB)
    generated.put("bucket", "huge", path, etag="0-2")
    return "huge"


def _box(
    generated: GeneratedOrigin,
    memory_mb: int,
    tmp_mb: int = 512,
    handler: Path = HANDLER,
    environ: Mapping[str, str] | None = None,
) -> LambdaBox:
    return LambdaBox(
        handler, memory_mb, tmp_mb, {"AWS_ENDPOINT_URL": generated.endpoint, "BODIES": generated.folder, **(environ or {})}
    )


def _one(box: LambdaBox, size: int, **options: Any) -> dict[str, Any]:
    answer: dict[str, Any] = box.invoke({"action": "one", "size": size, "options": options})
    assert answer["right"] == [True, True]
    assert answer["disk_errors"] == 0
    return answer


def test_the_largest_object_that_memory_admits(roomy: LambdaBox) -> None:
    limits = {"memory_budget": 8 * MIB, "max_memory_object": MIB + 1}
    at = _one(roomy, MIB + 1, **limits)
    assert (at["tiers"], at["memory_hits"]) == (["memory", "disk"], 1)
    over = _one(roomy, MIB + 2, **limits)
    assert (over["tiers"], over["disk_hits"]) == (["disk"], 1)


def test_an_object_that_fills_the_memory_budget(roomy: LambdaBox) -> None:
    size = 2 * MIB - 49  # one byte more, and malloc takes another page for it
    held = _one(roomy, size, memory_budget="64MiB")["memory_bytes"]
    assert _one(roomy, size + 1, memory_budget="64MiB")["memory_bytes"] > held
    budget = {"memory_budget": held, "max_memory_object": "100%"}
    at = _one(roomy, size, **budget)
    assert (at["tiers"], at["memory_bytes"], at["memory_budget"]) == (["memory", "disk"], held, held)
    over = _one(roomy, size + 1, **budget)
    assert (over["tiers"], over["disk_hits"], over["memory_entries"]) == (["disk"], 1, 0)


def test_an_object_that_fills_the_disk_budget(roomy: LambdaBox) -> None:
    budget = 8 * MIB
    largest = roomy.invoke({"action": "largest_on_disk", "budget": budget})
    assert budget - 768 * 1024 < largest < budget  # SQLite's own files are in it
    at = _one(roomy, largest, memory_budget=0, disk_budget=budget)
    assert (at["tiers"], at["disk_hits"]) == (["disk"], 1)
    over = _one(roomy, largest + 1, memory_budget=0, disk_budget=budget)
    assert (over["tiers"], over["misses"]) == ([], 2)
    assert max(at["disk_bytes"], over["disk_bytes"]) <= budget


@pytest.mark.parametrize("text", [False, True], ids=["noise", "text"])
def test_the_largest_body_that_get_accepts_now(generated: GeneratedOrigin, huge: str, *, text: bool) -> None:
    """What is free moves by some pages from call to call, so that the limit is known within a MiB."""
    with _box(generated, 128) as box:
        box.invoke({"action": "hold", "size": 36 * MIB})
        assert box.invoke({"action": "get", "keys": [key_of(0, 1000, text=True)]})["wrong"] == []
        left = _left(box.invoke({"action": "try", "bucket": "bucket", "key": huge}))
        assert 8 * MIB < left < 63 * MIB
        over = key_of(1, left + MIB, text=text)
        assert _left(box.invoke({"action": "try", "key": over})) < left + MIB
        at = key_of(2, left - MIB, text=text)
        for _ in range(3):  # from S3, and then from /tmp or memory
            assert box.invoke({"action": "try", "key": at}) == {"right": True}
        assert box.oom_kills() == 0


def test_many_tiny_objects(generated: GeneratedOrigin) -> None:
    draws = random.Random(3)
    keys = [key_of(number, 20, text=False) for number in range(TINY)]
    with _box(generated, 128, handler=TINY_HANDLER) as box:
        told = [box.invoke({"keys": keys[at : at + BATCH]}, timeout=60) for at in range(0, TINY, BATCH)]
        told.append(box.invoke({"keys": draws.choices(keys, k=BATCH)}, timeout=60))
        assert box.oom_kills() == 0
    assert [key for answer in told for key in answer["wrong"]] == []
    assert len({answer["pid"] for answer in told}) == 1
    last = told[-1]
    assert last["memory_bytes"] <= last["memory_budget"]
    assert last["disk_bytes"] <= last["disk_budget"]
    assert last["disk_errors"] == 0
    print(
        f"{TINY:,} objects of 20 bytes, 128 MB: {last['memory_entries']:,} in {last['memory_bytes'] / MIB:.1f} MiB of memory,"
    )
    print(f"{last['disk_bytes'] / MIB:.1f} MiB of /tmp, {last['evictions']:,} evictions")


def test_a_body_of_twice_the_memory_is_refused(generated: GeneratedOrigin, huge: str) -> None:
    with _box(generated, 128) as box:
        with pytest.raises(HandlerError) as caught:
            box.invoke({"action": "size", "bucket": "bucket", "key": huge})
        assert caught.value.error_type == "ObjectTooLargeError"
        assert "s3://bucket/huge has 268,435,456 bytes (256.0 MiB), the function has " in caught.value.error_message
        assert "use path() for a file or open() for a stream" in caught.value.error_message
        assert box.invoke({"action": "get", "keys": [key_of(0, 100_000, text=True)]})["wrong"] == []
        assert box.oom_kills() == 0


def test_the_cache_gives_way_to_the_handler(generated: GeneratedOrigin) -> None:
    """176 MiB are cached when the handler takes 60 % of the memory for itself, which leaves some 150 MiB."""
    keys = [key_of(0, 100, text=False), *(key_of(number, 4 * MIB, text=False) for number in range(1, 45))]
    with _box(generated, 512, environ={"S3WARM_MEMORY_BUDGET": "190MiB"}) as box:
        told = box.invoke({"action": "crowd", "keys": keys, "size": 512 * MIB * 6 // 10})
        assert box.oom_kills() == 0
    before, after = told["before"] / MIB, told["after"] / MIB
    print(f"crowded: {before:.1f} MiB were cached, {after:.1f} MiB after {told['seconds']:.3f} s of hits")
    assert before > 170
    assert after < before
    assert told["misses"] == 0


def test_a_mapped_model_does_not_empty_the_cache(generated: GeneratedOrigin, tmp_path: Path) -> None:
    """Its pages are the kernel's, which drops them when memory is short."""
    model = tmp_path / "model"
    block = random.Random(4).randbytes(MIB)
    with model.open("wb") as file:
        for _ in range(300):
            file.write(block)
    generated.put("bucket", "model", model, etag="1-2")
    keys = [key_of(number, 4 * MIB, text=False) for number in range(25)]
    with _box(generated, 512, tmp_mb=2048) as box:
        told = box.invoke({"action": "map", "bucket": "bucket", "model": "model", "keys": keys}, timeout=60)
        assert box.oom_kills() == 0
    assert told["touched"] > 300 * MIB
    assert told["wrong"] == []
    assert told["before"] > 100 * MIB
    assert told["after"] == told["before"]
    assert told["memory_hits"] == 3 * len(keys)


def _left(answer: dict[str, Any]) -> int:
    """The bytes that a refusal says are left."""
    said = re.search(r"the function has ([\d,]+) ", answer.get("refused", ""))
    assert said is not None, answer
    return int(said[1].replace(",", ""))
