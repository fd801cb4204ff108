"""What each case costs at the server: commands are counted, as each is a round trip. The README has the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from s3warm import ObjectNotFoundError, OriginUnavailableError
from tests.support.counted import CountedFleet
from tests.support.entries import noise, text

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = text(3000)


@pytest.fixture
def fleet() -> Iterator[CountedFleet]:
    fleet = CountedFleet({"s3://b/k": BODY, "s3://b/large": noise(2 * 2**20), "s3://b/out": b"x"}, ttl=60.0, disk_budget=0)
    yield fleet
    fleet.close()


def listening(fleet: CountedFleet, **options: Any) -> Any:
    """An environment that has looked at the log, and does not again within a second."""
    cache = fleet.cache(**options)
    cache.get("b", "out")
    fleet.counted.taken()
    fleet.statuses()
    return cache


def test_the_first_call_of_a_second_reads_the_log(fleet: CountedFleet) -> None:
    cache = fleet.cache()
    cache.get("b", "k")
    assert fleet.counted.taken() == ["XRANGE", "BEGIN", "FIND", "TAKE", "PUT", "END"]
    cache.get("b", "k")
    assert fleet.counted.taken() == []
    fleet.s3.advance(1)
    for _ in range(3):
        cache.get("b", "k")
    assert fleet.counted.taken() == ["XRANGE"]


def test_a_miss(fleet: CountedFleet) -> None:
    listening(fleet).get("b", "k")
    assert (fleet.counted.taken(), fleet.statuses()) == (["FIND", "TAKE", "PUT", "END"], [200])


def test_a_hit_in_memory_or_on_disk_asks_nobody(fleet: CountedFleet, tmp_path: Any) -> None:
    cache = listening(fleet, directory=str(tmp_path), disk_budget=None)
    cache.get("b", "k")
    fleet.counted.taken()
    cache.get("b", "k")
    cache._memory.clear()
    cache.get("b", "k")
    cache.path("b", "k")
    assert fleet.counted.taken() == []
    assert cache.stats().disk_hits == 2


@pytest.mark.parametrize("how", ["get", "path", "value"])
def test_a_shared_hit(fleet: CountedFleet, how: str, tmp_path: Any) -> None:
    fleet.cache().get("b", "k")
    cache = listening(fleet, directory=str(tmp_path), disk_budget=None)
    got = {
        "get": lambda: cache.get("b", "k"),
        "path": lambda: cache.path("b", "k").read_bytes(),
        "value": lambda: cache.get("b", "k", transform="text").encode(),
    }[how]()
    assert got == BODY
    assert (fleet.counted.taken(), fleet.statuses(), cache.stats().shared_hits) == (["FIND"], [], 1)


def test_expired_here_and_confirmed_by_another(fleet: CountedFleet) -> None:
    cache = listening(fleet)
    cache.get("b", "k")
    fleet.s3.advance(60)
    fleet.cache().get("b", "k")
    cache.get("b", "out")
    fleet.counted.taken()
    fleet.statuses()
    assert cache.get("b", "k") == BODY
    assert (fleet.counted.taken(), fleet.statuses()) == (["HMGET"], [])


def test_expired_here_and_changed_by_another(fleet: CountedFleet) -> None:
    cache = listening(fleet)
    cache.get("b", "k")
    fleet.s3.advance(60)
    fleet.s3["s3://b/k"] = b"new"
    fleet.cache().get("b", "k")
    cache.get("b", "out")
    fleet.counted.taken()
    fleet.statuses()
    assert cache.get("b", "k") == b"new"
    assert (fleet.counted.taken(), fleet.statuses()) == (["HMGET", "FIND"], [])


@pytest.mark.parametrize(
    ("change", "status", "commands"),
    [(False, 304, ["HMGET", "TAKE", "HMGET", "SWAP", "END"]), (True, 200, ["HMGET", "TAKE", "PUT", "END"])],
    ids=["unchanged", "changed"],
)
def test_expired_everywhere(fleet: CountedFleet, change: bool, status: int, commands: list[str]) -> None:
    cache = listening(fleet)
    cache.get("b", "k")
    fleet.s3.advance(60)
    cache.get("b", "out")
    if change:
        fleet.s3["s3://b/k"] = b"new"
    fleet.counted.taken()
    fleet.statuses()
    cache.get("b", "k")
    assert (fleet.counted.taken(), fleet.statuses()) == (commands, [status])


def test_of_what_is_too_large_the_metadata_are_confirmed(fleet: CountedFleet) -> None:
    cache = listening(fleet)
    cache.get("b", "large")
    assert fleet.counted.taken() == ["FIND", "TAKE", "PUT", "END"]
    fleet.s3.advance(60)
    fleet.cache().get("b", "large")
    cache.get("b", "out")
    fleet.counted.taken()
    fleet.statuses()
    cache.get("b", "large")
    assert (fleet.counted.taken(), fleet.statuses()) == (["HMGET"], [])


def test_with_ttl_0_s3_is_asked_and_the_others_are_told(fleet: CountedFleet) -> None:
    cache = listening(fleet)
    cache.get("b", "k", ttl=0)
    assert fleet.counted.taken() == ["HMGET", "PUT"]
    cache.get("b", "k", ttl=0)
    assert fleet.counted.taken() == ["HMGET", "HMGET", "SWAP"]
    assert fleet.statuses() == [200, 304]


def test_what_is_not_there(fleet: CountedFleet) -> None:
    cache = listening(fleet)
    with pytest.raises(ObjectNotFoundError):
        cache.get("b", "none")
    assert fleet.counted.taken() == ["FIND", "TAKE", "END"]


def test_what_was_deleted_is_dropped_for_all(fleet: CountedFleet) -> None:
    cache = listening(fleet)
    cache.get("b", "k")
    fleet.s3.advance(60)
    cache.get("b", "out")
    del fleet.s3["s3://b/k"]
    fleet.counted.taken()
    with pytest.raises(ObjectNotFoundError):
        cache.get("b", "k")
    assert fleet.counted.taken() == ["HMGET", "TAKE", "WITHDRAW", "END"]


def test_s3_out_of_reach(fleet: CountedFleet) -> None:
    cache = listening(fleet)
    fleet.s3.down = True
    with pytest.raises(OriginUnavailableError):
        cache.get("b", "k")
    assert fleet.counted.taken() == ["FIND", "TAKE", "END"]
    with pytest.raises(OriginUnavailableError):
        cache.get("b", "k")
    assert fleet.counted.taken() == ["FIND"], "another may have brought it; nobody waits"


@pytest.mark.parametrize("option", [{"shared": False}, {"disk": False}])
def test_what_rules_keep_out_costs_nothing(fleet: CountedFleet, option: dict[str, bool]) -> None:
    cache = listening(fleet, rules={"s3://b/k": option})
    fleet.cache().get("b", "k")
    fleet.counted.taken()
    fleet.statuses()
    cache.get("b", "k")
    assert (fleet.counted.taken(), fleet.statuses()) == ([], [200])


def test_writing_and_invalidating(fleet: CountedFleet) -> None:
    cache = listening(fleet)
    cache.put("b", "k", b"new")
    assert fleet.counted.taken() == ["HMGET", "PUT"]
    cache.invalidate("b", "k")
    assert fleet.counted.taken() == []
    cache.invalidate("b", "k", everywhere=True)
    assert fleet.counted.taken() == ["WITHDRAW", "XADD", "PEXPIRE"]
    cache.clear()
    assert fleet.counted.taken() == []
