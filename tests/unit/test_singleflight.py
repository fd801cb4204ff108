"""Single flight: one thread does the work, and nobody is stranded whatever happens to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from s3warm.errors import ObjectNotFoundError
from s3warm.singleflight import Flight, SingleFlight

WAIT = 10  # seconds; a limit for what has gone wrong, never waited for


def all_waiting(flight: Flight[Any], count: int) -> None:
    """Return when `count` threads wait for the flight."""
    while count and (flight.done is None or len(vars(flight.done)["_cond"]._waiters) < count):
        assert flight.done is None or not flight.done.is_set()
        threading.Event().wait(0.0001)


class Runs:
    """Threads that ask one SingleFlight for one key."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.flights: SingleFlight[Any] = SingleFlight()
        self.pool = pool

    def ask(self, work: Callable[[Flight[Any]], Any], *, key: str = "k", join: bool = True) -> Future[Any]:
        return self.pool.submit(self.flights.run, key, work, join=join)

    def led(self, result: Callable[[], Any], followers: int = 0) -> tuple[Future[Any], Future[Flight[Any]], threading.Event]:
        """Begin a flight that stays under way until the event is set and then until so many threads wait for it."""
        begun: Future[Flight[Any]] = Future()
        go_on = threading.Event()

        def work(flight: Flight[Any]) -> Any:
            begun.set_result(flight)
            assert go_on.wait(WAIT)
            all_waiting(flight, followers)
            return result()

        future = self.ask(work)
        begun.result(WAIT)
        return future, begun, go_on


@pytest.fixture
def runs() -> Any:
    with ThreadPoolExecutor(20) as pool:
        yield Runs(pool)


def never(flight: Flight[Any]) -> Any:
    raise AssertionError("this thread was to follow")


def raising(error: BaseException) -> Callable[[], Any]:
    def work() -> Any:
        raise error

    return work


def test_the_work_is_done_anew_when_nobody_is_at_it() -> None:
    flights: SingleFlight[int] = SingleFlight()
    numbers = iter(range(10))
    assert [flights.run("k", lambda _: next(numbers)) for _ in range(3)] == [0, 1, 2]


def test_many_threads_share_one_call_and_its_very_result(runs: Runs) -> None:
    result = object()
    leader, _, go_on = runs.led(lambda: result, followers=15)
    followers = [runs.ask(never) for _ in range(15)]
    go_on.set()
    assert leader.result(WAIT) is result
    assert all(follower.result(WAIT) is result for follower in followers)


def test_from_a_barrier_everybody_gets_a_result_of_a_flight_that_ended_after_the_start(runs: Runs) -> None:
    for _ in range(50):
        barrier = threading.Barrier(8)
        calls: list[int] = []

        def work(flight: Flight[Any], calls: list[int] = calls) -> int:
            calls.append(flight.leader)
            return len(calls)

        def ask(barrier: threading.Barrier = barrier, work: Callable[[Flight[Any]], int] = work) -> int:
            barrier.wait(WAIT)
            return int(runs.flights.run("k", work))

        results = [future.result(WAIT) for future in [runs.pool.submit(ask) for _ in range(8)]]
        assert set(results) == set(range(1, len(calls) + 1))
        assert not runs.flights._flights


def test_other_keys_do_not_wait(runs: Runs) -> None:
    leader, _, go_on = runs.led(lambda: "first")
    assert runs.ask(lambda _: "second", key="other").result(WAIT) == "second"
    go_on.set()
    assert leader.result(WAIT) == "first"


def test_the_leaders_error_reaches_each_follower_as_a_copy_with_its_cause(runs: Runs) -> None:
    error = ObjectNotFoundError("s3://b/k does not exist", bucket="b", key="k")
    error.__cause__ = KeyError("origin")
    leader, _, go_on = runs.led(raising(error), followers=3)
    followers = [runs.ask(never) for _ in range(3)]
    go_on.set()
    assert leader.exception(WAIT) is error
    copies = [follower.exception(WAIT) for follower in followers]
    assert len({id(copy) for copy in (error, *copies)}) == 4
    for copy in copies:
        assert isinstance(copy, ObjectNotFoundError)
        assert (str(copy), copy.bucket, copy.key) == (str(error), "b", "k")
        assert copy.__cause__ is error.__cause__


class Stubborn(Exception):
    """An error that `copy` cannot rebuild: its arguments are not those of its constructor."""

    def __init__(self, number: int, *, words: str) -> None:
        super().__init__(f"{number} {words}")


def test_an_error_that_cannot_be_copied_reaches_the_followers_all_the_same(runs: Runs) -> None:
    leader, _, go_on = runs.led(raising(Stubborn(1, words="a")), followers=1)
    follower = runs.ask(never)
    go_on.set()
    assert isinstance(leader.exception(WAIT), Stubborn)
    assert isinstance(follower.exception(WAIT), Stubborn)


def test_an_error_is_not_kept_for_those_who_come_later(runs: Runs) -> None:
    with pytest.raises(ValueError, match="first"):
        runs.flights.run("k", lambda _: raising(ValueError("first"))())
    assert runs.flights.run("k", lambda _: "second") == "second"


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupted_leader_hands_over_to_one_of_its_followers(runs: Runs, interruption: type[BaseException]) -> None:
    leader, _, go_on = runs.led(raising(interruption()), followers=5)
    calls: list[int] = []
    second = threading.Event()

    def take_over(flight: Flight[Any]) -> str:
        calls.append(flight.leader)
        second.wait(WAIT)
        return "done"

    followers = [runs.ask(take_over) for _ in range(5)]
    go_on.set()
    assert isinstance(leader.exception(WAIT), interruption)
    second.set()
    assert [follower.result(WAIT) for follower in followers] == ["done"] * 5
    assert len(calls) >= 1


