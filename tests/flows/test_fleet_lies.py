"""A fleet whose server is swapped, in the middle of a run, for something that makes no sense: S3 answers, and the liar is left in peace."""

from __future__ import annotations

import random
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from s3warm.rules.outage import MAX_RETRY_AFTER
from tests.support.fleet_run import TRIES, FleetRun
from tests.support.tapped import Tap
from tests.support.valkey import ValkeyServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.scripted import Answer

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("needs_server")]

LARGEST = 2**20  # bytes of a body, by default


def always(answer: bytes) -> Callable[[Tap], Answer]:
    return lambda tap: lambda command, connection: connection.sendall(answer)


def noise(tap: Tap) -> Answer:
    """No line of it is of the protocol."""
    chance = random.Random(1)

    def answer(command: list[bytes], connection: socket.socket) -> None:
        line = bytes(byte for byte in chance.randbytes(200) if byte not in b"\r\n")
        connection.sendall(b"".join([b"\xff", line, b"\r\n"]))

    return answer


def of_another_command(tap: Tap) -> Answer:
    """Each gets what the real server says to something else."""
    return lambda command, connection: connection.sendall(tap.answer_of([b"CONFIG", b"GET", b"*"], connection))


def endless(tap: Tap) -> Answer:
    def answer(command: list[bytes], connection: socket.socket) -> None:
        connection.sendall(b"$%d\r\n" % 2**40)
        while True:
            connection.sendall(bytes(LARGEST))

    return answer


def drips(tap: Tap) -> Answer:
    def answer(command: list[bytes], connection: socket.socket) -> None:
        connection.sendall(b"$1000000\r\n")
        while True:
            connection.sendall(b"x")
            threading.Event().wait(0.01)

    return answer


def one_behind(tap: Tap) -> Answer:
    """Each gets what the command before it should have got."""
    before = [b"+OK\r\n"]

    def answer(command: list[bytes], connection: socket.socket) -> None:
        before.append(tap.answer_of(command, connection))
        connection.sendall(before.pop(0))

    return answer


unending = always(b"*1000000000\r\n:1\r\n")

LIES = {
    "noise": noise,
    "an unknown type": always(b"!3\r\nabc\r\n"),
    "nothing": always(b"$-1\r\n"),
    "no list": always(b"*-1\r\n"),
    "a list of nothing": always(b"*2\r\n$-1\r\n$-1\r\n"),
    "a list of strings": always(b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
    "a number": always(b":1\r\n"),
    "a word": always(b"+OK\r\n"),
    "a string": always(b"$2\r\nab\r\n"),
    "a list of numbers": always(b"*2\r\n:1\r\n:2\r\n"),
    "a log of entries without names": always(b"*1\r\n*2\r\n$1\r\na\r\n*1\r\n*2\r\n$3\r\nbad\r\n*2\r\n$1\r\ne\r\n$1\r\ne\r\n"),
    "lists in lists": always(b"*1\r\n" * 5000),
    "a list without end": unending,
    "a length that is no number": always(b"$1x\r\n"),
    "an error": always(b"-ERR out of order\r\n"),
    "of another command": of_another_command,
    "endless": endless,
    "drips": drips,
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_lies(server: ValkeyServer, tap: Tap, caplog: pytest.LogCaptureFixture, lie: Callable[[Tap], Answer]) -> None:
    with FleetRun(tap.url, timeout=0.2 if lie in (drips, unending) else 1.0) as run:
        run.ask()
        run.share()
        tap.commands.clear()
        tap.answer = lie(tap)
        run.s3.advance(1)
        run.go_through()
        assert [stats.shared_errors for stats in run.stats()] == [TRIES, TRIES]
        assert len(tap.commands) == 2 * TRIES
        end_well(tap, run)
        assert [record.levelname for record in caplog.records] == ["WARNING"] * 4
        assert [record.message for record in caplog.records[2:]] == ["the shared tier answers again"] * 2


def test_a_lie_that_suits_the_look_at_the_log(server: ValkeyServer, tap: Tap) -> None:
    with FleetRun(tap.url) as run:
        run.ask()
        run.share()
        tap.commands.clear()
        tap.answer = always(b"*0\r\n")(tap)
        run.s3.advance(1)
        run.go_through()
        assert [stats.shared_errors for stats in run.stats()] == [TRIES, TRIES]
        assert len(tap.commands) == 2 * 2 * TRIES, "that look, and what does not suit"
        end_well(tap, run)


def test_answers_that_come_one_too_late(server: ValkeyServer, tap: Tap) -> None:
    with FleetRun(tap.url) as run:
        run.ask()
        run.share()
        tap.answer = one_behind(tap)
        run.s3.advance(1)
        run.go_through()
        assert all(stats.shared_errors for stats in run.stats())
        end_well(tap, run)


def end_well(tap: Tap, run: FleetRun) -> None:
    """The real server is there again, and the tier is used."""
    tap.answer = tap.ask
    tap.drop()
    run.s3.advance(MAX_RETRY_AFTER)
    run.ask()
    run.share()
