"""Within a deadline: what is stale is served, what is missing raises in time, whatever S3 does."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

import s3warm
from s3warm import Cache, OriginUnavailableError
from s3warm.origin.base import Late, Request, TransportError
from s3warm.testing import FakeS3, fake_s3
from tests.support.threads import until

URI = "s3://cfg/flags.json"


class SilentServer:
    """Accepts every connection and sends what it is told to, and then nothing."""

    def __init__(self, said: bytes = b"") -> None:
        self._said = said
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            if self._said:
                connection.sendall(self._said)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._connections:
            connection.close()
        # What was given up goes on until its connection breaks, which it just has.
        until(lambda: not any(thread.name == "s3warm-request" for thread in threading.enumerate()))


@pytest.fixture(
    params=[b"", b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 9\r\n\r\nhalf'], ids=["no answer", "half a body"]
)
def silent(request: pytest.FixtureRequest) -> Iterator[Cache]:
    server = SilentServer(request.param)
    # Time-outs that no test waits for.
    config = Config(signature_version=UNSIGNED, connect_timeout=600, read_timeout=600, retries={"total_max_attempts": 1})
    client = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", config=config)
    with Cache(client=client) as cache:
        yield cache
    server.close()


@pytest.mark.parametrize("ask", ["get", "path", "open"])
def test_a_miss_raises_in_time(silent: Cache, ask: str) -> None:
    with s3warm.deadline(0.2, 0), pytest.raises(OriginUnavailableError, match=r"left|in time") as caught:
        getattr(silent, ask)(URI).read()
    assert caught.value.late
    assert not caught.value.outage
    assert silent.stats().origin_requests <= 2


def test_a_tree_raises_in_time() -> None:
    server = SilentServer()
    client = boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        config=Config(signature_version=UNSIGNED, read_timeout=600, retries={"total_max_attempts": 1}),
    )
    with Cache(client=client) as cache, s3warm.deadline(0.2, 0), pytest.raises(OriginUnavailableError):
        cache.tree("s3://models/bert/")
    server.close()


def test_nothing_is_asked_when_the_time_is_over() -> None:
    with fake_s3({URI: b"{}"}) as s3:
        with s3warm.deadline(0.1, 0.2), pytest.raises(OriginUnavailableError, match="no time left to ask S3"):
            s3warm.get(URI)
        assert s3.requests == []
        assert s3warm.get(URI) == b"{}"  # it is no outage, and the object is well


def test_what_is_stale_is_served_within_its_bounds() -> None:
    with fake_s3({URI: b"{}"}, ttl=60, stale_if_error=100) as s3:
        s3warm.get(URI)
        s3.advance(90)
        with s3warm.deadline(0, 0):
            assert s3warm.entry(URI).stale
            assert s3warm.as_file(URI).__enter__().read_bytes() == b"{}"
            with pytest.raises(OriginUnavailableError):
                s3warm.get(URI, ttl=0)
        assert len(s3.requests) == 1
        s3.advance(100)
        with s3warm.deadline(0, 0), pytest.raises(OriginUnavailableError):
            s3warm.get(URI)
        assert not s3warm.entry(URI).stale


def test_what_is_fresh_is_served_whatever_the_time() -> None:
    with fake_s3({URI: b"{}"}):
        s3warm.get(URI)
        with s3warm.deadline(0, 0):
            assert s3warm.get(URI) == b"{}"
            assert s3warm.path(URI).read_bytes() == b"{}"


class Silence:
    """An S3 that has not answered when the callers' time is over."""

    def __init__(self, s3: FakeS3, waited: float) -> None:
        self.s3, self.waited, self.asked = s3, waited, 0

    def __call__(self, request: Request) -> None:
        self.asked += 1
        self.s3.advance(self.waited)
        raise Late("no answer", waited=self.waited)


def test_an_s3_that_is_silent_for_longer_than_it_ever_takes_is_left_in_peace(caplog: pytest.LogCaptureFixture) -> None:
    """However little time each caller has."""
    with fake_s3({URI: b"{}"}, ttl=60) as s3:
        s3warm.get(URI)
        s3.advance(60)
        silence = s3.before_answer = Silence(s3, 0.3)
        assert all(s3warm.entry(URI).stale for _ in range(4))
        assert silence.asked == 4
        assert [record.getMessage()[:36] for record in caplog.records] == ["S3 cannot be reached for bucket cfg;"]
        assert all(s3warm.entry(URI).stale for _ in range(100))
        assert silence.asked == 4
        s3.advance(1)
        s3.before_answer = None
        assert not s3warm.entry(URI).stale
        assert [record.getMessage() for record in caplog.records[1:]] == ["S3 answers again for bucket cfg"]


