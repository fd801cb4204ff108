"""Clients against a scripted server: how little they say, what they do not repeat, and how they end with a server that lies."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from s3warm.errors import ConfigurationError
from s3warm.tiers import clients, iam
from s3warm.tiers.bounded import MARGIN, WHOLE, BoundedSocket, TooLargeError
from s3warm.tiers.dialing import Place, dial, parse
from tests.support.scripted import PATIENCE, ScriptedServer, ok

LARGEST = 64 * 1024
SECRET = "hunter2"


def dialled(where: str | Place, **bounds: float) -> Any:
    options = {"connect_timeout": PATIENCE, "timeout": PATIENCE, **bounds}
    return dial(where, largest=LARGEST, **options)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


def caused(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


@pytest.mark.parametrize(
    ("user", "db", "said"),
    [
        ("", "", []),
        (f":{SECRET}@", "", [[b"AUTH", b"hunter2"]]),
        (f"app:{SECRET}@", "", [[b"AUTH", b"app", b"hunter2"]]),
        (f"app:{SECRET}@", "/2", [[b"AUTH", b"app", b"hunter2"], [b"SELECT", b"2"]]),
        ("app@", "", [[b"AUTH", b"app", b""]]),
    ],
)
def test_a_new_connection_says_no_more_than_it_must(
    server: ScriptedServer, user: str, db: str, said: list[list[bytes]]
) -> None:
    client = dialled(f"redis://{user}127.0.0.1:{server.port}{db}")
    assert server.connections == 0  # nothing before the first command
    assert client.get("a") is None
    assert client.get("b") is None
    assert [command for _, command in server.commands] == [*said, [b"GET", b"a"], [b"GET", b"b"]]
    assert server.connections == 1
    client.close()


def slots(server: ScriptedServer) -> bytes:
    host, port = b"127.0.0.1", str(server.port).encode()
    return b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$%d\r\n%s\r\n:%s\r\n" % (len(host), host, port)


def as_cluster(server: ScriptedServer) -> None:
    def answer(command: list[bytes], connection: socket.socket) -> None:
        if command[0] == b"CLUSTER":
            connection.sendall(slots(server))
        elif command[0] == b"INFO":  # 5.0 wants to know whether it is one
            connection.sendall(b"$17\r\ncluster_enabled:1\r\n")
        else:
            ok(command, connection)

    server.answer = answer


def test_a_cluster_is_asked_for_its_slots_and_nothing_else(server: ScriptedServer) -> None:
    as_cluster(server)
    client = dialled(f"redis://:{SECRET}@127.0.0.1:{server.port}?cluster=true")
    assert server.connections == 0
    assert client.get("a") is None
    assert client.eval("return 1", 1, "a") == b"OK"
    assert client.set("a", "b") is True
    names = [name for name in server.names() if name not in (b"AUTH", b"INFO")]
    assert names == [b"CLUSTER", b"GET", b"EVAL", b"SET"]
    client.close()
    assert client.get("a") is None  # another command connects again
    client.close()


@pytest.mark.parametrize("cluster", ["", "?cluster=true"])
def test_nothing_is_repeated(server: ScriptedServer, cluster: str) -> None:
    as_cluster(server)
    before = server.answer

    def answer(command: list[bytes], connection: socket.socket) -> None:
        if command[0] == b"GET":
            connection.shutdown(socket.SHUT_RDWR)
        else:
            before(command, connection)

    server.answer = answer
    client = dialled(server.url + cluster)
    with pytest.raises(RedisConnectionError):
        client.get("a")
    assert server.names().count(b"GET") == 1
    client.close()


@pytest.mark.parametrize("said", [b"-CLUSTERDOWN The cluster is down\r\n", b"-TRYAGAIN Multiple keys request\r\n"])
def test_a_cluster_in_trouble_is_not_waited_for(server: ScriptedServer, said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    as_cluster(server)
    before = server.answer
    server.answer = lambda command, connection: (
        connection.sendall(said) if command[0] == b"GET" else before(command, connection)
    )
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    client = dialled(f"{server.url}?cluster=true")
    with pytest.raises(ResponseError):
        client.get("a")
    assert server.names().count(b"GET") == 1
    assert slept == []
    client.close()


def test_a_cluster_that_sends_from_here_to_there_has_one_bound_for_all_of_it(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_cluster(server)
    before = server.answer
    moved = f"-MOVED 15495 127.0.0.1:{server.port}\r\n".encode()
    server.answer = lambda command, connection: (
        connection.sendall(moved) if command[0] == b"GET" else before(command, connection)
    )
    client = dialled(f"{server.url}?cluster=true")
    ends: list[float] = []
    sendall = BoundedSocket.sendall

    def noted(sock: BoundedSocket, data: Any) -> None:
        ends.append(client._line.until.at - time.monotonic())
        sendall(sock, data)

    monkeypatch.setattr(BoundedSocket, "sendall", noted)
    with pytest.raises(RedisError):
        client.get("a")
    assert len(ends) > 10
    assert sorted(ends, reverse=True) == ends  # no step begins the time anew
    assert ends[0] <= PATIENCE + PATIENCE + WHOLE * PATIENCE
    assert client._line.until.at == float("inf")
    client.close()


def test_a_cluster_without_a_node_is_an_error_of_the_connection_and_begins_anew(server: ScriptedServer) -> None:
    server.answer = lambda _, connection: connection.sendall(b"-ERR This instance has cluster support disabled\r\n")
    client = dialled(f"redis://:{SECRET}@127.0.0.1:{server.port}?cluster=true")
    with pytest.raises(RedisConnectionError, match="no node of the cluster") as error:
        client.get("a")
    assert all(SECRET not in str(each) for each in caused(error.value))
    as_cluster(server)
    assert client.get("a") is None
    client.close()


LIES: dict[str, bytes] = {
    "a length that is no number": b"$abc\r\n",
    "a list of lists": b"*1\r\n" * 16_000,
    "a list that would take 3 GB": b"*400000000\r\n$abc\r\n",
    "no type": b"hello\r\n",
    "bytes of nowhere": b"\xff\xfe\r\n",
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_an_answer_that_makes_no_sense_is_an_error_and_the_connection_is_dropped(server: ScriptedServer, lie: bytes) -> None:
    server.answer = lambda _, connection: connection.sendall(lie)
    client = dialled(server.url)
    with pytest.raises(RedisError):
        client.get("a")
    server.was_left()
    server.answer = ok
    assert client.get("b") is None
    assert server.connections == 2
    client.close()


def test_an_answer_that_is_too_large_is_cut(server: ScriptedServer) -> None:
    sent = 0

    def answer(command: list[bytes], connection: socket.socket) -> None:
        nonlocal sent
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.sendall(b"$536870912\r\n")
        for _ in range(512 * 256):
            sent += connection.send(bytes(2048))

    server.answer = answer
    client = dialled(server.url)
    with pytest.raises(RedisConnectionError) as error:
        client.get("a")
    assert any(isinstance(each, TooLargeError) for each in caused(error.value))
    server.was_left()
    assert sent < 64 * 2**20  # and not 512: what was cut, and what the kernel had taken already
    client.close()


def test_the_largest_value_fits(server: ScriptedServer) -> None:
    server.answer = lambda _, connection: connection.sendall(b"$%d\r\n%s\r\n" % (LARGEST, b"x" * LARGEST))
    client = dialled(server.url)
    assert client.get("a") == b"x" * LARGEST
    assert client.get("a") == b"x" * LARGEST
    assert server.connections == 1
    client.close()


def test_a_connection_that_was_closed_while_it_was_idle_costs_no_error(server: ScriptedServer) -> None:
    client = dialled(server.url)
    assert client.get("a") is None
    server.hang_up()
    server.was_left()
    assert client.get("b") is None
    assert server.names() == [b"GET", b"GET"]
    assert server.connections == 2
    client.close()


def test_what_came_unasked_is_not_taken_for_an_answer(server: ScriptedServer) -> None:
    def answer(command: list[bytes], connection: socket.socket) -> None:
        connection.sendall(b"$1\r\na\r\n$5\r\nwrong\r\n" if command[1] == b"a" else b"$1\r\nb\r\n")

    server.answer = answer
    client = dialled(server.url)
    assert client.get("a") == b"a"
    assert client.get("b") == b"b"
    assert server.connections == 2
    client.close()


def test_a_server_that_greets_costs_one_connection(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that has too many clients does: its word is the answer, and no second connection is tried."""
    greeted = threading.Event()
    connected = BoundedSocket.__init__

    def late(self: BoundedSocket, sock: socket.socket, **options: Any) -> None:
        assert sock.recv(1, socket.MSG_PEEK) == b"-"
        greeted.set()
        connected(self, sock, **options)

    monkeypatch.setattr(BoundedSocket, "__init__", late)
    serve = server._serve

    def greeting(connection: socket.socket, number: int) -> None:
        connection.sendall(b"-ERR max number of clients reached\r\n")
        serve(connection, number)

    monkeypatch.setattr(server, "_serve", greeting)
    client = dialled(server.url)
    with pytest.raises(RedisError, match="max number of clients"):
        client.get("a")
    assert greeted.is_set()
    assert server.connections == 1
    client.close()


