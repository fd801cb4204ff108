"""An answer is over in time and fits into memory: a socket and a clock of the test's own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from s3warm.tiers.bounded import MARGIN, WHOLE, BoundedSocket, TooLargeError, Until

TIMEOUT = 2.0
LARGEST = 1000

Read = Callable[[BoundedSocket, int], int]


def by_recv(sock: BoundedSocket, size: int) -> int:
    return len(sock.recv(size))


def by_recv_into(sock: BoundedSocket, size: int) -> int:
    return sock.recv_into(bytearray(size))


def again_and_again(*steps: Callable[[], object]) -> None:
    for _ in range(100):
        for step in steps:
            step()


both = pytest.mark.parametrize("read", [by_recv, by_recv_into])


class Wire:
    """A socket whose server needs `pace` seconds of the clock for each read, however much is wanted."""

    def __init__(self, pace: float = 0.0, each: int | None = None) -> None:
        self.now = 100.0
        self.pace = pace
        self.each = each  # bytes that come with a read; None: as many as are wanted
        self.timeouts: list[float] = []
        self.sent = b""

    def settimeout(self, seconds: float) -> None:
        self.timeouts.append(seconds)

    def send(self, data: memoryview) -> int:
        self._wait()
        taken = bytes(data[: self.each])
        self.sent += taken
        return len(taken)

    def recv(self, size: int) -> bytes:
        self._wait()
        return bytes(size if self.each is None else min(size, self.each))

    def recv_into(self, buffer: Any, size: int = 0) -> int:
        return len(self.recv(size or len(buffer)))

    def fileno(self) -> int:
        return 7

    def _wait(self) -> None:
        if self.pace > self.timeouts[-1]:
            self.now += self.timeouts[-1]
            raise TimeoutError
        self.now += self.pace


def bounded(wire: Wire, *, deadline: float = 103.0, until: Until | None = None) -> BoundedSocket:
    sock: Any = wire
    return BoundedSocket(
        sock, timeout=TIMEOUT, largest=LARGEST, deadline=deadline, until=until or Until(), clock=lambda: wire.now
    )


def settled(wire: Wire, **options: Any) -> BoundedSocket:
    sock = bounded(wire, **options)
    sock.settle()
    return sock


@both
def test_an_answer_that_drips_ends_after_five_time_outs(read: Read) -> None:
    wire = Wire(pace=1.5, each=1)
    sock = settled(wire)
    wire.now = 200.0
    sock.sendall(b"x")
    with pytest.raises(TimeoutError):
        again_and_again(lambda: read(sock, 10))
    assert wire.now == 200.0 + WHOLE * TIMEOUT
    assert max(wire.timeouts) == TIMEOUT


@both
def test_an_answer_that_does_not_begin_ends_after_one_time_out(read: Read) -> None:
    wire = Wire()
    sock = settled(wire)
    sock.sendall(b"x")
    wire.pace = 5.0
    with pytest.raises(TimeoutError):
        read(sock, 10)
    assert wire.now == 100.0 + TIMEOUT


@both
def test_each_command_has_its_own_time(read: Read) -> None:
    wire = Wire(pace=1.9, each=10)
    sock = settled(wire)
    for _ in range(20):
        sock.sendall(b"x")
        assert read(sock, 10) == 10
    assert wire.now == pytest.approx(100.0 + 20 * 2 * 1.9)


def test_what_is_sent_in_parts_is_one_command() -> None:
    wire = Wire(pace=1.5)
    sock = settled(wire)
    with pytest.raises(TimeoutError):
        again_and_again(lambda: sock.sendall(b"a part of a value"))
    assert wire.now == 100.0 + WHOLE * TIMEOUT


def test_a_server_that_takes_a_value_in_drips_is_left() -> None:
    wire = Wire(pace=1.5, each=1)
    with pytest.raises(TimeoutError):
        settled(wire).sendall(bytes(100))
    assert wire.now == 100.0 + WHOLE * TIMEOUT
    assert len(wire.sent) == 6


def test_all_of_what_is_sent_is_sent() -> None:
    wire = Wire(each=3)
    settled(wire).sendall(b"0123456789")
    assert wire.sent == b"0123456789"


@both
def test_the_handshake_has_one_deadline_for_all_of_it(read: Read) -> None:
    wire = Wire(pace=0.5, each=1)
    sock = bounded(wire, deadline=103.0)
    with pytest.raises(TimeoutError):
        again_and_again(lambda: sock.sendall(b"x"), lambda: read(sock, 10))
    assert wire.now == 103.0


@both
def test_a_call_of_many_steps_ends_by_the_bound_of_its_thread(read: Read) -> None:
    until = Until()
    wire = Wire(pace=0.4)
    sock = settled(wire, until=until)
    until.at = 101.0
    with pytest.raises(TimeoutError):
        again_and_again(lambda: sock.sendall(b"x"), lambda: read(sock, 10))
    assert wire.now == 101.0
    seen: list[float] = []
    thread = threading.Thread(target=lambda: seen.append(until.at))
    thread.start()
    thread.join()
    assert seen == [float("inf")]  # the bound is that thread's own


@both
def test_an_answer_that_is_too_large_is_cut(read: Read) -> None:
    sock = settled(Wire())
    sock.sendall(b"x")
    assert read(sock, LARGEST) == LARGEST
    assert read(sock, MARGIN) == MARGIN
    with pytest.raises(TooLargeError, match=f"more than {LARGEST + MARGIN} bytes"):
        read(sock, 1)


@both
def test_the_next_answer_may_be_as_large_again(read: Read) -> None:
    sock = settled(Wire())
    for _ in range(3):
        sock.sendall(b"x")
        assert read(sock, LARGEST + MARGIN) == LARGEST + MARGIN


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_look_that_does_not_wait_is_the_sockets_own(pair: tuple[socket.socket, socket.socket]) -> None:
    sock = BoundedSocket(pair[0], timeout=TIMEOUT, largest=LARGEST, deadline=0.0, until=Until())
    sock.settimeout(0)
    with pytest.raises(BlockingIOError):
        sock.recv(10)
    with pytest.raises(BlockingIOError):
        sock.recv_into(bytearray(10))
    pair[1].sendall(b"abc")
    assert sock.recv(1, socket.MSG_PEEK) == b"a"
    assert sock.recv(10) == b"abc"
    sock.settimeout(TIMEOUT)
    with pytest.raises(TimeoutError, match="no time left"):
        sock.recv(10)


def test_the_rest_is_the_sockets_own(pair: tuple[socket.socket, socket.socket]) -> None:
    sock = BoundedSocket(pair[0], timeout=TIMEOUT, largest=LARGEST, deadline=0.0, until=Until())
    assert sock.fileno() == pair[0].fileno()
    assert not hasattr(sock, "pending")  # which tells redis-py whether it is TLS
    sock.shutdown(socket.SHUT_RDWR)
    assert pair[1].recv(1) == b""


def test_hiredis_reads_from_it(pair: tuple[socket.socket, socket.socket]) -> None:
    hiredis = pytest.importorskip("hiredis", reason="hiredis is not installed")
    sock = BoundedSocket(pair[0], timeout=30.0, largest=LARGEST, deadline=0.0, until=Until())
    sock.settle()
    sock.sendall(b"*1\r\n$4\r\nPING\r\n")
    pair[1].sendall(b"$5\r\nhello\r\n")
    reader, buffer = hiredis.Reader(), bytearray(100)
    reader.feed(buffer, 0, sock.recv_into(buffer))
    assert reader.gets() == b"hello"
