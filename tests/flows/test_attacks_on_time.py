"""Defects that an attacker found in deadlines, turns, forks and the account of memory, each with the way in. None may come back."""

from __future__ import annotations

import gc
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

import s3warm
from s3warm import AccessDeniedError, Cache, OriginUnavailableError, deadlines, ledger
from s3warm.forking import alive
from s3warm.keys import locate
from s3warm.origin import intime
from s3warm.origin.base import CHUNK, Late, Request, TransportError
from s3warm.origin.boto import BotoResponse
from s3warm.origin.intime import in_time
from s3warm.testing import FakeCache, FakeS3, fake_s3
from tests.support.entries import NOW, an_entry, noise
from tests.support.threads import until, wait, waiting
from tests.support.tiers import disk_tier, memory_tier

MIB = 2**20
URI = "s3://cfg/flags.json"


# -- deadlines -----------------------------------------------------------------------------------------------------------------


class Halting:
    """A server without Content-Length that halts after its first piece, the first time it is asked."""

    def __init__(self, first: bytes, second: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:{}".format(*self._listener.getsockname()[1:])
        self._pieces = first, second
        self.go_on = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        asked = 0
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                asked += 1
                connection.recv(65536)
                connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "abc-2"\r\nConnection: close\r\n\r\n' + self._pieces[0])
                if asked == 1:
                    wait(self.go_on)
                try:
                    connection.sendall(self._pieces[1])
                except OSError:
                    continue

    def close(self) -> None:
        self.go_on.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def halting() -> Iterator[Halting]:
    server = Halting(bytes(CHUNK), b"x" * CHUNK)
    yield server
    server.close()


def test_a_body_that_its_deadline_has_ended_is_not_whole(halting: Halting) -> None:
    """Half of it was served, and kept."""
    config = Config(signature_version=UNSIGNED, read_timeout=600, retries={"total_max_attempts": 1})
    client = boto3.client("s3", endpoint_url=halting.url, region_name="us-east-1", config=config)
    with Cache(client=client) as cache:
        with s3warm.deadline(0.3, 0), pytest.raises(OriginUnavailableError) as caught:
            cache.get(URI)
        assert caught.value.late
        halting.go_on.set()
        assert cache.get(URI) == bytes(CHUNK) + b"x" * CHUNK


def connected(body: bytes, deadline: float | None) -> tuple[BotoResponse, socket.socket, socket.socket]:
    """An answer whose body comes over a socket that is then another's."""
    ours, theirs = socket.socketpair()
    theirs.sendall(body)
    stream = ours.makefile("rb")
    answer = {"ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": {"content-length": str(len(body))}}}
    told = SimpleNamespace(
        readinto=stream.readinto1, _raw_stream=SimpleNamespace(_fp=SimpleNamespace(fp=stream)), close=stream.close
    )
    return BotoResponse(answer, told, None, deadline), ours, theirs


def test_a_connection_whose_body_is_complete_is_not_cut_any_more() -> None:
    """Its next request may be under way by then."""
    before = set(threading.enumerate())
    response, ours, theirs = connected(b"body", time.monotonic() + 60)
    with ours, theirs, memoryview(bytearray(4)) as buffer:
        assert response.readinto(buffer[:2]) == 2
        (timer,) = set(threading.enumerate()) - before
        assert response.readinto(buffer[2:]) == 2
        timer.join(30)
        assert not timer.is_alive()
        theirs.sendall(b"next")
        assert ours.recv(4) == b"next"
        response.close()


def test_a_stream_is_read_within_the_deadline_of_the_read() -> None:
    """Not within that of the invocation that opened it."""
    said: list[float | None] = []

    class Noting(FakeS3):
        def get(self, request: Request) -> Any:
            answer = super().get(request)
            readinto = answer.readinto

            def read(buffer: memoryview) -> int:
                said.append(answer.deadline)
                return readinto(buffer)

            answer.readinto = read  # type: ignore[method-assign]
            return answer

    cache = FakeCache(Noting({"s3://b/k": noise(3 * MIB)}), disk_budget=0)
    with s3warm.deadline(60, 0):
        file = cache.open("s3://b/k")
    with file:
        file.read(10)
        with s3warm.deadline(30, 0):
            within = deadlines.until()
            file.seek(2 * MIB)
            file.read(10)
        file.seek(0)
        file.read(10)
    assert set(said) == {None, within}
    assert (said[0], said[-1]) == (None, None)


