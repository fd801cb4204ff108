"""Real Valkey or Redis servers for end-to-end tests: alone, with TLS, and as a cluster of three.

Every server is a process of the test's own on a free port of the loopback, and keeps nothing on disk. What is installed is Debian's package
of tools, which holds the server's program as well (`redis-check-rdb` is the same file) but no service that starts with the machine. `missing`
says, in words fit for `pytest.skip`, what keeps it from running here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tests.support import debian

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.authority import Authority

PACKAGES = ("redis-tools",)
START_SECONDS = 30.0

_SERVERS = ("valkey-server", "valkey-check-rdb", "redis-server", "redis-check-rdb")  # it acts by the name that it is called by
_CLIENTS = ("valkey-cli", "redis-cli")
_READY = "Ready to accept connections"
_TAKEN = "Address already in use"
_TRIES = 5


def missing() -> str | None:
    """What a server lacks on this machine, or None if it can run."""
    if _first(_SERVERS) is None or _first(_CLIENTS) is None:
        return "neither valkey-server and valkey-cli nor redis-server and redis-cli installed"
    return None


def install() -> None:
    """Install the server's program from the distribution's packages, unless nothing is missing; takes root and apt-get."""
    lacking = missing()
    if lacking is not None:
        debian.install(PACKAGES, lacking)


class ValkeyServer:
    """One server on a free port of 127.0.0.1, ready when the constructor returns.

    Args:
        directory: where it keeps its log, one for each server.
        options: further arguments of its command line, such as `"--requirepass", "secret"`.
        tls: whose certificate it shows; without it, it speaks plainly. Certificates of clients are not asked for.

    Attributes:
        port: the one that it listens on.
        url: how it is reached, without user and password: `redis://127.0.0.1:6379`, or `rediss://...`.
        pid: its process.

    Raises:
        RuntimeError: it did not start, with the tail of its log.
    """

    def __init__(self, directory: str | os.PathLike[str], *options: str, tls: Authority | None = None) -> None:
        self._root = Path(directory).resolve()
        self._root.mkdir(parents=True, exist_ok=True)
        self._log = self._root / "server.log"
        self._options = options
        self._tls = tls
        self._secret = options[options.index("--requirepass") + 1] if "--requirepass" in options else ""
        for attempt in range(_TRIES):
            self.port = free_port()
            try:
                self._process = self._started()
                break
            except _PortTakenError:  # by another program, since it was found free
                if attempt == _TRIES - 1:
                    raise
        self.url = f"{'redis' if tls is None else 'rediss'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """End it at once: its connections are reset or closed, and its port refuses. A stopped one dies as well."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    close = kill  # there is nothing that would have to be saved

    def start(self) -> None:
        """Start it again after `kill`, on the same port and empty.

        Raises:
            RuntimeError: another program has the port by now, or it did not start.
        """
        self.kill()
        self._process = self._started()

    def stop(self) -> None:
        """Freeze it: the kernel still takes connections and bytes for it, but nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        with open(f"/proc/{self.pid}/stat") as file:  # the signal takes effect a moment after it was sent
            while file.read().rpartition(")")[2].split()[0] != "T":
                file.seek(0)

    def resume(self) -> None:
        """Let it go on after `stop`."""
        os.kill(self.pid, signal.SIGCONT)

    def ask(self, *command: str) -> str:
        """What the server's own command-line client prints for a command, as the default user.

        Raises:
            RuntimeError: the client failed; an error as the server's answer is printed text like any other.
        """
        return _cli("-p", str(self.port), *self.credentials(), *command)

    def credentials(self) -> list[str]:
        """Arguments for the command-line client: what it needs to be let in."""
        tls = [] if self._tls is None else ["--tls", "--cacert", str(self._tls.ca)]
        return [*tls, "--no-auth-warning", "-a", self._secret] if self._secret else tls

    def _started(self) -> subprocess.Popen[bytes]:
        program = _first(_SERVERS)
        if program is None:
            raise RuntimeError(f"no server can be started: {missing()}")
        acts_as = "valkey-server" if "valkey" in program else "redis-server"
        port = ["--port", str(self.port)]
        if self._tls is not None:
            port = ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            port += ["--tls-ca-cert-file", str(self._tls.ca)]
            port += ["--tls-cert-file", str(self._tls.certificate), "--tls-key-file", str(self._tls.key)]
        kept = ["--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", "", "--dir", str(self._root)]
        command = [acts_as, *port, "--bind", "127.0.0.1", *kept, *self._options]
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                command, executable=program, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            _await(lambda: self._is_ready(process), "its first words", self._said)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return process

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        said = self._log.read_text(errors="replace")
        if process.poll() is not None:
            kind = _PortTakenError if _TAKEN in said else RuntimeError
            raise kind(f"the server ended with status {process.returncode}; the last it wrote:\n{self._said()}")
        return _READY in said

    def _said(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])


class ValkeyCluster:
    """A cluster of three primaries without replicas, which share the 16,384 slots: ready when the constructor returns.

    Args:
        directory: each node has a directory below it.
        options: as those of `ValkeyServer`, for each node.
        tls: as there.

    Attributes:
        nodes: the servers, in the order of their slots.
        url: how the first of them is reached.

    Raises:
        RuntimeError: it did not come together, with what the nodes wrote.
    """

    def __init__(self, directory: str | os.PathLike[str], *options: str, tls: Authority | None = None) -> None:
        self.nodes: list[ValkeyServer] = []
        try:
            for number in range(3):
                self.nodes.append(self._node(Path(directory) / f"node-{number}", options, tls))
            addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
            _cli("--cluster", "create", *addresses, "--cluster-yes", *self.nodes[0].credentials())
            for node in self.nodes:
                _await(lambda node=node: "cluster_state:ok" in node.ask("CLUSTER", "INFO"), "the cluster", node._said)  # type: ignore[misc]
        except BaseException:
            self.close()
            raise
        self.url = self.nodes[0].url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill all nodes."""
        for node in self.nodes:
            node.close()

    def owner(self, key: str) -> ValkeyServer:
        """The node that answers for a key; asked of the first that is alive."""
        alive = next(node for node in self.nodes if node._process.poll() is None)
        slot = int(alive.ask("CLUSTER", "KEYSLOT", key))
        # Each node's line: id, address@bus, flags, primary, ping, pong, epoch, state, slots.
        for line in alive.ask("CLUSTER", "NODES").splitlines():
            words = line.split()
            for first, _, last in (each.partition("-") for each in words[8:]):
                if int(first) <= slot <= int(last or first):
                    port = int(words[1].partition("@")[0].rpartition(":")[2])
                    return next(node for node in self.nodes if node.port == port)
        raise RuntimeError(f"no node has slot {slot}")

    @staticmethod
    def _node(root: Path, options: tuple[str, ...], tls: Authority | None) -> ValkeyServer:
        clustered = [
            *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"),
            *("--cluster-port", str(free_port())),  # by default the port + 10,000, which may be none
            *("--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no"),
            *(("--tls-cluster", "yes") if tls is not None else ()),
        ]
        return ValkeyServer(root, *clustered, *options, tls=tls)


class _PortTakenError(RuntimeError):
    """The port was free a moment ago."""


def free_port() -> int:
    """A port of the loopback that was free just now: the server cannot be told to choose and report one."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as sock:
        return int(sock.getsockname()[1])


def _first(names: tuple[str, ...]) -> str | None:
    """The path of the first of these programs that is installed."""
    return next((path for path in map(shutil.which, names) if path is not None), None)


def _cli(*arguments: str) -> str:
    program = _first(_CLIENTS)
    assert program is not None, missing()
    done = subprocess.run(
        [program, "-h", "127.0.0.1", *arguments], capture_output=True, text=True, timeout=START_SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{Path(program).name} failed: {done.stdout}{done.stderr}")
    return done.stdout


def _await(is_there: Callable[[], bool], what: str, said: Callable[[], str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_there():
        if time.monotonic() > deadline:
            raise RuntimeError(f"no end of waiting for {what} within {START_SECONDS:.0f} s; the server wrote:\n{said()}")
        threading.Event().wait(0.01)


if __name__ == "__main__":
    try:
        install()
    except RuntimeError as error:
        print(f"{error}; the tests that need it are skipped")