def test_who_does_not_join_begins_a_flight_that_later_ones_join(runs: Runs) -> None:
    first, _, let_first_go = runs.led(lambda: "old")
    begun, go_on = threading.Event(), threading.Event()

    def work(flight: Flight[Any]) -> str:
        begun.set()
        assert go_on.wait(WAIT)
        all_waiting(flight, 1)
        return "new"

    second = runs.ask(work, join=False)
    assert begun.wait(WAIT)
    later = runs.ask(never)
    go_on.set()
    assert (second.result(WAIT), later.result(WAIT)) == ("new", "new")
    let_first_go.set()
    assert first.result(WAIT) == "old"
    assert not runs.flights._flights


def test_the_end_of_an_older_flight_does_not_end_a_newer_one(runs: Runs) -> None:
    first, _, let_first_go = runs.led(lambda: "old")
    begun, go_on = threading.Event(), threading.Event()

    def work(flight: Flight[Any]) -> str:
        begun.set()
        assert go_on.wait(WAIT)
        all_waiting(flight, 1)
        return "new"

    second = runs.ask(work, join=False)
    assert begun.wait(WAIT)
    let_first_go.set()
    assert first.result(WAIT) == "old"
    later = runs.ask(never)
    go_on.set()
    assert (second.result(WAIT), later.result(WAIT)) == ("new", "new")


@pytest.mark.parametrize("forget", [lambda flights: flights.forget("k"), lambda flights: flights.forget_all()])
def test_a_forgotten_flight_delivers_knows_it_and_is_joined_no_more(runs: Runs, forget: Callable[[Any], None]) -> None:
    leader, begun, go_on = runs.led(lambda: "old", followers=1)
    follower = runs.ask(never)
    flight = begun.result(WAIT)
    all_waiting(flight, 1)
    assert not flight.forgotten
    forget(runs.flights)
    assert flight.forgotten
    assert runs.ask(lambda _: "new").result(WAIT) == "new"
    go_on.set()
    assert (leader.result(WAIT), follower.result(WAIT)) == ("old", "old")


def test_forget_reaches_every_flight_under_way_for_the_key_and_no_other(runs: Runs) -> None:
    release = threading.Event()
    flights: list[Flight[Any]] = []
    begun = threading.Barrier(4)

    def work(flight: Flight[Any]) -> None:
        flights.append(flight)
        begun.wait(WAIT)
        release.wait(WAIT)

    futures = [runs.ask(work, join=False), runs.ask(work, join=False), runs.ask(work, key="other")]
    begun.wait(WAIT)
    runs.flights.forget("k")
    assert sorted(flight.forgotten for flight in flights) == [False, True, True]
    release.set()
    for future in futures:
        future.result(WAIT)


def test_forget_waits_for_what_is_being_stored(runs: Runs) -> None:
    storing, stored = threading.Event(), threading.Event()
    order: list[str] = []

    def work(flight: Flight[Any]) -> None:
        with flight.storing:
            assert not flight.forgotten
            storing.set()
            assert stored.wait(WAIT)
            order.append("stored")

    leader = runs.ask(work)
    assert storing.wait(WAIT)

    def forget() -> None:
        runs.flights.forget("k")
        order.append("forgotten")

    forgetting = runs.pool.submit(forget)
    assert not forgetting.done()
    stored.set()
    forgetting.result(WAIT)
    leader.result(WAIT)
    assert order == ["stored", "forgotten"]


def test_forgetting_what_is_not_under_way_is_nothing() -> None:
    flights: SingleFlight[int] = SingleFlight()
    flights.forget("k")
    flights.forget_all()
    assert flights.run("k", lambda _: 1) == 1


def test_a_leader_that_asks_for_its_own_key_does_not_wait_for_itself(runs: Runs) -> None:
    def outer(_: Flight[Any]) -> str:
        return "outer of " + str(runs.flights.run("k", lambda _: "inner"))

    assert runs.ask(outer).result(WAIT) == "outer of inner"
    assert not runs.flights._flights


def test_after_a_recursion_the_outer_flight_can_still_be_joined(runs: Runs) -> None:
    inner_done, go_on = threading.Event(), threading.Event()

    def outer(flight: Flight[Any]) -> str:
        runs.flights.run("k", lambda _: "inner")
        inner_done.set()
        assert go_on.wait(WAIT)
        all_waiting(flight, 1)
        return "outer"

    leader = runs.ask(outer)
    assert inner_done.wait(WAIT)
    follower = runs.ask(never)
    go_on.set()
    assert (leader.result(WAIT), follower.result(WAIT)) == ("outer", "outer")


def test_who_need_not_wait_does_not(runs: Runs) -> None:
    leader, _, go_on = runs.led(lambda: "new", followers=3)
    assert runs.flights.run("k", never, meanwhile=lambda: "old") == "old"
    assert not leader.done()
    followers = [runs.pool.submit(runs.flights.run, "k", never, meanwhile=lambda: None) for _ in range(3)]
    go_on.set()
    assert [each.result(WAIT) for each in (leader, *followers)] == ["new"] * 4


def test_who_leads_is_not_asked_what_to_do_meanwhile() -> None:
    flights: SingleFlight[str] = SingleFlight()
    assert flights.run("k", lambda _: "new", meanwhile=lambda: "old") == "new"