def test_a_late_leaders_copy_is_for_itself_alone() -> None:
    """Those who wait for it have time, and S3 is well."""
    with fake_s3({URI: b"old"}, ttl=60) as s3, ThreadPoolExecutor(2) as pool:
        s3warm.get(URI)
        s3.advance(60)
        s3[URI] = b"new"
        asked, gate = threading.Event(), threading.Event()

        def late(_: Request) -> None:
            s3.before_answer = None
            asked.set()
            wait(gate)
            raise Late("no answer", waited=0.3)

        s3.before_answer = late
        leader: Future[s3warm.Entry] = pool.submit(s3warm.entry, URI)
        wait(asked)
        follower: Future[s3warm.Entry] = pool.submit(s3warm.entry, URI)
        until(lambda: waiting(s3warm.default_cache()) == 1)
        gate.set()
        assert (leader.result(30).body, leader.result().stale) == (b"old", True)
        assert (follower.result(30).body, follower.result().stale) == (b"new", False)


def test_requests_that_hang_are_not_joined_by_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    monkeypatch.setattr(intime, "MOST_HANGING", 3)
    monkeypatch.setattr(intime, "_hanging", set())  # other tests have left some
    sent: list[int] = []

    def send() -> None:
        sent.append(1)
        wait(gate)

    for _ in range(9):
        with pytest.raises(Late):
            in_time(send, time.monotonic() + 0.01, drop=lambda _: None)
    assert len(sent) == 3
    gate.set()
    until(lambda: not intime._hanging)
    assert in_time(lambda: 42, time.monotonic() + 30, drop=lambda _: None) == 42


def test_the_threads_of_a_tree_are_within_its_deadline() -> None:
    seen: list[float | None] = []
    with fake_s3({f"s3://b/t/{number}": b"x" for number in range(20)}) as s3:
        s3.before_answer = lambda _: seen.append(deadlines.until())
        with s3warm.deadline(60, 0):
            s3warm.tree("s3://b/t/")
            assert seen == [deadlines.until()] * 20


# -- turns ---------------------------------------------------------------------------------------------------------------------


def test_who_waits_for_a_turn_keeps_no_file_whose_room_is_needed() -> None:
    with fake_s3({URI: noise(20 * MIB)}, ttl=60, disk_budget="30MiB") as s3, ThreadPoolExecutor(2) as pool:
        with s3warm.as_file(URI):
            pass
        s3.advance(61)
        s3[URI] = noise(20 * MIB, 1)
        asked, gate = threading.Event(), threading.Event()

        def hold(_: Request) -> None:
            s3.before_answer = None
            asked.set()
            wait(gate)

        def size(ttl: float | None) -> int:
            with s3warm.as_file(URI, ttl=ttl) as path:
                return path.stat().st_size

        files: Any = s3warm.default_cache()._files
        waits, sleep = threading.Event(), files._turns._sleep

        def note(seconds: float) -> None:
            waits.set()
            sleep(seconds)

        files._turns._sleep = note
        s3.before_answer = hold
        first = pool.submit(size, None)
        wait(asked)
        second = pool.submit(size, 30)
        wait(waits)
        gate.set()
        assert first.result(30) == second.result(30) == 20 * MIB


@pytest.mark.parametrize("kind", ["no-cache", "ttl of 0"])
def test_nobody_waits_for_what_can_never_be_found(tmp_path: Path, kind: str) -> None:
    s3 = FakeS3()
    s3.put(URI, b"{}", **({"cache_control": "no-cache"} if kind == "no-cache" else {}))
    one, two = (FakeCache(s3, directory=tmp_path, namespace="x", ttl=0 if kind == "ttl of 0" else 60) for _ in range(2))
    one.get(URI)
    two.get(URI)
    together = threading.Barrier(2)

    def meet(_: Request) -> None:
        together.wait(30)

    s3.before_answer = meet
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(cache.get, URI) for cache in (one, two)]
        assert [each.result(30) for each in asked] == [b"{}"] * 2