def test_an_answer_in_between_ends_the_silence(caplog: pytest.LogCaptureFixture) -> None:
    with fake_s3({URI: b"{}"}, ttl=60) as s3:
        s3warm.get(URI)
        for _ in range(9):
            s3.advance(60)
            s3.before_answer = Silence(s3, 0.4)
            assert s3warm.entry(URI).stale
            assert s3warm.entry(URI).stale
            s3.before_answer = None
            assert not s3warm.entry(URI).stale
        assert caplog.records == []


def test_a_body_that_had_to_be_cut_says_nothing_of_s3(caplog: pytest.LogCaptureFixture) -> None:
    with fake_s3({URI: b"{}"}, ttl=60) as s3:
        s3warm.get(URI)
        s3.advance(60)
        silence = s3.before_answer = Silence(s3, 0.0)
        assert all(s3warm.entry(URI).stale for _ in range(50))
        assert silence.asked == 50
        assert caplog.records == []


def test_a_late_leader_takes_nobody_along() -> None:
    """Those who wait for it have time: one of them asks anew."""
    entered, gate = threading.Event(), threading.Event()
    with fake_s3({URI: b"{}"}) as s3, ThreadPoolExecutor(2) as pool:

        def hold(_: object) -> None:
            entered.set()
            assert gate.wait(30)
            s3.before_answer = None

        s3.before_answer = hold

        def hurried() -> bytes:
            with s3warm.deadline(60, 0):
                return s3warm.get(URI)

        patient = pool.submit(s3warm.get, URI)
        assert entered.wait(30)
        # A follower whose own time is over before the leader's answer does not wait for it.
        with s3warm.deadline(0.02, 0), pytest.raises(OriginUnavailableError, match="was at it until the deadline") as caught:
            s3warm.get(URI)
        assert caught.value.late
        follower = pool.submit(hurried)
        gate.set()
        assert patient.result(30) == follower.result(30) == b"{}"


def test_followers_of_a_late_leader_that_had_a_copy_ask_too() -> None:
    entered, gate = threading.Event(), threading.Event()
    with fake_s3({URI: b"old"}, ttl=60) as s3, ThreadPoolExecutor(2) as pool:
        s3warm.get(URI)
        s3.advance(60)
        s3[URI] = b"new"

        def hold(_: object) -> None:
            s3.before_answer = None
            entered.set()
            assert gate.wait(30)
            raise Late("there was no time left")

        s3.before_answer = hold
        leading = pool.submit(s3warm.entry, URI)
        assert entered.wait(30)
        following = pool.submit(s3warm.entry, URI)
        flights = s3warm.default_cache()._flights._flights
        until(lambda: any(flight.done is not None for under_way in list(flights.values()) for flight in under_way))
        gate.set()
        assert leading.result(30).stale
        assert following.result(30).body == b"new"


def test_followers_of_a_late_leader_ask_for_themselves() -> None:
    from s3warm.singleflight import Flight, SingleFlight

    entered, waiting = threading.Event(), threading.Event()
    flights: SingleFlight[str] = SingleFlight()
    late = OriginUnavailableError("late")
    late.late = True

    def lead(_: Flight[str]) -> str:
        entered.set()
        assert waiting.wait(30)
        raise late

    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(flights.run, "key", lead)
        assert entered.wait(30)
        follower = pool.submit(flights.run, "key", lambda _: "asked anew")
        waiting.set()
        assert follower.result(30) == "asked anew"
        with pytest.raises(OriginUnavailableError):
            leader.result(30)


def test_the_pause_after_a_time_out_begins_with_its_end() -> None:
    """A time-out lasts for 5 s, the first pauses for 1, 2 and 4: they would be over before they began."""
    with fake_s3({URI: b"{}"}, ttl=60) as s3:
        s3warm.get(URI)
        s3.advance(60)
        asked: list[float] = []

        def time_out(_: Request) -> None:
            asked.append(s3.now)
            s3.advance(5)
            raise TransportError("no answer in time", transient=False)

        s3.before_answer = time_out
        for _ in range(200):
            assert s3warm.entry(URI).stale
            s3.advance(0.1)
        pauses = [later - earlier - 5 for earlier, later in itertools.pairwise(asked)]
        assert pauses == pytest.approx([1, 2, 4, 8], abs=0.11)
