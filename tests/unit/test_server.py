"""The server behind the shared tier: no error goes through, and who fails is left in peace."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from redis import exceptions

from s3warm.tiers.server import MISFIT, UNANSWERED, Misfit, Server, Unanswered


class Client:
    """Answers, or raises, what the test says."""

    def __init__(self) -> None:
        self.says: list[Any] = []
        self.asked = self.closed = 0

    def ask(self) -> Any:
        self.asked += 1
        said = self.says.pop(0) if self.says else "well"
        if isinstance(said, BaseException):
            raise said
        return said

    def close(self) -> None:
        self.closed += 1


class Parts:
    """A server over such clients, on a clock of the test's."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.clients: list[Client] = []
        self.told: list[tuple[str, str | None]] = []
        self.server = Server(self.dial, Client.close, clock=lambda: self.now, failed=self.failed)

    def dial(self) -> Client:
        self.clients.append(Client())
        return self.clients[-1]

    def failed(self, kind: str, error: Exception | None) -> None:
        self.told.append((kind, None if error is None else type(error).__name__))

    def says(self, *answers: Any) -> None:
        self.server.read(Client.ask)
        self.clients[-1].says += answers


def test_nothing_is_dialled_before_the_first_command() -> None:
    parts = Parts()
    assert parts.clients == []
    assert parts.server.read(Client.ask) == parts.server.write(Client.ask) == "well"
    assert len(parts.clients) == 1


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectionError("refused"),
        exceptions.TimeoutError("slow"),
        exceptions.AuthenticationError("wrong password"),
        exceptions.BusyLoadingError("loading"),
        exceptions.InvalidResponse("garbage"),
        exceptions.ResponseError("NOPERM"),
        OSError("no route"),
        ValueError("not enough values to unpack"),
        MemoryError(),
        RecursionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_read_that_fails_is_no_answer_and_the_server_is_left_in_peace(error: Exception) -> None:
    parts = Parts()
    parts.says(error)
    assert parts.server.read(Client.ask) is UNANSWERED
    assert parts.server.read(Client.ask) is parts.server.write(Client.ask) is UNANSWERED
    assert parts.clients[0].asked == 2
    assert parts.told == [("answer", type(error).__name__)]
    parts.now += 1
    assert parts.server.read(Client.ask) == "well"
    assert parts.told[1:] == [("answer", None)]


@pytest.mark.parametrize(
    "said", ["OOM command not allowed when used memory > 'maxmemory'.", "READONLY You can't write", "NOPERM"]
)
def test_a_server_that_takes_no_writes_is_read(said: str) -> None:
    parts = Parts()
    parts.says(exceptions.ResponseError(said))
    assert parts.server.write(Client.ask) is UNANSWERED
    assert parts.server.write(Client.ask) is UNANSWERED
    assert parts.server.read(Client.ask) == "well"
    assert parts.clients[0].asked == 3, "the second write was not sent"
    assert parts.told == [("write", "ResponseError")]
    parts.now += 1
    assert parts.server.write(Client.ask) == "well"
    assert parts.told[1:] == [("write", None)]


@pytest.mark.parametrize("error", [exceptions.OutOfMemoryError("OOM"), exceptions.ReadOnlyError("READONLY")])
def test_the_kinds_of_refusals_that_a_client_knows_are_refusals(error: Exception) -> None:
    parts = Parts()
    parts.says(error)
    assert parts.server.write(Client.ask) is UNANSWERED
    assert parts.server.read(Client.ask) == "well"


def test_reads_that_are_answered_do_not_have_writes_tried_again() -> None:
    parts = Parts()
    parts.says(exceptions.TimeoutError())
    assert parts.server.write(Client.ask) is UNANSWERED
    parts.now += 1
    parts.says(exceptions.TimeoutError())
    assert parts.server.write(Client.ask) is UNANSWERED
    parts.now += 2
    assert parts.server.read(Client.ask) == "well"
    parts.says(exceptions.TimeoutError())
    assert parts.server.write(Client.ask) is UNANSWERED
    parts.now += 1
    assert parts.server.read(Client.ask) is UNANSWERED, "it goes on with 4 s"
    parts.now += 3
    assert parts.server.read(Client.ask) == "well"
    assert parts.server.write(Client.ask) == "well"