def test_the_turns_of_a_parent_are_none_of_its_childs(tmp_path: Path) -> None:
    tier = disk_tier(tmp_path)
    tier.usage()
    turns = tier._turns
    assert turns is not None
    with turns.take(locate(URI), "x", lambda _: False, 0):
        assert turns._mine
        turns.renew()
        assert not turns._mine


# -- the account of memory -------------------------------------------------------------------------------------------------


def test_a_hit_that_prolongs_a_slot_does_not_undo_what_expired_it() -> None:
    tier = memory_tier()
    entry = an_entry(expires_at=NOW + 300)
    tier.put(entry)
    slot = tier.slots["bucket"]["key"]
    tier.due = NOW + 10
    held, gate = threading.Event(), threading.Event()

    def expire() -> None:
        with tier._lock:
            held.set()
            wait(gate)
            tier.expire(entry.object)

    with ThreadPoolExecutor(2) as pool:
        expiring = pool.submit(expire)
        wait(held)
        prolonging = pool.submit(tier.prolong, slot)
        gate.set()
        expiring.result(30)
        prolonging.result(30)
    assert slot.deadline < NOW


@pytest.mark.parametrize("way", ["hit", "refresh", "put"])
def test_whatever_touches_a_slot_it_is_looked_at_again(way: str) -> None:
    tier = memory_tier()
    entry = an_entry(expires_at=NOW + 300)
    tier.due = NOW + 1
    tier.put(entry)
    slot = tier.slots["bucket"]["key"]
    tier.due = NOW + 2
    if way == "hit":
        tier.hit(entry.object)
    elif way == "refresh":
        tier.refresh(entry.object, entry.etag, NOW, NOW + 600)
    assert slot.deadline == (NOW + 1 if way == "put" else NOW + 2)


def test_a_copy_stands_in_where_others_have_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "PATIENCE", 0.0)
    with fake_s3({URI: noise(2 * MIB)}, ttl=60) as s3:
        s3warm.get(URI)
        account = s3warm.default_cache()._ledger
        s3.advance(60)
        s3[URI] = noise(2 * MIB, 1)
        with monkeypatch.context() as patch:
            patch.setattr(account, "_largest", lambda beside=None: MIB if beside is None else 60 * MIB)
            assert s3warm.entry(URI).stale
            s3warm.clear()
            with pytest.raises(OriginUnavailableError, match="no memory while other threads fetch"):
                s3warm.get(URI)
        assert s3warm.get(URI) == noise(2 * MIB, 1)


def test_who_waits_for_memory_is_woken_when_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before the patience of this test's own is over."""
    monkeypatch.setattr(ledger, "PATIENCE", 1000.0)
    account = s3warm.ledger.Ledger(
        512 * MIB, memory_tier(), anonymous=lambda: 412 * MIB, give_back=lambda: None, free_at_once=lambda: None
    )
    where = an_entry().object

    def take() -> None:
        with account.hold(where, 60 * MIB):
            pass

    with ThreadPoolExecutor(1) as pool:
        with account.hold(where, 60 * MIB):
            other = pool.submit(take)
            until(lambda: bool(account._changed._waiters))  # type: ignore[attr-defined]
        other.result(30)


def test_a_body_of_unknown_length_has_memory_made_free_for_it() -> None:
    s3 = FakeS3()
    s3.put("s3://b/short", noise(3 * MIB), content_length="")
    s3.put("s3://b/long", noise(6 * MIB), content_length="")
    cache = FakeCache(s3)
    asked: list[int] = []
    buffers = cache._ledger.buffers
    cache._ledger.buffers = lambda most: (asked.append(most), buffers(most))[1]  # type: ignore[method-assign, func-returns-value]
    assert cache.get("s3://b/short") == noise(3 * MIB)
    assert (asked, len(s3.requests)) == ([8 * MIB], 1)
    assert cache.get("s3://b/long") == noise(6 * MIB)
    assert (asked[1], len(asked), len(s3.requests)) == (8 * MIB, 3, 3)