def test_a_forked_child_has_connections_of_its_own(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    as_cluster(server)
    for where in (server.url, f"{server.url}?cluster=true"):
        client = dialled(where)
        assert client.get("a") is None
        used = {number for number, _ in server.commands}
        server.commands.clear()
        child = os.getpid() + 1
        with monkeypatch.context() as patched:
            patched.setattr(os, "getpid", lambda child=child: child)
            assert client.get("b") is None
            assert used.isdisjoint(number for number, _ in server.commands)
            client.close()


def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_cluster(server)
    client = dialled(f"{server.url}?cluster=true", timeout=0.05, connect_timeout=0.05)
    assert client._beginning.acquire()  # a thread is at it, which the child does not have
    with pytest.raises(RedisTimeoutError, match="another thread"):
        client.get("a")
    with monkeypatch.context() as patched:
        child = os.getpid() + 1
        patched.setattr(os, "getpid", lambda: child)
        client._line.bounds = client._line.bounds._replace(timeout=PATIENCE, connect_timeout=PATIENCE)
        client._whole = PATIENCE
        assert client.get("a") is None
        client.close()


def test_answers_are_read_by_the_parser_in_python(server: ScriptedServer) -> None:
    """Also where hiredis is installed, and where the cluster's client brings a parser of its own."""

    class Another(redis._parsers.BaseParser):  # type: ignore[misc]
        EXCEPTION_CLASSES = {"MOVED": ValueError}  # noqa: RUF012

        def __init__(self, socket_read_size: int) -> None:
            raise AssertionError

    connection = dialled(server.url).connection_pool.make_connection()
    connection.set_parser(Another)
    assert isinstance(connection._parser, redis._parsers._RESP2Parser)
    assert {"MOVED": ValueError} == connection._parser.EXCEPTION_CLASSES


class Times:
    """What time-outs sockets are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: list[float | None] = []
        settimeout = socket.socket.settimeout

        def noted(sock: socket.socket, seconds: float | None) -> None:
            if threading.current_thread() is threading.main_thread():
                self.given.append(seconds)
            settimeout(sock, seconds)

        monkeypatch.setattr(socket.socket, "settimeout", noted)

    def largest(self) -> float:
        assert None not in self.given
        return max(seconds or 0.0 for seconds in self.given)


SILENCE: list[tuple[str, Callable[[list[bytes], socket.socket], None]]] = [
    ("redis://127.0.0.1:{}", lambda command, connection: None),
    ("redis://:hunter2@127.0.0.1:{}", lambda command, connection: None),
    ("redis://:hunter2@127.0.0.1:{}", lambda command, connection: connection.sendall(b"+O")),
    ("redis://127.0.0.1:{}?cluster=true", lambda command, connection: None),
]


@pytest.mark.parametrize(("url", "answer"), SILENCE, ids=["command", "AUTH", "half of AUTH", "cluster"])
def test_a_silent_server_is_waited_for_no_longer_than_allowed(
    url: str, answer: Callable[[list[bytes], socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = Times(monkeypatch)
    with ScriptedServer(answer) as server:
        client = dialled(url.format(server.port), connect_timeout=0.1, timeout=0.05)
        with pytest.raises((RedisTimeoutError, RedisConnectionError)) as error:
            client.get("a")
        assert any(isinstance(each, TimeoutError) for each in caused(error.value))
        assert 0.0 < times.largest() <= 0.1 + 0.05
        assert server.connections == 1
        client.close()


def test_a_tls_handshake_without_an_answer_is_waited_for_no_longer_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    times = Times(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = dialled(f"rediss://127.0.0.1:{listening.getsockname()[1]}", connect_timeout=0.1, timeout=0.05)
        with pytest.raises(RedisTimeoutError):
            client.get("a")
    assert 0.1 < times.largest() <= 0.1 + 0.05
    client.close()


def test_a_pool_without_a_free_connection_is_waited_for_no_longer_than_for_an_answer(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "CONNECTIONS", 1)
    client = dialled(server.url, timeout=0.05)
    pool = client.connection_pool
    assert pool.timeout == 0.05
    taken = pool.get_connection("GET") if redis.__version__.startswith("5.0") else pool.get_connection()
    with pytest.raises(RedisConnectionError, match="No connection available"):
        client.get("a")
    pool.release(taken)
    assert client.get("a") is None
    client.close()


def test_the_pool_has_a_bound(server: ScriptedServer) -> None:
    client = dialled(server.url)
    assert client.connection_pool.max_connections == clients.CONNECTIONS == 64
    client.close()


def test_a_password_is_nowhere_to_be_seen(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.answer = lambda _, connection: connection.sendall(b"-WRONGPASS invalid username-password pair\r\n")
    client = dialled(f"redis://app:{SECRET}@127.0.0.1:{server.port}")
    with pytest.raises(AuthenticationError) as error:
        client.get("a")
    connection = client.connection_pool.make_connection()
    shown = f"{client!r} {client.connection_pool!r} {connection!r} {connection.credential_provider!r} {vars(connection.line)!r}"
    assert SECRET not in shown + caplog.text + "".join(str(each) for each in caused(error.value))
    client.close()


@pytest.mark.parametrize("cluster", ["", "?cluster=true"])
def test_a_password_that_the_server_quotes_is_nowhere_to_be_seen(server: ScriptedServer, cluster: str) -> None:
    def quoting(command: list[bytes], connection: socket.socket) -> None:
        words = b" ".join(b"'%s'" % word for word in command[1:])
        connection.sendall(b"-ERR unknown command '%s', with args beginning with: %s\r\n" % (command[0], words))

    server.answer = quoting
    client = dialled(f"redis://app:{SECRET}@127.0.0.1:{server.port}{cluster}")
    with pytest.raises(RedisConnectionError) as error:
        client.get("a")
    assert SECRET not in "".join(str(each) for each in caused(error.value))
    client.close()


def test_a_token_is_asked_for_each_connection(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Login:
        asked = 0

        def get_credentials(self, deadline: float | None = None) -> tuple[str, str]:
            assert deadline is not None
            self.asked += 1
            return "app", f"token-{self.asked}"

    login = Login()
    monkeypatch.setattr(iam, "login_of", lambda place: login)
    client = dialled(parse(f"rediss://app@127.0.0.1:{server.port}?iam=c")._replace(tls=False))
    assert client.get("a") is None
    server.hang_up()  # as AWS does after twelve hours
    server.was_left()
    assert client.get("b") is None
    logins = [command for _, command in server.commands if command[0] == b"AUTH"]
    assert logins == [[b"AUTH", b"app", b"token-1"], [b"AUTH", b"app", b"token-2"]]
    client.close()


def test_without_credentials_there_is_no_connection(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    client = dialled(parse(f"rediss://app@127.0.0.1:{server.port}?iam=c")._replace(tls=False))
    with pytest.raises(RedisConnectionError, match=r"no credentials .* give the function a role"):
        client.get("a")
    assert server.connections == 0
    client.close()


def test_without_redis_py_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "s3warm.tiers.clients")
    monkeypatch.delattr("s3warm.tiers.clients")
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match=r"^shared_url needs redis-py: pip install 's3warm\[shared\]'$"):
        dialled("redis://127.0.0.1")


def test_a_file_of_certificates_that_is_none_is_refused_before_anything_is_connected(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "nothing.pem"):
        with pytest.raises(ConfigurationError, match=rf"ca='.*{name}' of shared_url is no file of certificates"):
            dialled(f"rediss://127.0.0.1?ca={tmp_path / name}")


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="begin with one of redis://"):
        dialled("http://127.0.0.1")


def test_bounds_hold_together() -> None:
    """What the README promises: five time-outs for an answer, and 64 KiB beside the largest value."""
    assert (WHOLE, MARGIN) == (5, 65536)