def test_a_write_without_an_answer_closes_reads_as_well() -> None:
    parts = Parts()
    parts.says(exceptions.TimeoutError())
    assert parts.server.write(Client.ask) is UNANSWERED
    assert parts.server.read(Client.ask) is UNANSWERED


@pytest.mark.parametrize("method", ["read", "write"])
def test_a_key_of_another_type_is_nothing_against_the_server(method: str) -> None:
    parts = Parts()
    parts.says(exceptions.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"))
    assert getattr(parts.server, method)(Client.ask) is MISFIT
    assert getattr(parts.server, method)(Client.ask) == "well"
    assert parts.told == []


def test_neither_is_true_and_both_are_unanswered() -> None:
    assert not UNANSWERED
    assert not MISFIT
    assert isinstance(MISFIT, Misfit)
    assert isinstance(MISFIT, Unanswered)
    assert not isinstance(UNANSWERED, Misfit)
    assert repr(UNANSWERED) == "<unanswered>"


def test_what_cannot_be_dialled_does_not_answer() -> None:
    def dial() -> Any:
        raise ConnectionRefusedError

    told: list[str] = []
    server = Server(dial, Client.close, clock=lambda: 0.0, failed=lambda kind, _: told.append(kind))
    assert server.read(Client.ask) is server.read(Client.ask) is UNANSWERED
    assert told == ["answer"]


def test_an_interruption_goes_through() -> None:
    parts = Parts()
    parts.says(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        parts.server.read(Client.ask)


def test_suspended_it_holds_no_connection_and_dials_anew() -> None:
    parts = Parts()
    parts.server.suspend()
    parts.server.read(Client.ask)
    parts.server.suspend()
    assert parts.clients[0].closed == 1
    assert parts.server.read(Client.ask) == "well"
    assert len(parts.clients) == 2


def test_a_client_that_cannot_be_closed_is_let_go() -> None:
    parts = Parts()
    parts.server.read(Client.ask)
    parts.clients[0].closed = None  # type: ignore[assignment]  # a TypeError
    parts.server.suspend()
    assert parts.told == [("close", "TypeError")]
    assert parts.server.read(Client.ask) == "well"


def test_closed_it_is_asked_nothing() -> None:
    parts = Parts()
    parts.server.read(Client.ask)
    parts.server.close()
    assert parts.server.read(Client.ask) is parts.server.write(Client.ask) is UNANSWERED
    assert (len(parts.clients), parts.clients[0].closed, parts.told) == (1, 1, [])


def test_closed_while_it_was_dialled_it_holds_no_connection() -> None:
    clients: list[Client] = []

    def dial() -> Client:
        server.close()  # another thread
        clients.append(Client())
        return clients[-1]

    server = Server(dial, Client.close, clock=lambda: 0.0, failed=lambda *_: None)
    server.read(Client.ask)
    assert [client.closed for client in clients] == [1]


def test_a_forked_child_dials_for_itself_and_closes_nothing_of_its_parents() -> None:
    parts = Parts()
    parts.says(exceptions.TimeoutError())
    parts.server.read(Client.ask)
    parts.server._dialling.acquire()
    parts.server.renew()
    assert parts.server.read(Client.ask) == "well"
    assert (len(parts.clients), parts.clients[0].closed) == (2, 0)


def test_many_threads_dial_once() -> None:
    parts, start = Parts(), threading.Barrier(8)

    def work() -> None:
        start.wait()
        parts.server.read(Client.ask)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [client.asked for client in parts.clients] == [8]
