"""HTTP/1.1 over real sockets: heads, bodies, and the time that they may take."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from s3warm.origin import wire
from s3warm.origin.base import Late, TransportError
from s3warm.origin.connections import Answer
from s3warm.origin.wire import Connection
from tests.support.supplier import PATIENCE, filled

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST = b"GET /key HTTP/1.1\r\nhost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"


class Peer:
    """A connection, and the other end of it, which the test is."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.theirs.settimeout(PATIENCE)
        self.connection = Connection(ours)
        self.returned: list[bool] = []  # whether the connection was of use again

    def asked(self, *said: bytes, close: bool = False, deadline: float | None = None) -> Answer:
        """The answer to a request, when all of this has been said."""
        for piece in said:
            self.theirs.sendall(piece)
        if close:
            self.theirs.shutdown(socket.SHUT_WR)
        status, headers = self.connection.ask(REQUEST, deadline)
        return Answer(status, headers, self.connection, lambda connection: self.returned.append(connection.reusable))

    def asked_meanwhile(self, *said: bytes, close: bool = False) -> Answer:
        """The same, each piece said when the one before has been received."""

        def say() -> None:
            with contextlib.suppress(OSError, ValueError):  # the test has seen enough
                for piece in said:
                    self.theirs.sendall(piece)
                    while not drained(self.theirs):
                        time.sleep(0.0005)
                if close:
                    self.theirs.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=say)
        thread.start()
        try:
            return self.asked()
        finally:
            self.talking = thread

    def close(self) -> None:
        self.connection.close()
        self.theirs.close()


def drained(sending: socket.socket) -> bool:
    import fcntl
    import struct
    import termios

    waiting: int = struct.unpack("i", fcntl.ioctl(sending, termios.TIOCOUTQ, bytes(4)))[0]
    return waiting == 0


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


def body_of(answer: Answer, piece: int = 1000) -> bytes:
    body = b""
    while got := filled(answer, piece):
        body += got
    return body


# -- heads -----------------------------------------------------------------------------------------------------------------------


def test_what_is_sent_is_what_was_given(peer: Peer) -> None:
    peer.asked(OK)
    assert peer.theirs.recv(4096) == REQUEST


