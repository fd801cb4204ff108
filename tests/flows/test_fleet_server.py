"""A fleet whose server fails in the middle of a run: whatever it does, every call is answered, and it is tried as seldom as the breaker says."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from s3warm import FleetUnavailableError, OriginUnavailableError
from s3warm.testing import FakeCache
from s3warm.tiers import scripts
from tests.support.fleet_run import MOMENTS, OVER, TRIES, FleetRun, body_of
from tests.support.tapped import Tap, withheld
from tests.support.threads import PATIENCE, until
from tests.support.valkey import ValkeyServer, free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s3warm import Cache

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("needs_server")]


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.levelname for record in caplog.records]


def errors(run: FleetRun) -> list[int]:
    return [stats.shared_errors for stats in run.stats()]


# -- it does not answer ------------------------------------------------------------------------------------------------------


def killed(server: ValkeyServer, tap: Tap) -> Callable[[], object]:
    server.kill()
    tap.drop()
    return server.start


def stopped(server: ValkeyServer, tap: Tap) -> Callable[[], object]:
    server.stop()
    return server.resume


def slow(server: ValkeyServer, tap: Tap) -> Callable[[], object]:
    tap.answer = withheld
    return lambda: setattr(tap, "answer", tap.ask)


@pytest.mark.parametrize("fault", [killed, stopped, slow])
def test_no_answer(
    server: ValkeyServer,
    tap: Tap,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[ValkeyServer, Tap], Callable[[], object]],
) -> None:
    with FleetRun(tap.url) as run:
        run.ask()
        run.share()
        assert errors(run) == [0, 0]
        end = fault(server, tap)
        tap.commands.clear()
        run.s3.advance(1)
        run.go_through()
        assert errors(run) == [TRIES, TRIES]
        assert len(tap.commands) == 2 * TRIES
        assert levels(caplog) == ["WARNING"] * 2, "one for each environment"
        assert all("cannot be used; S3 is asked instead" in record.message for record in caplog.records)
        end()
        run.ask()
        run.share()
        assert errors(run) == [TRIES, TRIES]
        assert levels(caplog) == ["WARNING"] * 4
        assert [record.message for record in caplog.records[2:]] == ["the shared tier answers again"] * 2


def test_slow_but_in_time(server: ValkeyServer, tap: Tap, caplog: pytest.LogCaptureFixture) -> None:
    late = threading.Event()

    def answer(command: list[bytes], connection: Any) -> None:
        late.wait(0.015)  # nobody sets it
        tap.ask(command, connection)

    tap.answer = answer
    with FleetRun(tap.url, timeout=PATIENCE) as run:
        run.ask()
        run.share()
        assert (errors(run), levels(caplog)) == ([0, 0], [])


def test_another_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with ValkeyServer(tmp_path / "one", "--requirepass", "one") as first, Tap(first.port) as tap:
        with FleetRun(tap.url.replace("://", "://:one@")) as run:
            run.ask()
            first.kill()
            with ValkeyServer(tmp_path / "two", "--requirepass", "two") as second:
                tap.real = second.port
                tap.drop()
                tap.commands.clear()
                run.s3.advance(1)
                run.go_through()
                assert errors(run) == [TRIES, TRIES]
                assert tap.names() == [b"AUTH"] * 2 * TRIES
                assert all("password" in record.message for record in caplog.records)
                assert not any(word in record.message for record in caplog.records for word in ("one@", "two"))
            first.start()
            tap.real = first.port
            run.ask()
            run.share()
        assert levels(caplog) == ["WARNING"] * 4


# -- it answers, and takes no writes -----------------------------------------------------------------------------------------


def full(server: ValkeyServer) -> Callable[[], object]:
    assert server.ask("CONFIG", "GET", "maxmemory-policy").split() == ["maxmemory-policy", "noeviction"]
    server.ask("CONFIG", "SET", "maxmemory", "1")
    return lambda: server.ask("CONFIG", "SET", "maxmemory", "0")


def replica(server: ValkeyServer) -> Callable[[], object]:
    server.ask("REPLICAOF", "127.0.0.1", str(free_port()))
    return lambda: server.ask("REPLICAOF", "NO", "ONE")


def forbidden(server: ValkeyServer) -> Callable[[], object]:
    server.ask("ACL", "SETUSER", "default", "-@write")
    return lambda: server.ask("ACL", "SETUSER", "default", "+@write")


def reads_only(command: list[bytes]) -> bool:
    """Whether a command writes nothing, also where it is a script."""
    return command[0] in (b"HMGET", b"XRANGE") or command[1] == scripts.FIND.encode()


@pytest.mark.parametrize(
    ("fault", "says"),
    [(full, "OutOfMemoryError"), (replica, "read only replica"), (forbidden, "no permissions|can't run this command")],
)
def test_no_writes(
    server: ValkeyServer,
    tap: Tap,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[ValkeyServer], Callable[[], object]],
    says: str,
) -> None:
    with FleetRun(tap.url) as run:
        run.ask()
        run.share()
        known, requests = run.write(), len(run.s3.requests)
        run.caches[0].get(known, ttl=60)
        end = fault(server)
        tap.commands.clear()
        run.s3.advance(0.25)
        assert run.caches[1].get(known) == body_of(known), "what is there is read all the same"
        assert len(run.s3.requests) == requests + 1
        run.s3.advance(0.75)
        run.go_through()
        assert errors(run) == [TRIES, TRIES]
        reads = [reads_only(command) for _, command in tap.commands]
        assert reads.count(False) == 2 * TRIES
        assert reads.count(True) > 2 * len(MOMENTS), "it is read all the time"
        assert levels(caplog) == ["WARNING"] * 2
        assert all("takes no writes" in record.message and re.search(says, record.message) for record in caplog.records)
        end()
        run.ask()
        run.share()
        assert errors(run) == [TRIES, TRIES]
        assert [record.message for record in caplog.records[2:]] == ["the shared tier takes writes again"] * 2


def test_a_full_server_takes_no_body_in_place_of_another(server: ValkeyServer) -> None:
    with FleetRun(server.url, environments=1, timeout=PATIENCE) as run:
        uri, cache = run.write(), run.caches[0]
        cache.get(uri)
        assert server.ask("DBSIZE").split() == ["2"], "it, and the log"
        run.s3[uri] = b"new"
        full(server)
        run.s3.advance(0.5)
        assert cache.get(uri, ttl=0) == b"new"
        assert errors(run) == [1]
        assert server.ask("DBSIZE").split() == ["1"], "the log, and what it had is none any more"


def test_back_again_as_a_replica(server: ValkeyServer, caplog: pytest.LogCaptureFixture) -> None:
    """The first that it is asked for is a write: it answers, though it refuses that."""
    with FleetRun(server.url, environments=1, timeout=PATIENCE) as run:
        run.ask()
        server.kill()
        run.s3.advance(1)
        run.ask()
        server.start()
        end = replica(server)
        run.s3.advance(1)
        with pytest.raises(FleetUnavailableError, match="call it again"):
            run.caches[0].invalidate(run.write(), everywhere=True)
        end()
        run.s3.advance(1)
        run.caches[0].invalidate(run.write(), everywhere=True)
    said = [record.message.partition(",")[0].partition(";")[0] for record in caplog.records]
    assert said == [
        "the shared tier cannot be used",
        "the shared tier answers again",
        "the shared tier takes no writes",
        "the shared tier takes writes again",
    ]


# -- all at once -------------------------------------------------------------------------------------------------------------


def test_killed_while_threads_ask(server: ValkeyServer) -> None:
    with FleetRun(server.url, environments=4, timeout=PATIENCE, memory_budget=0) as run:
        uris = [run.write() for _ in range(20)]
        over = threading.Event()
        asked = [0] * 4

        def work(number: int) -> None:
            while not over.is_set():
                uri = uris[asked[number] % len(uris)]
                assert run.caches[number].get(uri, ttl=60) == body_of(uri)
                asked[number] += 1

        def go_on() -> None:
            """Each of them asks for each object."""
            before = list(asked)
            until(lambda: over.is_set() or all(now > then + len(uris) for now, then in zip(asked, before, strict=True)))

        with ThreadPoolExecutor(4) as pool:
            working = [pool.submit(work, number) for number in range(4)]
            for each in working:
                each.add_done_callback(lambda _: over.set())  # one that fails ends all
            try:
                go_on()
                server.kill()
                until(lambda: over.is_set() or 0 not in errors(run))
                go_on()
                server.start()
                go_on()
                assert errors(run) == [1] * 4, "the clock stands still"
                hits = [stats.shared_hits for stats in run.stats()]
                run.s3.advance(1)
                go_on()
                run.s3.advance(
                    1.5
                )  # the log is another one: until then whatever lies there may have been validated before, by a clock ahead
                go_on()
            finally:
                over.set()
            for each in working:
                each.result()
        assert errors(run) == [1] * 4
        assert all(now.shared_hits > then for now, then in zip(run.stats(), hits, strict=True))


# -- S3 is down as well ------------------------------------------------------------------------------------------------------


def test_s3_is_down_as_well(server: ValkeyServer) -> None:
    with FleetRun(server.url, environments=1, stale_if_error=5) as run:
        fleet = run.caches[0]
        alone = FakeCache(run.s3, ttl=fleet.settings.ttl, stale_if_error=5, disk_budget=0)
        held, cold = run.write(), run.write()
        for cache in (fleet, alone):
            cache.get(held)
        server.kill()
        run.s3.down = True
        begun = run.s3.now
        outcomes = []
        for moment in (1.0, 2.0, 3.5, 6.0):
            run.s3.now = begun + moment
            outcomes += [[outcome(cache, uri) for cache in (fleet, alone)] for uri in (held, cold)]
        run.s3.down = False
        run.s3.now = begun + 60
        outcomes += [[outcome(cache, uri) for cache in (fleet, alone)] for uri in (held, cold)]
        alone.close()
    stale, gone = (True, body_of(held)), OriginUnavailableError
    expected = [stale, gone, stale, gone, stale, gone, gone, gone, (False, body_of(held)), (False, body_of(cold))]
    assert outcomes == [[each, each] for each in expected]


def outcome(cache: Cache, uri: str) -> Any:
    try:
        entry = cache.entry(uri)
    except OriginUnavailableError as error:
        return type(error)
    return entry.stale, entry.body


def test_s3_is_down_and_the_server_has_a_copy(server: ValkeyServer) -> None:
    with FleetRun(server.url, stale_if_error=60) as run:
        uri = run.write()
        run.caches[0].get(uri)
        run.s3.down = True
        run.s3.advance(OVER)
        assert outcome(run.caches[1], uri) == (True, body_of(uri)), "another environment had it"
        assert errors(run) == [0, 0]


def test_news_of_the_longest_keys_fit_wherever_only_small_bodies_are_shared(server: ValkeyServer) -> None:
    with FleetRun(server.url, ttl=3600, shared_max_object=0) as run:
        reader, teller = run.caches
        run.s3["s3://bucket/k"] = b"old"
        reader.get("bucket", "k")
        run.s3.advance(1)
        for number in range(63):
            teller.invalidate("bucket", f"{number:02}" + "\1" * 1022, everywhere=True)
        run.s3["s3://bucket/k"] = b"new"
        teller.invalidate("bucket", "k", everywhere=True)
        run.s3.advance(1)
        assert reader.get("bucket", "k") == b"new"
        assert errors(run) == [0, 0]
