"""Clients against real servers: passwords, TLS, a cluster, and servers that go away in the middle."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from s3warm.tiers.bounded import WHOLE
from s3warm.tiers.dialing import dial
from tests.support.authority import Authority
from tests.support.valkey import ValkeyCluster, ValkeyServer, missing

pytestmark = pytest.mark.e2e

PATIENCE = 30.0
LARGEST = 2**20
VALUE = os.urandom(LARGEST)


@pytest.fixture(autouse=True, scope="module")
def _needed() -> None:
    absent = missing()
    if absent is not None:
        pytest.skip(f"no server here: {absent}")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path) as server:
        yield server


def dialled(url: str, **bounds: float) -> Any:
    options = {"connect_timeout": PATIENCE, "timeout": PATIENCE, **bounds}
    return dial(url, largest=LARGEST, **options)


def check(client: Any) -> None:
    """It writes and reads the largest value."""
    assert client.set("key", VALUE, px=60_000) is True
    assert client.get("key") == VALUE
    assert client.eval("return redis.call('PTTL', KEYS[1])", 1, "key") > 0
    assert client.get("another") is None


def test_plain(server: ValkeyServer) -> None:
    client = dialled(server.url)
    check(client)
    client.close()
    check(client)  # it opens again
    client.close()


def test_another_database(server: ValkeyServer) -> None:
    client = dialled(f"{server.url}/5")
    check(client)
    assert server.ask("-n", "5", "EXISTS", "key").strip() == "1"
    assert server.ask("-n", "0", "EXISTS", "key").strip() == "0"
    client.close()


def test_a_password(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path, "--requirepass", "p@ss/word") as server:
        client = dialled(f"redis://:p%40ss%2Fword@127.0.0.1:{server.port}")
        check(client)
        client.close()
        for user in ("", ":wrong@"):
            client = dialled(f"redis://{user}127.0.0.1:{server.port}")
            with pytest.raises(AuthenticationError):
                client.get("key")
            client.close()


def test_a_user_of_the_servers_list(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path, *["--user", "app", "on", ">secret", "~s3warm:*", "+get", "+set"]) as server:
        client = dialled(f"redis://app:secret@127.0.0.1:{server.port}")
        assert client.set("s3warm:a", b"b") is True
        assert client.get("s3warm:a") == b"b"
        with pytest.raises(NoPermissionError):
            client.get("other")
        client.close()


def test_tls_with_an_authority_of_ones_own(tmp_path: Path, authority: Authority) -> None:
    with ValkeyServer(tmp_path, "--requirepass", "secret", tls=authority) as server:
        for host in ("127.0.0.1", "localhost"):
            client = dialled(f"rediss://:secret@{host}:{server.port}/1?ca={authority.ca}")
            check(client)
            server.ask("CLIENT", "KILL", "TYPE", "normal")
            check(client)
            client.close()


def test_tls_with_another_authority_is_refused(tmp_path: Path, authority: Authority) -> None:
    other = Authority(tmp_path / "other")
    with ValkeyServer(tmp_path, "--requirepass", "secret", tls=authority) as server:
        for query in (f"?ca={other.ca}", ""):  # without ca= the system's count
            client = dialled(f"rediss://:secret@127.0.0.1:{server.port}{query}")
            with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                client.get("key")
            client.close()
        assert "auth" not in server.ask("INFO", "commandstats").replace("cmdstat_auth:calls=1,", "")  # but this one's own


def test_tls_for_another_host_is_refused(tmp_path: Path, authority: Authority) -> None:
    with ValkeyServer(tmp_path, tls=authority) as server:
        client = dialled(f"rediss://127.0.0.2:{server.port}?ca={authority.ca}")
        with pytest.raises(RedisConnectionError):
            client.get("key")
        client.close()


def test_a_connection_that_was_closed_while_it_was_idle(server: ValkeyServer) -> None:
    client = dialled(server.url)
    check(client)
    server.ask("CLIENT", "KILL", "TYPE", "normal")
    assert client.get("key") == VALUE
    server.kill()
    server.start()  # as after a failover: empty, but there
    assert client.get("key") is None
    client.close()


def test_a_server_that_is_dead_is_an_error_at_once_and_none_when_it_is_back(server: ValkeyServer) -> None:
    client = dialled(server.url)
    check(client)
    server.kill()
    with pytest.raises(RedisConnectionError):
        client.get("key")
    server.start()
    check(client)
    client.close()


class Times:
    """What time-outs sockets are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: list[float | None] = []
        settimeout = socket.socket.settimeout

        def noted(sock: socket.socket, seconds: float | None) -> None:
            self.given.append(seconds)
            settimeout(sock, seconds)

        monkeypatch.setattr(socket.socket, "settimeout", noted)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_server_that_stops_in_the_middle(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    with ValkeyServer(tmp_path, tls=authority if tls else None) as server:
        query = f"?ca={authority.ca}" if tls else ""
        patient = dialled(server.url + query)
        check(patient)
        client = dialled(server.url + query, connect_timeout=5.0, timeout=0.2)
        assert client.get("another") is None
        server.stop()
        times = Times(monkeypatch)
        with pytest.raises(RedisTimeoutError):
            client.get("key")  # on the connection that is there
        with pytest.raises(RedisError):
            client.set("key", VALUE)  # more than the kernel takes: on a new connection, or with TLS in the handshake of one
        assert None not in times.given
        waits = [seconds or 0.0 for seconds in times.given]
        assert max(waits) <= 5.0 + 0.2
        assert [wait for wait in waits if 0.0 < wait <= 0.2]
        server.resume()
        assert patient.get("key") in (VALUE, None)
        patient.close()
        client.close()


def test_a_forked_child_and_its_parent(server: ValkeyServer) -> None:
    """In a process of its own, which has no threads."""
    program = f"""
import os
from s3warm.tiers.dialing import dial
client = dial({server.url!r}, connect_timeout=30.0, timeout=30.0, largest=2**20)
mine = client.client_id()
child = os.fork()
if not child:
    os._exit(client.client_id() == mine)
assert os.waitpid(child, 0)[1] == 0
assert client.client_id() == mine
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=PATIENCE)


def test_threads_share_a_client(server: ValkeyServer) -> None:
    client = dialled(server.url)
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(20):
            key, value = f"{number}-{turn}", os.urandom(1000)
            client.set(key, value)
            if client.get(key) != value:
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert wrong == []
    assert int(server.ask("DBSIZE")) == 16 * 20
    client.close()


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path, authority: Authority) -> Iterator[tuple[ValkeyCluster, str]]:
    tls = authority if request.param else None
    with ValkeyCluster(tmp_path, "--requirepass", "secret", tls=tls) as cluster:
        query = f"?cluster=true&ca={authority.ca}" if request.param else "?cluster=true"
        yield cluster, cluster.url.replace("://", "://:secret@") + query


def test_a_cluster(cluster: tuple[ValkeyCluster, str]) -> None:
    nodes, url = cluster
    client = dialled(url)
    keys = [f"key-{number}" for number in range(30)]
    for key in keys:
        assert client.set(key, key) is True
    assert [client.get(key) for key in keys] == [key.encode() for key in keys]
    assert [client.eval("return redis.call('GET', KEYS[1])", 1, key) for key in keys] == [key.encode() for key in keys]
    assert all(int(node.ask("DBSIZE")) > 0 for node in nodes.nodes)
    client.close()


def test_a_slot_of_a_cluster_that_has_moved(cluster: tuple[ValkeyCluster, str]) -> None:
    nodes, url = cluster
    client = dialled(url)
    assert client.set("key", "here") is True
    before = nodes.owner("key")
    after = next(node for node in nodes.nodes if node is not before)
    slot, new = before.ask("CLUSTER", "KEYSLOT", "key").strip(), after.ask("CLUSTER", "MYID").strip()
    before.ask("DEL", "key")
    for node in (after, before):
        assert node.ask("CLUSTER", "SETSLOT", slot, "NODE", new).strip() == "OK"
    assert client.get("key") is None  # by way of MOVED
    assert client.set("key", "there") is True
    assert after.ask("GET", "key").strip() == "there"
    client.close()


def test_a_node_of_a_cluster_that_is_killed(cluster: tuple[ValkeyCluster, str]) -> None:
    nodes, url = cluster
    client = dialled(url)
    keys = {id(nodes.owner(f"key-{number}")): f"key-{number}" for number in range(30)}
    lost, kept = keys[id(nodes.nodes[1])], keys[id(nodes.nodes[2])]
    for key in (lost, kept):
        assert client.set(key, key) is True
    nodes.nodes[1].kill()
    for _ in range(3):
        with pytest.raises(RedisError):
            client.get(lost)
        assert client.get(kept) == kept.encode()
    client.close()


def test_a_node_of_a_cluster_that_stops(cluster: tuple[ValkeyCluster, str], monkeypatch: pytest.MonkeyPatch) -> None:
    nodes, url = cluster
    client = dialled(url, connect_timeout=5.0, timeout=0.2)
    key = next(f"key-{number}" for number in range(30) if nodes.owner(f"key-{number}") is nodes.nodes[1])
    assert client.set(key, "value") is True
    nodes.nodes[1].stop()
    times = Times(monkeypatch)
    with pytest.raises(RedisError):
        client.get(key)
    assert None not in times.given
    assert max(seconds or 0.0 for seconds in times.given) <= 5.0 + 0.2 + WHOLE * 0.2
    assert client._line.until.at == float("inf")
    nodes.nodes[1].resume()
    client.close()
