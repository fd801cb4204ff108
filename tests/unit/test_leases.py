"""Whose turn it is in the fleet; nobody waits in earnest."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import fakeredis
import pytest
from redis import exceptions

from s3warm.keys import ObjectKey
from s3warm.tiers.leases import LONGEST, Leases
from s3warm.tiers.sealed import Sealer
from s3warm.tiers.server import Server
from tests.support.counted import CountedRedis

if TYPE_CHECKING:
    from collections.abc import Callable

WHERE = ObjectKey("b", "k")
SEALER = Sealer("ns", b"a secret of sixteen bytes")
LEASE = SEALER.name(WHERE) + ":lease"


class Environment:
    """One of the fleet, whose time passes only while it waits."""

    def __init__(self, state: fakeredis.FakeServer) -> None:
        self.now = 0.0
        self.naps = 0
        self.meanwhile: Callable[[], object] = lambda: None
        self.client = CountedRedis.of(state)
        server = Server(lambda: self.client, lambda _: None, clock=lambda: self.now, failed=lambda *_: None)
        self.leases = Leases(server, SEALER, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.naps += 1
        self.meanwhile()

    def take(self, patience: float = 30.0, found: Callable[[object], bool] = lambda _: False) -> Any:
        return self.leases.take(WHERE, found, patience)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> tuple[Environment, Environment]:
    state = fakeredis.FakeServer()
    environments = Environment(state), Environment(state)
    monkeypatch.setattr("s3warm.tiers.leases.time", SimpleNamespace(monotonic=lambda: sum(each.now for each in environments)))
    return environments


def test_who_takes_it_has_it_for_a_bounded_time_and_gives_it_back(two: tuple[Environment, Environment]) -> None:
    one, other = two
    with one.take() as lease:
        assert (lease.found, lease.taken) == (False, False)
        assert 0 < other.client.pttl(LEASE) <= 1000 * LONGEST
        lease.brought = True
    assert other.client.get(LEASE) is None
    assert one.client.taken() == ["TAKE", "END"]


def test_who_ends_it_in_vain_leaves_word_for_a_second(two: tuple[Environment, Environment]) -> None:
    one, other = two
    with contextlib.suppress(OSError), one.take():
        raise OSError
    assert 0 < other.client.pttl(LEASE) <= 1000
    with other.take() as lease:
        assert (lease.found, lease.taken) == (False, False)
    assert other.naps == 0
    assert other.client.get(LEASE) == b"in vain", "it was nobody's to give back"


def test_it_ends_once_and_before_the_block_if_nobody_will_be_served(two: tuple[Environment, Environment]) -> None:
    one, other = two
    with one.take() as lease:
        lease.end()
        assert other.client.get(LEASE) == b"in vain"
        lease.brought = True
    assert one.client.taken() == ["TAKE", "END"]


def test_who_waits_is_told_when_it_is_there(two: tuple[Environment, Environment]) -> None:
    one, other = two
    other.meanwhile = lambda: other.naps == 3 and one.client.hset(SEALER.name(WHERE), "h", b"fresh")
    with one.take(), other.take(found=lambda head: head == b"fresh") as lease:
        assert (lease.found, lease.taken) == (True, False)
    assert other.naps == 3
    assert other.client.taken() == ["TAKE", *["LOOK"] * 4], "and gives nothing back"


def test_who_waits_goes_on_when_the_holder_died(two: tuple[Environment, Environment]) -> None:
    one, other = two
    with one.take():
        other.meanwhile = lambda: other.naps == 5 and one.client.delete(LEASE)
        with other.take() as lease:
            assert (lease.found, lease.taken) == (False, False)
            assert other.client.get(LEASE) is not None
            lease.brought = True
        assert other.client.get(LEASE) is None


@pytest.mark.parametrize(("patience", "waited"), [(30.0, LONGEST), (2.0, 2.0), (0.0, 0.0), (-1.0, 0.0)])
def test_nobody_waits_for_longer_than_he_likes(two: tuple[Environment, Environment], patience: float, waited: float) -> None:
    one, other = two
    with one.take(), other.take(patience) as lease:
        assert (lease.found, lease.taken) == (False, True)
    assert waited <= other.now <= waited + 0.05


def test_who_has_lost_it_gives_nothing_back(two: tuple[Environment, Environment]) -> None:
    one, other = two
    with one.take() as first:
        one.client.delete(LEASE)  # it ran out, while S3 was slow
        with other.take() as second:
            held = other.client.get(LEASE)
            first.end()
            assert other.client.get(LEASE) == held
            second.brought = True


@pytest.mark.parametrize(
    "error", [exceptions.TimeoutError(), exceptions.ResponseError("OOM"), exceptions.ResponseError("READONLY")]
)
def test_without_a_server_everybody_asks_at_once(two: tuple[Environment, Environment], error: Exception) -> None:
    def fail(_name: str, _answer: object) -> object:
        raise error

    one, _ = two
    one.client.instead = fail
    for _ in range(3):
        with one.take() as lease:
            assert (lease.found, lease.taken) == (False, False)
    assert (one.client.taken(), one.naps) == (["TAKE"], 0)


def test_a_server_that_dies_meanwhile_is_not_waited_for(two: tuple[Environment, Environment]) -> None:
    def fail(name: str, answer: Callable[[], Any]) -> Any:
        if name == "LOOK":
            raise exceptions.ConnectionError
        return answer()

    one, other = two
    other.client.instead = fail
    with one.take(), other.take() as lease:
        assert (lease.found, lease.taken, other.naps) == (False, False, 0)


@pytest.mark.parametrize("lie", [None, 0, b"", 1, b"OK", "OK", [], [None], [1], {}, [0, None, None]], ids=repr)
def test_a_server_that_makes_no_sense_is_not_waited_for(two: tuple[Environment, Environment], lie: Any) -> None:
    one, _ = two
    one.client.instead = lambda _name, _answer: lie
    with one.take() as lease:
        assert (lease.found, lease.taken, one.naps) == (False, False, 0)


def test_a_server_that_gives_it_to_nobody_is_not_waited_for(two: tuple[Environment, Environment]) -> None:
    one, _ = two
    one.client.instead = lambda _name, _answer: [None, None]
    with one.take(patience=1.0) as lease:
        assert not lease.found
    assert one.now < 0.01
    assert one.client.taken() == ["TAKE", "LOOK"] * 4
