"""Connections that are kept and used again, over real sockets, with TLS and across forks."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from s3warm.origin import connections, wire
from s3warm.origin.base import Late, TransportError
from s3warm.origin.connections import Connections
from tests.support.supplier import PATIENCE, filled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from s3warm.origin.connections import Answer
    from s3warm.origin.wire import Connection

REQUEST = b"GET /key HTTP/1.1\r\nhost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"


def body_of(answer: Answer, piece: int = 1000) -> bytes:
    body = b""
    while got := filled(answer, piece):
        body += got
    return body


class Server:
    """Accepts connections, and lets a function of the test talk on each, in a thread of its own."""

    def __init__(self, talk: Callable[[socket.socket, int], object]) -> None:
        self._talk = talk
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.accepted: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.accepted.append(connection)
                thread = threading.Thread(target=self._run, args=(connection, len(self.accepted)), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            self._talk(connection, number)

    def close(self) -> None:
        for each in (self._listening, *self.accepted):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Any]:
    servers: list[Server] = []

    def made(talk: Callable[[socket.socket, int], object]) -> Server:
        servers.append(Server(talk))
        return servers[-1]

    yield made
    for server in servers:
        server.close()


@pytest.fixture
def pool(serve: Any) -> Iterator[Connections]:
    """Closed before the servers, which wait for that."""
    made = Connections()
    yield made
    made.close()


def answering(connection: socket.socket, number: int) -> None:
    while connection.recv(4096):
        connection.sendall(OK)


def got(pool: Connections, server: Server, deadline: float | None = None) -> bytes:
    answer = pool.ask("http", "127.0.0.1", server.port, REQUEST, deadline)
    try:
        return body_of(answer)
    finally:
        answer.close()


def idle(pool: Connections) -> list[Connection]:
    return [connection for kept in pool._idle.values() for connection, _ in kept]


def test_a_connection_is_used_again(pool: Connections, serve: Any) -> None:
    server = serve(answering)
    assert [got(pool, server) for _ in range(5)] == [b"body"] * 5
    assert len(server.accepted) == 1
    assert idle(pool)[0].socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_one_that_was_used_last_is_used_first(pool: Connections, serve: Any) -> None:
    server = serve(answering)
    first, second = (pool.ask("http", "127.0.0.1", server.port, REQUEST) for _ in range(2))
    body_of(first)
    body_of(second)
    last = idle(pool)[-1]
    got(pool, server)
    assert idle(pool)[-1] is last
    assert len(server.accepted) == 2


def test_no_more_are_kept_than_allowed(serve: Any) -> None:
    server, pool = serve(answering), Connections(kept=3)
    answers = [pool.ask("http", "127.0.0.1", server.port, REQUEST) for _ in range(5)]
    assert [body_of(answer) for answer in answers] == [b"body"] * 5
    assert len(idle(pool)) == 3
    pool.close()
    assert idle(pool) == []


def test_places_are_kept_apart(pool: Connections, serve: Any) -> None:
    one, other = serve(answering), serve(answering)
    assert [got(pool, server) for server in (one, other, one, other)] == [b"body"] * 4
    assert (len(one.accepted), len(other.accepted)) == (1, 1)


def test_a_connection_that_was_closed_meanwhile_is_noticed_before_it_is_used(pool: Connections, serve: Any) -> None:
    requests: list[int] = []

    def talk(connection: socket.socket, number: int) -> None:
        requests.append(len(connection.recv(4096)))
        connection.sendall(OK)
        connection.shutdown(socket.SHUT_RDWR)

    server = serve(talk)
    assert got(pool, server) == b"body"
    (kept,) = idle(pool)
    while not connections._readable(kept.socket):
        time.sleep(0.0005)
    assert got(pool, server) == b"body"
    assert requests == [len(REQUEST)] * 2
    assert kept.socket.fileno() == -1


def test_an_answer_that_nobody_asked_for_is_read_by_nobody(pool: Connections, serve: Any) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        while connection.recv(4096):
            connection.sendall(OK)
            said.wait(PATIENCE)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    said = threading.Event()
    server = serve(talk)
    assert got(pool, server) == b"body"
    (kept,) = idle(pool)
    said.set()
    while not connections._readable(kept.socket):
        time.sleep(0.0005)
    assert got(pool, server) == b"body"
    assert len(server.accepted) == 2


def test_a_request_on_a_connection_that_dies_under_it_is_sent_once_more(pool: Connections, serve: Any) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        connection.recv(4096)
        connection.sendall(OK)
        if number == 1:
            connection.recv(4096)  # the second request, and no answer
            connection.shutdown(socket.SHUT_RDWR)
        else:
            answering(connection, number)

    server = serve(talk)
    assert [got(pool, server), got(pool, server), got(pool, server)] == [b"body"] * 3
    assert len(server.accepted) == 2


def test_it_is_not_sent_again_on_a_new_connection(pool: Connections, serve: Any) -> None:
    server = serve(lambda connection, _: connection.recv(4096) and connection.shutdown(socket.SHUT_RDWR))
    with pytest.raises(TransportError, match="closed without an answer") as caught:
        got(pool, server)
    assert caught.value.transient
    assert len(server.accepted) == 1


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\nCont", b"rubbish\r\n\r\n"])
def test_it_is_not_sent_again_after_a_byte_of_an_answer(pool: Connections, serve: Any, said: bytes) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        connection.recv(4096)
        connection.sendall(OK)
        connection.recv(4096)
        connection.sendall(said)
        connection.shutdown(socket.SHUT_RDWR)

    server = serve(talk)
    assert got(pool, server) == b"body"
    with pytest.raises(TransportError):
        got(pool, server)
    assert len(server.accepted) == 1


def test_nor_after_a_silence(pool: Connections, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        connection.recv(4096)
        connection.sendall(OK)
        connection.recv(4096)
        connection.recv(4096)

    server = serve(talk)
    assert got(pool, server) == b"body"
    monkeypatch.setattr(wire, "READ_TIMEOUT", 0.02)
    with pytest.raises(TransportError, match="no answer in time"):
        got(pool, server)
    assert len(server.accepted) == 1
    assert idle(pool) == []


def test_a_connection_that_was_idle_for_long_is_not_trusted(
    pool: Connections, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(answering)
    now = [1000.0]
    monkeypatch.setattr(connections, "time", type("Clock", (), {"time": lambda: now[0], "monotonic": time.monotonic}))
    got(pool, server)
    now[0] += connections._IDLE - 1
    got(pool, server)
    assert len(server.accepted) == 1
    now[0] += connections._IDLE  # frozen and thawed
    got(pool, server)
    assert len(server.accepted) == 2
    now[0] -= 5
    got(pool, server)
    assert len(server.accepted) == 3


def test_many_threads(pool: Connections, serve: Any) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        while request := connection.recv(4096):
            name = request.split()[1]
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name))

    server = serve(talk)
    wrong: list[object] = []

    def work(thread: int) -> None:
        try:
            for number in range(100):
                name = b"/%d/%d" % (thread, number)
                answer = pool.ask("http", "127.0.0.1", server.port, b"GET %s HTTP/1.1\r\n\r\n" % name)
                if (body := body_of(answer)) != name:
                    wrong.append((name, body))
        except BaseException as error:  # noqa: BLE001
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert wrong == []
    assert len(server.accepted) <= 8
    assert len(idle(pool)) == len(server.accepted) == pool._count


def in_child(work: Callable[[], object]) -> None:
    """Runs the work in a forked child; fails if it does."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            work()
            said = b"well"
        except BaseException as error:  # noqa: BLE001
            said = repr(error).encode()
        os.write(writing, said)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        said = file.read()
    os.waitpid(pid, 0)
    assert said == b"well"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_leaves_its_parents_connections_alone(pool: Connections, serve: Any) -> None:
    server = serve(answering)
    got(pool, server)
    under_way = pool.ask("http", "127.0.0.1", server.port, REQUEST)
    pool._lock.acquire()  # another thread of the parent holds it at that moment

    def child() -> None:
        assert got(pool, server) == b"body"
        assert got(pool, server) == b"body"
        with pytest.raises(TransportError, match="the parent process's"):
            filled(under_way, 9)
        under_way.close()
        assert len(idle(pool)) == 1

    try:
        in_child(child)
    finally:
        pool._lock.release()
    assert len(server.accepted) == 2  # the parent's, and the child's one
    assert body_of(under_way) == b"body"
    assert got(pool, server) == b"body"
    assert len(server.accepted) == 2


REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n%b\r\ndenied"
LARGE = 32 * 2**20  # bytes: more than both sides of a loopback connection hold


def put(pool: Connections, server: Server, size: int, scheme: str = "http") -> Answer:
    head = b"PUT /key HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % size
    return pool.ask(scheme, "127.0.0.1", server.port, head, body=bytes(size))


@pytest.mark.parametrize("connection", [b"", b"connection: close\r\n"])
def test_a_body_that_is_refused_before_it_was_read_has_its_answer(pool: Connections, serve: Any, connection: bytes) -> None:
    def talk(accepted: socket.socket, number: int) -> None:
        accepted.recv(4096)
        accepted.sendall(REFUSED % connection)
        accepted.close()

    server = serve(talk)
    answer = put(pool, server, LARGE)
    assert (answer.status, body_of(answer)) == (403, b"denied")
    assert idle(pool) == []  # the rest of the body would be taken for a request
    assert len(server.accepted) == 1


def test_one_that_is_read_to_its_end_leaves_the_connection_of_use(pool: Connections, serve: Any) -> None:
    def talk(accepted: socket.socket, number: int) -> None:
        left = LARGE
        while b"\r\n\r\n" not in (head := accepted.recv(4096)):
            pass
        left -= len(head.partition(b"\r\n\r\n")[2])
        while left:
            left -= len(accepted.recv(min(left, 2**20)))
        accepted.sendall(REFUSED % b"")
        answering(accepted, number)

    server = serve(talk)
    assert body_of(put(pool, server, LARGE)) == b"denied"
    assert got(pool, server) == b"body"
    assert len(server.accepted) == 1