def test_an_error_keeps_no_body_from_going() -> None:
    """Not until the collector of cycles comes by."""
    with fake_s3({URI: noise(100_000)}, ttl=60) as s3:
        body = s3warm.get(URI)
        held = sys.getrefcount(body)
        s3.advance(60)
        s3.denied.add(URI)
        gc.disable()
        try:
            _denied()
            assert s3warm.stats().memory_entries == 0
            assert sys.getrefcount(body) < held
        finally:
            gc.enable()


def _denied() -> None:
    try:
        s3warm.get(URI)
    except AccessDeniedError:
        return
    pytest.fail("it was not denied")


def test_a_report_keeps_no_frames() -> None:
    with fake_s3({}):
        report = s3warm.preload("s3://b/gone")
        (gone,) = report.failed
        assert gone.error is not None
        assert gone.error.__traceback__ is None


# -- forks and snapshots -------------------------------------------------------------------------------------------------------


def test_a_fork_waits_for_a_directory_that_is_just_being_opened(tmp_path: Path) -> None:
    tier = disk_tier(tmp_path)
    opening, gate = threading.Event(), threading.Event()

    def hold() -> None:
        with tier._lock:
            opening.set()
            wait(gate)

    with ThreadPoolExecutor(2) as pool:
        holding = pool.submit(hold)
        wait(opening)
        forking: Future[Callable[[], None] | None] = pool.submit(lambda: _forked(tier))
        assert not forking.done()
        gate.set()
        holding.result(30)
        forking.result(30)
    assert tier._lock.acquire(blocking=False)
    tier._lock.release()


def _forked(tier: Any) -> None:
    go_on = tier.before_fork()
    assert go_on is not None
    go_on()


def test_a_restore_touches_no_directory_that_was_not_used_since_the_snapshot(tmp_path: Path) -> None:
    s3 = FakeS3({URI: b"{}"})
    cache = FakeCache(s3, directory=tmp_path, namespace="x")
    cache.get(URI)
    cache.suspend()
    cache.resume()
    tier = cache._disk_tier
    assert tier is not None
    assert tier._shelf is None
    assert cache.get(URI) == b"{}"
    assert tier._shelf is not None
    cache.resume()
    assert cache.get(URI) == b"{}"
    assert [request.status for request in s3.requests] == [200, 304, 304]


def test_a_closed_cache_is_not_brought_back_to_life() -> None:
    cache = FakeCache(FakeS3({URI: b"{}"}))
    assert cache in alive()
    cache.get(URI)
    cache.close()
    assert cache not in alive()


def test_a_snapshot_has_no_flights_and_no_connections() -> None:
    closed: list[int] = []

    class Noting(FakeS3):
        def close(self) -> None:
            closed.append(1)

    s3 = Noting({URI: b"old"})
    cache = FakeCache(s3, ttl=60)
    asked, gate = threading.Event(), threading.Event()

    def hold(_: Request) -> None:
        s3.before_answer = None
        asked.set()
        wait(gate)

    s3.before_answer = hold
    with ThreadPoolExecutor(1) as pool:
        flying = pool.submit(cache.get, URI)
        wait(asked)
        cache.suspend()
        gate.set()
        assert flying.result(30) == b"old"
    assert closed == [1]
    assert cache.stats().memory_entries == 0, "a flight begun before the snapshot stores nothing after it"
    cache.close()


def test_a_small_object_that_is_replaced_by_a_larger_one_on_its_way_is_not_too_large() -> None:
    """There is memory for it: nobody had asked for how much, as the first one was small."""
    cut: list[int] = []

    class Breaking(FakeS3):
        def get(self, request: Request) -> Any:
            answer = super().get(request)
            if not cut:
                cut.append(1)
                self[URI] = noise(500_000, 1)

                def broken(buffer: memoryview) -> int:
                    raise TransportError("the body broke off")

                answer.readinto = broken  # type: ignore[method-assign]
            return answer

    cache = FakeCache(Breaking({URI: noise(100_000)}))
    assert cache.get(URI) == noise(500_000, 1)
