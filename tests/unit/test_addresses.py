"""Connections by name: no look-up and no dead address takes longer than allowed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from s3warm.tiers.addresses import KEPT, Addresses

PATIENCE = 30.0
look_up = socket.getaddrinfo


class Names:
    """Name look-ups of the test's own; addresses, which need nobody to be asked, are the system's."""

    def __init__(self) -> None:
        self.ports: list[int] = []  # of 127.0.0.1, that a name stands for
        self.asked: list[str] = []
        self.answered = threading.Event()
        self.answered.set()
        self.done = threading.Semaphore(0)
        self.error: Exception | None = None

    def getaddrinfo(self, host: str, port: int, **named: Any) -> Any:
        if named.get("flags") or host == "127.0.0.1":
            return look_up(host, port, **named)
        self.asked.append(host)
        assert self.answered.wait(PATIENCE)
        try:
            if self.error is not None:
                raise self.error
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for port in self.ports]
        finally:
            self.done.release()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    return names


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return port_of(server)


def soon() -> float:
    return time.monotonic() + PATIENCE


def test_an_address_is_not_looked_up(names: Names, listening: socket.socket) -> None:
    Addresses().connected("127.0.0.1", port_of(listening), soon()).close()
    assert names.asked == []


def test_a_look_up_that_hangs_is_left_and_serves_the_next_connection(names: Names, listening: socket.socket) -> None:
    names.ports = [port_of(listening)]
    names.answered.clear()
    addresses = Addresses()
    with pytest.raises(TimeoutError, match=r"cache\.example was not looked up in time"):
        addresses.connected("cache.example", 6379, time.monotonic() + 0.05)
    names.answered.set()
    assert names.done.acquire(timeout=PATIENCE)
    while not addresses._known:  # it is put there a moment after
        threading.Event().wait(0.001)
    addresses.connected("cache.example", 6379, soon()).close()
    assert names.asked == ["cache.example"]


def test_an_address_is_kept_for_a_while(names: Names, listening: socket.socket) -> None:
    names.ports = [port_of(listening)]
    now = 1000.0
    addresses = Addresses(clock=lambda: now)
    for at, asked in ((1000.0, 1), (1000.0 + KEPT - 1, 1), (1000.0 + KEPT, 2), (1000.0, 3)):  # the last: the clock was set back
        now = at
        addresses.connected("cache.example", 6379, soon()).close()
        assert len(names.asked) == asked


def test_an_address_that_answers_no_more_is_looked_up_at_once(names: Names, listening: socket.socket) -> None:
    addresses = Addresses()
    with socket.create_server(("127.0.0.1", 0)) as before:
        names.ports = [port_of(before)]
        addresses.connected("cache.example", 6379, soon()).close()
    names.ports = [port_of(listening)]
    with addresses.connected("cache.example", 6379, soon()) as sock:
        assert sock.getpeername()[1] == port_of(listening)
    assert len(names.asked) == 2


def test_the_next_address_is_tried(names: Names, listening: socket.socket) -> None:
    names.ports = [closed_port(), port_of(listening)]
    with Addresses().connected("cache.example", 6379, soon()) as sock:
        assert sock.getpeername()[1] == port_of(listening)


def test_each_address_has_its_share_of_the_time(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []
    settimeout = socket.socket.settimeout

    def noted(self: socket.socket, seconds: float) -> None:
        shares.append(seconds)
        settimeout(self, seconds)

    monkeypatch.setattr(socket.socket, "settimeout", noted)
    names.ports = [closed_port(), closed_port(), closed_port()]
    with pytest.raises(ConnectionRefusedError):
        Addresses().connected("cache.example", 6379, time.monotonic() + 90.0)
    first, second, third = shares[-3:]
    assert first <= 30.0 < second <= 45.0 < third <= 90.0  # those before left what they did not need


@pytest.mark.parametrize("error", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")])
def test_a_name_that_nobody_knows_is_an_error_of_the_system(names: Names, error: Exception) -> None:
    names.error = error
    with pytest.raises(OSError, match=r"Name or service|cache\.example is no name"):
        Addresses().connected("cache.example", 6379, soon())


def test_a_name_without_addresses_is_an_error(names: Names) -> None:
    with pytest.raises(OSError, match="no address"):
        Addresses().connected("cache.example", 6379, soon())


def test_without_time_nothing_is_tried(names: Names, listening: socket.socket) -> None:
    with pytest.raises(TimeoutError):
        Addresses().connected("127.0.0.1", port_of(listening), time.monotonic() - 1.0)
    with pytest.raises(TimeoutError):
        Addresses().connected("cache.example", 6379, time.monotonic() - 1.0)
    assert names.asked == []