def test_one_that_is_cut_off_without_an_answer_has_none(pool: Connections, serve: Any) -> None:
    def talk(accepted: socket.socket, number: int) -> None:
        accepted.recv(4096)
        accepted.close()

    with pytest.raises(TransportError, match=r"no answer|without an answer"):
        put(pool, serve(talk), LARGE)


def test_what_is_accepted_before_all_of_it_was_sent_is_no_success(pool: Connections, serve: Any) -> None:
    def talk(accepted: socket.socket, number: int) -> None:
        accepted.recv(4096)
        accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        accepted.close()

    with pytest.raises(TransportError, match="accepted before all of it was sent"):
        put(pool, serve(talk), LARGE)


def test_nobody_listens(pool: Connections) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(TransportError, match="refused") as caught:
        pool.ask("http", "127.0.0.1", port, REQUEST)
    assert (caught.value.transient, caught.value.outage) == (True, True)


@pytest.mark.parametrize("deadline", [None, 60.0])
def test_a_name_that_nobody_knows(pool: Connections, monkeypatch: pytest.MonkeyPatch, deadline: float | None) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(TransportError, match=r"b\.example is not found") as caught:
        pool.ask("http", "b.example", 80, REQUEST, deadline and time.monotonic() + deadline)
    assert (caught.value.transient, caught.value.outage) == (True, True)


def test_a_look_up_does_not_outlast_the_deadline(pool: Connections, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server, answered, real = serve(answering), threading.Event(), socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **more: (answered.wait(PATIENCE), real(*given, **more))[1])
    began = time.monotonic()
    with pytest.raises(Late):
        pool.ask("http", "localhost", server.port, REQUEST, began + 0.05)
    assert time.monotonic() - began < PATIENCE / 2
    answered.set()
    waiting = [thread for thread in threading.enumerate() if thread.name == "s3warm-request"]
    for thread in waiting:
        thread.join(PATIENCE)
    # It looked up in vain: there was no time left to connect.
    assert idle(pool) == []


