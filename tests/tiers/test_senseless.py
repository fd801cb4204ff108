"""A server whose answers make no sense: to each question it is as if it could not be reached, and that is counted."""

from __future__ import annotations

from typing import Any

import fakeredis
import pytest

from s3warm.tiers.leases import Leases
from s3warm.tiers.sealed import Sealer
from s3warm.tiers.server import Senseless, Server
from s3warm.tiers.tidings import Tiding, Tidings
from tests.support.entries import NOW, an_entry
from tests.support.tiers import Journal, shared_tier

ENTRY = an_entry()
WHERE = ENTRY.object
NEITHER = [b"", b"OK", "OK", 2, -1, 1.5, [], {}, [b"a"], [b"a", "b"], [1, 2], [[b"a"], [b"b"]], [None] * 4, range(3)]


class Odd:
    """A client of redis-py that gives the same answer to all."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def _any(self, *_: object, **__: object) -> Any:
        return self.answer

    hmget = hget = eval = set = xrange = _any


@pytest.mark.parametrize("answer", [*NEITHER, None, 1, True], ids=repr)
def test_a_body(answer: object) -> None:
    journal = Journal()
    assert shared_tier(Odd(answer), journal=journal).get(WHERE) is None
    assert [type(error) for error in journal.failed] == [Senseless]


@pytest.mark.parametrize("answer", [each for each in [*NEITHER, 1, True] if not isinstance(each, bytes)], ids=repr)
def test_a_head(answer: object) -> None:
    journal = Journal()
    tier = shared_tier(Odd(answer), journal=journal)
    assert tier.look(WHERE) is None
    assert tier.describe(WHERE) is None
    assert not tier.refresh(WHERE, ENTRY.etag, NOW, NOW + 1)
    assert [type(error) for error in journal.failed] == [Senseless], "once, then it is left in peace"


@pytest.mark.parametrize("answer", [*NEITHER, None], ids=repr)
def test_a_write(answer: object) -> None:
    journal = Journal()
    assert shared_tier(Odd(answer), journal=journal).put(ENTRY) is False
    assert shared_tier(Odd(answer), journal=journal).withdraw(WHERE) is False
    assert [type(error) for error in journal.failed] == [Senseless, Senseless]


def leases(client: object, told: list[Exception | None]) -> Leases:
    server = Server(lambda: client, lambda _: None, clock=lambda: NOW, failed=lambda _, error: told.append(error))
    return Leases(server, Sealer("test", b"a secret of the tests"))


@pytest.mark.parametrize("answer", [*NEITHER, 1, False], ids=repr)
def test_a_lease_that_is_asked_for(answer: object) -> None:
    told: list[Exception | None] = []
    with leases(Odd(answer), told).take(WHERE, lambda _: True, 30.0) as lease:
        assert (lease.found, lease.taken) == (False, False)
    assert [type(error) for error in told] == [Senseless]


@pytest.mark.parametrize("answer", [*NEITHER, None, 1, [None, b"nobody's token"], [None, b"x" * 25]], ids=repr)
def test_a_lease_that_another_has(answer: object) -> None:
    client, told = Odd(None), list[Exception | None]()
    client.eval = lambda *_: answer  # type: ignore[method-assign]
    with leases(client, told).take(WHERE, lambda _: True, 30.0) as lease:
        assert (lease.found, lease.taken) == (False, False)
    assert [type(error) for error in told] == [Senseless]


def test_a_lease_that_nobody_has_and_nobody_is_given() -> None:
    client, told = Odd(None), list[Exception | None]()
    client.eval = lambda *_: [None, None]  # type: ignore[method-assign]
    with leases(client, told).take(WHERE, lambda _: True, 0.01) as lease:
        assert (lease.found, lease.taken) == (False, False)
    assert told == []


ODD_LOGS: list[object] = [
    b"OK",
    1,
    None,
    [b"a"],
    [b"ab"],
    [[b"1-1"]],
    [(b"bad", {})],
    [(b"1-1-1", {})],
    [(b"-1", {})],
    [(b"1-18446744073709551616", {})],
    [("1-1", {})],
    [(1, {})],
    {b"log": b"x"},
]


@pytest.mark.parametrize("answer", ODD_LOGS, ids=repr)
def test_a_log(answer: object) -> None:
    told: list[Exception | None] = []
    client = Odd(answer)
    real = fakeredis.FakeRedis()
    server = Server(lambda: client, lambda _: None, clock=lambda: NOW + len(told), failed=lambda _, error: told.append(error))
    tidings = Tidings(server, Sealer("test", b"a secret of the tests"), told.append)
    assert tidings.news().told == []
    assert [type(error) for error in told] == [Senseless]
    # And it is read from where it was once the server has come to its senses.
    client.xrange, client.xadd, client.pexpire = real.xrange, real.xadd, real.pexpire  # type: ignore[attr-defined,method-assign]
    assert tidings.tell(Tiding(WHERE, NOW))
    assert tidings.news().told == [Tiding(WHERE, NOW)]
    assert told[1:] == [None], "it answers again"
