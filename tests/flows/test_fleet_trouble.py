"""A server that is in trouble, or lies: it costs a time-out, and S3 answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from redis import exceptions

from tests.support.counted import CountedFleet
from tests.support.entries import text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

URI = "s3://b/k"
OLD, NEW = b'"old"', b'"new"'


@pytest.fixture
def fleet() -> Iterator[CountedFleet]:
    fleet = CountedFleet({URI: OLD}, ttl=600.0, disk_budget=0)
    yield fleet
    fleet.close()


ERRORS = {
    "dead": exceptions.ConnectionError("refused"),
    "slow": exceptions.TimeoutError("nothing came"),
    "full": exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
    "full, in words": exceptions.ResponseError("OOM command not allowed when used memory > 'maxmemory'."),
    "read-only": exceptions.ReadOnlyError("You can't write against a read only replica."),
    "no rights": exceptions.NoPermissionError("this user has no permissions"),
    "garbage": exceptions.InvalidResponse("Protocol Error: b'HTTP/1.1 400'"),
    "too large": OSError("the server's answer has more than 1000 bytes"),
}
WRITES = ("PUT", "SWAP", "WITHDRAW", "SET", "END", "XADD", "PEXPIRE")


@pytest.mark.parametrize("trouble", ERRORS)
def test_a_server_in_trouble_is_asked_once_and_s3_answers(fleet: CountedFleet, trouble: str) -> None:
    error, cache = ERRORS[trouble], fleet.cache()
    takes_no_writes = "full" in trouble or trouble == "read-only"
    failures: list[str] = []

    def instead(name: str, answer: Callable[[], Any]) -> Any:
        if takes_no_writes and name not in WRITES:
            return answer()
        failures.append(name)
        raise error

    fleet.counted.instead = instead
    for number in range(50):
        fleet.s3[f"s3://b/{number}"] = text(number)
        assert cache.get("b", str(number)) == text(number)
    assert len(failures) == cache.stats().shared_errors == 1
    assert cache.stats().errors == 0
    fleet.s3.advance(1)
    assert cache.get(URI) == OLD
    assert len(failures) == 2, "one tries again"
    fleet.counted.instead = None
    fleet.s3.advance(2)
    fleet.s3["s3://b/last"] = NEW
    cache.get("b", "last")
    fleet.statuses()
    assert (fleet.cache().get("b", "last"), fleet.statuses()) == (NEW, [])


LIES: list[Any] = [
    None,
    0,
    1,
    b"OK",
    "PONG",
    [],
    [None, None],
    [1, 1],
    [b"x", b"y"],
    [[b"x", [b"y"]]],
    {},
    {b"h": b"x"},
    1.5,
    True,
    [[]] * 3,
]


@pytest.mark.parametrize("lie", LIES, ids=repr)
def test_a_server_that_lies_decides_nothing(fleet: CountedFleet, lie: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = fleet.cache()
    naps: list[float] = []
    monkeypatch.setattr(cache._beyond.leases, "_sleep", naps.append)  # type: ignore[attr-defined]
    cache.get(URI)
    fleet.counted.instead = lambda _name, _answer: lie
    for seconds in (0, 1.5, 601, 601):
        fleet.s3.advance(seconds)
        assert cache.get(URI) == OLD
        assert cache.get(URI, ttl=0) == OLD
    fleet.s3[URI] = NEW
    fleet.s3.advance(601)
    assert cache.get(URI) == NEW
    assert cache.put(URI, OLD).size == len(OLD)
    assert cache.get(URI) == OLD
    fleet.counted.instead = None
    fleet.s3.advance(60)
    assert fleet.cache().get(URI) == OLD
    assert sum(naps) < 0.05, "seconds"
    assert cache.stats().errors == 0


def test_what_is_not_there_costs_no_try_while_the_server_is_left_in_peace(fleet: CountedFleet) -> None:
    def dead(_name: str, _answer: object) -> object:
        raise exceptions.ConnectionError("nobody is there")

    cache = fleet.cache()
    fleet.counted.instead = dead
    for number in range(20):
        with pytest.raises(FileNotFoundError):
            cache.get("b", f"missing/{number}")
    assert cache.stats().shared_errors == 1