@pytest.mark.parametrize(
    ("head", "status", "headers"),
    [
        (b'HTTP/1.1 304 Not Modified\r\nETag: "e"\r\n\r\n', 304, {"etag": '"e"'}),
        (b"HTTP/1.1 304\r\n\r\n", 304, {}),
        (b"HTTP/1.1 304 \r\n\r\n", 304, {}),
        (b"HTTP/1.0 304 Not Modified\r\n\r\n", 304, {}),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: y\r\n\r\nHTTP/1.1 304 z\r\nA: b\r\n\r\n", 304, {"a": "b"}),
        (b"HTTP/1.1 304 x\r\nA:b\r\nC:\t d \t\r\nE:\r\nF: g: h\r\n\r\n", 304, {"a": "b", "c": "d", "e": "", "f": "g: h"}),
        (b"HTTP/1.1 304 x\r\nVary: a\r\nvary: b\r\nVARY: c\r\n\r\n", 304, {"vary": "a, b, c"}),
        (b"HTTP/1.1 304 x\r\nA: b\r\n  c\r\n\td \r\nE: f\r\n\r\n", 304, {"a": "b c d", "e": "f"}),
        (b"HTTP/1.1 304 x\r\nA:\r\n b\r\n\r\n", 304, {"a": "b"}),
        (b"HTTP/1.1 304 x\r\nX-Amz-Meta-A: \xe9\xff\r\n\r\n", 304, {"x-amz-meta-a": "éÿ"}),
        (b"HTTP/1.1 304 x\r\nContent-Length: 1024\r\n\r\n", 304, {"content-length": "1024"}),
        (b"HTTP/1.1 200 x\r\nContent-Length: 0, 0\r\n\r\n", 200, {"content-length": "0"}),
        (b"HTTP/1.1 204 x\r\n\r\n", 204, {}),
    ],
    ids=repr,
)
@pytest.mark.parametrize("in_pieces", [False, True])
def test_heads(peer: Peer, in_pieces: bool, head: bytes, status: int, headers: dict[str, str]) -> None:
    answer = peer.asked_meanwhile(*[head[at : at + 1] for at in range(len(head))]) if in_pieces else peer.asked(head)
    assert (answer.status, answer.headers) == (status, headers)
    assert filled(answer, 9) == b""
    assert peer.returned == [head[7:8] == b"1"]
    if in_pieces:
        peer.talking.join(PATIENCE)


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"HTTP/2 200 OK\r\n\r\n", "it begins with"),
        (b"HTTP/1.2 200 OK\r\n\r\n", "it begins with"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "it begins with"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "it begins with"),
        (b"HTTP/1.1 2\xb20 OK\r\n\r\n", "it begins with"),
        (b"HTTP/1.1  200 OK\r\n\r\n", "it begins with"),
        (b"HTTP/1.1 099 OK\r\n\r\n", "its status"),
        (b"HTTP/1.1 600 OK\r\n\r\n", "its status"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "switches"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "it begins with"),
        (b"\r\n\r\n", "it begins with"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "is no header"),
        (b"HTTP/1.1 200 OK\r\n: x\r\n\r\n", "is no header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n", "is no header"),
        (b"HTTP/1.1 200 OK\r\n Content-Length: 5\r\n\r\n", "is no header"),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n", "stray"),
        (b"HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n", "stray"),
        (b"HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n", "stray"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5_0\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1%s\r\n\r\n" % (b"0" * 30), "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding"),
        (b"HTTP/1.1 200 OK\r\nA: %s\r\n\r\n" % (b"x" * 70_000), "longer than 65,536"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 4_000, "longer than 65,536"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_no_head(peer: Peer, head: bytes, why: str) -> None:
    with pytest.raises(TransportError, match=why):
        peer.asked(head)
    assert peer.connection.answered  # so it is not sent again


def test_a_head_that_is_long(peer: Peer) -> None:
    long = b"x" * 60_000
    answer = peer.asked(b"HTTP/1.1 200 OK\r\nA: %s\r\nContent-Length: 4\r\n\r\nbody" % long)
    assert (answer.headers["a"], body_of(answer)) == ("x" * 60_000, b"body")
    assert body_of(peer.asked(OK)) == b"body"


@pytest.mark.parametrize(("said", "answered"), [(b"", False), (b"HTTP/1.1 200 OK\r\nA", True)])
def test_an_end_in_the_place_of_a_head(peer: Peer, said: bytes, answered: bool) -> None:
    with pytest.raises(TransportError, match="the connection was closed") as caught:
        peer.asked(said, close=True)
    assert caught.value.transient
    assert peer.connection.answered is answered


# -- bodies ----------------------------------------------------------------------------------------------------------------------


BODY = bytes(range(256)) * 300  # more than the connection's own buffer


def chunked(body: bytes, size: int, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    coded = b"".join(b"%X%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)
    return coded + b"0\r\n" + trailers + b"\r\n"


@pytest.mark.parametrize(
    ("head", "sent", "kept"),
    [
        (b"Content-Length: 76800", BODY, True),
        (b"Content-Length: 76800\r\nConnection: keep-alive", BODY, True),
        (b"Content-Length: 76800\r\nConnection: x, Close", BODY, False),
        (b"Transfer-Encoding: chunked", chunked(BODY, 70_000), True),
        (b"Transfer-Encoding: Chunked", chunked(BODY, 1000, b' ; a="b"', b"X: y\r\nZ: w\r\n"), True),
        (b"Transfer-Encoding: chunked", chunked(BODY, 1), True),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5", chunked(BODY, 16_384), False),
        (b"X: y", BODY, False),
    ],
    ids=lambda value: repr(value)[:60],
)
@pytest.mark.parametrize("size", [7_000, 100_000])
def test_bodies(peer: Peer, size: int, head: bytes, sent: bytes, kept: bool) -> None:
    answer = peer.asked_meanwhile(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n" % head, sent, close=b"X:" in head)
    assert body_of(answer, size) == BODY
    assert filled(answer, 9) == b""
    assert peer.returned == [kept]
    assert "content-length" not in answer.headers or b"chunked" not in head
    peer.talking.join(PATIENCE)


def test_version_1_0_ends_with_its_answer(peer: Peer) -> None:
    answer = peer.asked(OK.replace(b"1.1", b"1.0", 1))
    assert body_of(answer) == b"body"
    assert peer.returned == [False]


def test_a_body_goes_straight_into_the_buffer(peer: Peer) -> None:
    """What comes after the head is received with `recv_into` on the caller's own memory, as much as there is."""

    class Spy:
        def __init__(self, real: socket.socket) -> None:
            self.real, self.into = real, list[tuple[Any, int]]()

        def recv_into(self, buffer: memoryview) -> int:
            self.into.append((buffer.obj, len(buffer)))
            return self.real.recv_into(buffer)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

    spy = peer.connection.socket = Spy(peer.connection.socket)  # type: ignore[assignment]
    answer = peer.asked(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    spy.into.clear()
    mine = bytearray(9000)
    peer.theirs.sendall(b"x" * 3000)
    with memoryview(mine) as buffer:
        assert answer.readinto(buffer[10:]) == 3000
    assert spy.into[0][0] is mine
    assert spy.into == [(mine, 5000)]  # no more than belongs to the body
    assert mine[:3010] == bytes(10) + b"x" * 3000


def test_an_errors_traceback_keeps_no_buffer(peer: Peer) -> None:
    answer = peer.asked(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", close=True)
    mine = bytearray(100)
    with pytest.raises(TransportError) as caught, memoryview(mine) as buffer, buffer[:50] as piece:
        answer.readinto(piece)
    mine.extend(b"x")  # which nobody can who looks into it still
    assert caught.value.__traceback__


@pytest.mark.parametrize(
    ("said", "got"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbod", b"bod"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbod", b"bod"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n", b"bod"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n0\r\nX: y", b"bod"),
    ],
)
def test_a_body_that_breaks_may_be_gone_on_with(peer: Peer, said: bytes, got: bytes) -> None:
    answer = peer.asked(said, close=True)
    assert filled(answer, 9) == got
    for _ in range(2):  # and it does not end by being asked again
        with pytest.raises(TransportError, match="the body broke off") as caught:
            filled(answer, 9)
        assert caught.value.transient
    answer.close()
    assert peer.returned == [False]


@pytest.mark.parametrize(
    ("coded", "why"),
    [
        (b"x\r\n", "the size of a chunk"),
        (b"\r\n", "the size of a chunk"),
        (b"-1\r\n", "the size of a chunk"),
        (b"+1\r\n", "the size of a chunk"),
        (b"0x1\r\n", "the size of a chunk"),
        (b"1_0\r\n", "the size of a chunk"),
        (b"1" * 16 + b"\r\n", "the size of a chunk"),
        (b"3\r\nbody\r\n0\r\n\r\n", "longer than it says"),
        (b"1;" + b"x" * 20_000, "has no end"),
        (b"0\r\n" + b"A: b\r\n" * 20_000, "have no end"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_chunk(peer: Peer, coded: bytes, why: str) -> None:
    answer = peer.asked_meanwhile(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", coded)
    for _ in range(2):  # what comes after it is not to be trusted either
        with pytest.raises(TransportError, match=why):
            body_of(answer)
    answer.close()
    assert peer.returned == [False]
    peer.close()
    peer.talking.join(PATIENCE)


def test_what_comes_after_a_body_belongs_to_nobody(peer: Peer) -> None:
    answer = peer.asked(OK + b"HTTP/1.1 200 OK\r\n")
    assert body_of(answer) == b"body"
    assert peer.returned == [False]


@pytest.mark.parametrize(
    ("unread", "length", "kept"),
    [(b"dy", 4, True), (b"x" * 60_000, 60_002, True), (b"x" * 100_000, 100_002, False), (b"d", 4, False)],
)
def test_what_little_is_left_is_drained(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, unread: bytes, length: int, kept: bool
) -> None:
    monkeypatch.setattr(wire, "_DRAIN", PATIENCE if kept else 0.02)
    answer = peer.asked_meanwhile(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length, b"bo", unread)
    assert filled(answer, 2) == b"bo"
    answer.close()
    answer.close()
    assert peer.returned == [kept]
    peer.close()
    peer.talking.join(PATIENCE)


# -- time ------------------------------------------------------------------------------------------------------------------------


def test_silence_is_not_worth_a_repeat(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "READ_TIMEOUT", 0.02)
    with pytest.raises(TransportError, match="no answer in time") as caught:
        peer.asked()
    assert not caught.value.transient
    assert not isinstance(caught.value, Late)


def test_a_deadline_ends_the_wait_for_a_head(peer: Peer) -> None:
    with pytest.raises(Late, match=r"no answer in the 0\.0\d+ s that were left") as caught:
        peer.asked(deadline=time.monotonic() + 0.02)
    assert caught.value.waited == pytest.approx(0.02, abs=0.01)


def test_a_deadline_ends_the_wait_for_a_body(peer: Peer) -> None:
    answer = peer.asked(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbod", deadline=time.monotonic() + 0.05)
    assert filled(answer, 9) == b"bod"
    with pytest.raises(Late, match="no time left for the rest"):
        filled(answer, 9)
    began = time.monotonic()
    answer.close()
    assert time.monotonic() - began < PATIENCE / 10
    assert peer.returned == [False]


def test_the_deadline_is_that_of_who_reads(peer: Peer) -> None:
    """A stream may be read in another invocation than it was opened in."""
    over = time.monotonic()
    answer = peer.asked(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", deadline=over + PATIENCE)
    assert answer.deadline == over + PATIENCE
    answer.deadline = over
    peer.theirs.sendall(b"body")
    with pytest.raises(Late, match="no time left for the rest") as caught:
        filled(answer, 9)
    assert caught.value.waited == 0.0
    answer.deadline = None
    assert filled(answer, 9) == b"body"
    answer.deadline = time.monotonic() + 0.02
    with pytest.raises(Late) as caught:
        filled(answer, 9)
    assert caught.value.waited == pytest.approx(0.02, abs=0.01)


def test_a_body_may_be_silent_for_a_while(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "READ_TIMEOUT", 0.02)
    answer = peer.asked(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    with pytest.raises(TransportError, match="the body broke off") as caught:
        filled(answer, 9)
    assert caught.value.transient
    assert not isinstance(caught.value, Late)


@pytest.mark.parametrize("with_deadline", [False, True])
def test_a_trickle_is_no_way_past_it(peer: Peer, monkeypatch: pytest.MonkeyPatch, with_deadline: bool) -> None:
    """Each byte of a head comes in time, the head does not."""
    if not with_deadline:
        monkeypatch.setattr(wire, "READ_TIMEOUT", 0.05)
    over = threading.Event()

    def trickle() -> None:
        with contextlib.suppress(OSError):
            peer.theirs.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not over.wait(0.005):
                peer.theirs.sendall(b"x")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        with pytest.raises(TransportError, match="no answer in") as caught:
            peer.asked(deadline=time.monotonic() + 0.05 if with_deadline else None)
        assert isinstance(caught.value, Late) is with_deadline
    finally:
        over.set()
        thread.join(PATIENCE)


def test_setting_the_time_out_is_a_system_call_that_is_made_once(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []
    real = peer.connection.socket

    class Spy:
        def settimeout(self, seconds: float) -> None:
            calls.append(seconds)
            real.settimeout(seconds)

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    peer.connection.socket = Spy()  # type: ignore[assignment]
    for deadline in (None, None, time.monotonic() + 60, None):
        body_of(peer.asked(OK, deadline=deadline))
    assert calls == [wire.READ_TIMEOUT]