def test_what_connects_too_late_is_of_use_to_the_next(pool: Connections, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server, release, real = serve(answering), threading.Event(), connections._connected

    def slow(*given: Any) -> Any:
        connected = real(*given)
        release.wait(PATIENCE)
        return connected

    monkeypatch.setattr(connections, "_connected", slow)
    with pytest.raises(Late):
        pool.ask("http", "localhost", server.port, REQUEST, time.monotonic() + 0.05)
    release.set()
    for thread in [thread for thread in threading.enumerate() if thread.name == "s3warm-request"]:
        thread.join(PATIENCE)
    answer = pool.ask("http", "localhost", server.port, REQUEST)
    assert body_of(answer) == b"body"
    assert len(server.accepted) == 1


@pytest.mark.parametrize("deadline", [None, 0.05])
def test_a_connection_that_does_not_come_about(
    pool: Connections, monkeypatch: pytest.MonkeyPatch, deadline: float | None
) -> None:
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT", 0.05)
    with socket.socket() as listening, contextlib.ExitStack() as stack:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(3):  # its queue is full: further ones are dropped
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        port = listening.getsockname()[1]
        with pytest.raises(TransportError, match=r"no connection to 127\.0\.0\.1 in") as caught:
            pool.ask("http", "127.0.0.1", port, REQUEST, deadline and time.monotonic() + deadline)
    assert not caught.value.transient
    assert isinstance(caught.value, Late) is (deadline is not None)


def test_nothing_is_sent_when_the_time_is_over(pool: Connections, serve: Any) -> None:
    server = serve(answering)
    with pytest.raises(Late, match="no time left to ask S3"):
        got(pool, server, time.monotonic())
    assert server.accepted == []


# -- TLS -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For `localhost` and for 127.0.0.1, signed by itself, with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "s3warm test")])
    now = dt.datetime.now(dt.UTC)
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@pytest.fixture
def secured(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Makes what talks in the clear talk over TLS; the certificate is trusted by what the system trusts in the tests' place."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("SSL_CERT_DIR", str(certificate.parent))
    monkeypatch.setattr(connections, "_tls", None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def over_tls(talk: Callable[[Any, int], object]) -> Callable[[socket.socket, int], object]:
        def run(connection: socket.socket, number: int) -> None:
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as safe:
                talk(safe, number)

        return run

    return over_tls


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("deadline", [None, 60.0])
def test_over_tls(pool: Connections, serve: Any, secured: Any, host: str, deadline: float | None) -> None:
    big = bytes(range(256)) * 4000

    def talk(connection: Any, number: int) -> None:
        while connection.recv(4096):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(big) + big)

    server = serve(secured(talk))
    for _ in range(3):
        answer = pool.ask("https", host, server.port, REQUEST, deadline and time.monotonic() + deadline)
        assert body_of(answer, 100_000) == big
    assert len(server.accepted) == 1


def test_a_certificate_for_another_host_is_refused(
    pool: Connections, serve: Any, secured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, real = serve(secured(answering)), socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *given, **more: real("127.0.0.1", *given, **more))
    with pytest.raises(TransportError, match=r"Hostname mismatch|not valid for"):
        pool.ask("https", "b.s3.example", server.port, REQUEST)


def test_a_certificate_that_nobody_vouches_for_is_refused(
    pool: Connections, serve: Any, secured: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = serve(secured(answering))
    monkeypatch.setattr(connections, "_tls", ssl.create_default_context(capath=str(tmp_path)))
    with pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED"):
        pool.ask("https", "localhost", server.port, REQUEST)


def test_an_end_without_tls_is_no_end_of_a_body(pool: Connections, serve: Any, secured: Any) -> None:
    """Whoever sits in between could cut off a body that lasts until the end of the connection (RFC 9112, section 9.8)."""

    def talk(connection: Any, number: int) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nbody")
        socket.socket.shutdown(connection, socket.SHUT_WR)
        connection.recv(1)

    server = serve(secured(talk))
    answer = pool.ask("https", "localhost", server.port, REQUEST)
    with pytest.raises(TransportError, match="the body broke off"):
        body_of(answer)
    answer.close()


def test_a_handshake_that_does_not_come_about(
    pool: Connections, serve: Any, secured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT", 0.05)
    server = serve(lambda connection, _: [connection.recv(4096) for _ in range(2)])
    with pytest.raises(TransportError, match="no connection to localhost in time") as caught:
        pool.ask("https", "localhost", server.port, REQUEST)
    assert not caught.value.transient
    assert "VPC" in caught.value.advice


def test_the_systems_certificates_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_tls", None)
    context = connections.tls_context()
    assert connections.tls_context() is context
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("folder", [None, "", "empty", "missing"])
def test_without_any_botocores_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str | None) -> None:
    tmp_path.joinpath("empty").mkdir()
    place = str(tmp_path / folder) if folder else folder
    monkeypatch.setattr(connections, "_tls", None)
    monkeypatch.setattr(ssl, "create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    nowhere = ssl.DefaultVerifyPaths(None, place, "", "", "", "")  # type: ignore[arg-type]
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nowhere)
    assert connections.tls_context().cert_store_stats()["x509_ca"] > 50


@pytest.mark.parametrize("missing", ["", *connections._AMAZON])
def test_a_folder_of_certificates_is_not_read_as_a_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setattr(connections, "_tls", None)
    paths = ssl.DefaultVerifyPaths(None, str(tmp_path), "", "", "", "")  # type: ignore[arg-type]
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    for name in connections._AMAZON:
        if name != missing:
            tmp_path.joinpath(name).touch()
    asked: list[Any] = []

    def create(**given: Any) -> ssl.SSLContext:
        asked.append(given)
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    monkeypatch.setattr(ssl, "create_default_context", create)
    connections.tls_context()
    assert asked == [{} if missing else {"capath": str(tmp_path)}]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="OpenSSL's command names the files")
def test_a_folder_of_certificates_vouches(
    pool: Connections, serve: Any, secured: Any, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(secured(answering))
    monkeypatch.delenv("SSL_CERT_FILE")
    folder = certificate.parent / "folder"
    folder.mkdir()
    hashed = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", certificate], capture_output=True, text=True, check=True
    ).stdout.strip()
    for name in (*connections._AMAZON, f"{hashed}.0"):
        folder.joinpath(name).write_bytes(certificate.read_bytes().split(b"-----BEGIN PRIVATE")[0])
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    answer = pool.ask("https", "localhost", server.port, REQUEST)
    assert body_of(answer) == b"body"
    assert connections.tls_context().cert_store_stats()["x509_ca"] == 1  # the one that was needed
