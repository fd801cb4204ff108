"""A real S3 server for end-to-end tests: Ceph's RADOS gateway over a one-node, in-memory cluster.

moto accepts any signature and answers from one Python process; the gateway checks SigV4, has a real object store
behind it and its own opinion on edge cases. It takes Debian's Ceph packages, which `install` fetches; `missing`
says, in words fit for `pytest.skip`, what keeps it from running here.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import debian

PACKAGES = ("radosgw", "ceph-mon", "ceph-osd", "ceph-common")
BINARIES = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
START_SECONDS = 60.0

# The lines that are not obvious, and what happens without them:
#   ms_mon_client_mode: radosgw insists on an encrypted link to the monitor, which auth "none" cannot give; it hangs.
#   paxos_*: each change of the cluster map waits for a second, and a start-up makes nine of them.
#   osd_*_update_on_start: the OSD places itself, races with its own start and dies; `ceph osd crush add` does it.
#   *_size, *_pg_num, chooseleaf: one OSD would not be enough for a placement group to become active.
#   tcp_nodelay: small GETs stall for 44 ms on a delayed acknowledgement.
#   public_addr: the OSD, which asks nobody who they are, listens on every address of the machine.
_CONF = """\
[global]
fsid = {fsid}
mon_host = v2:127.0.0.1:{mon_port}
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_bind_msgr1 = false
ms_mon_client_mode = crc
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
mon_data = {root}/mon
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
osd_data = {root}/osd
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_crush_chooseleaf_type = 0
osd_class_update_on_start = false
osd_crush_update_on_start = false
rgw_data = {root}/rgw
rgw_frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
run_dir = {root}
crash_dir = {root}
admin_socket =
log_file =
log_to_stderr = true
debug_mon = 0/0
debug_osd = 0/0
debug_rgw = 0/0
debug_rocksdb = 0/0

[osd]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
"""


def missing() -> str | None:
    """What the gateway lacks on this machine, or None if it can run."""
    absent = [name for name in BINARIES if shutil.which(name) is None]
    return f"Ceph's {', '.join(absent)} not installed" if absent else None


def install() -> None:
    """Install Ceph from the distribution's packages, unless nothing is missing; takes root and apt-get."""
    lacking = missing()
    if lacking is None:
        return
    debian.install(PACKAGES, lacking)


class RadosGateway:
    """One monitor, one in-memory OSD and one gateway with one user, all on the loopback and under `directory`.

    It is ready when the constructor returns. A start-up that fails, or that is not through after `START_SECONDS`,
    raises with the tail of what the daemons wrote.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._root = Path(directory).resolve()
        for name in ("osd", "rgw"):
            (self._root / name).mkdir(parents=True, exist_ok=True)
        mon_port, port = _free_ports(2)
        self.address = ("127.0.0.1", port)
        self.endpoint = f"http://127.0.0.1:{port}"
        self.access_key = secrets.token_hex(10).upper()
        self.secret_key = secrets.token_hex(20)
        self._fsid = str(uuid.uuid4())
        self._conf = self._root / "ceph.conf"
        self._conf.write_text(_CONF.format(fsid=self._fsid, mon_port=mon_port, port=port, root=self._root))
        self._log = self._root / "ceph.log"
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._deadline = time.monotonic() + START_SECONDS
        try:
            self._start(f"[v2:127.0.0.1:{mon_port}]")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill the daemons; the data was in their memory, so there is nothing to shut down in order."""
        while self._daemons:
            _kill(self._daemons.popitem()[1])

    def _start(self, mon_address: str) -> None:
        monmap = str(self._root / "monmap")
        self._run("monmaptool", "--create", "--fsid", self._fsid, "--addv", "a", mon_address, monmap)
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap)
        self._daemon("ceph-mon", "-i", "a", "-f")
        self._run("ceph", "osd", "create")  # like every client of the monitor, it waits until there is one
        self._run("ceph", "osd", "crush", "add", "osd.0", "1.0", "host=node", "root=default")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--no-mon-config")
        self._daemon("ceph-osd", "-i", "0", "-f")
        keys = ("--access-key", self.access_key, "--secret-key", self.secret_key)
        self._run("radosgw-admin", "user", "create", "--uid=tester", "--display-name=tester", *keys)
        self._daemon("radosgw", "-n", "client.rgw", "-f")
        while not self._answers():
            self._check("the gateway's first answer")
            threading.Event().wait(0.02)

    def _daemon(self, name: str, *options: str) -> None:
        self._daemons[name] = self._spawn(name, *options)

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command in a process group of its own, which is how it is killed."""
        configured = command if command[0] == "monmaptool" else (*command, "--conf", str(self._conf))
        with self._log.open("ab") as log:
            return subprocess.Popen(
                configured, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._root, start_new_session=True
            )

    def _run(self, *command: str) -> None:
        """Run a command to its end, or until a daemon that it depends on dies or time is up."""
        process = self._spawn(*command)
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    if process.wait(timeout=0.5) == 0:
                        return
                    raise self._failure(f"{' '.join(command[:3])} failed with status {process.returncode}")
                self._check(" ".join(command[:3]))
        finally:
            _kill(process)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(*self.address, timeout=1.0)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/")
            return connection.getresponse().status == http.HTTPStatus.OK
        return False

    def _check(self, awaited: str) -> None:
        """Raise if there is no point in waiting any longer for what is `awaited`."""
        for name, daemon in self._daemons.items():
            if daemon.poll() is not None:
                raise self._failure(f"{name} died with status {daemon.returncode} before {awaited}")
        if time.monotonic() > self._deadline:
            raise self._failure(f"no end of {awaited} within {START_SECONDS:.0f} s")

    def _failure(self, what: str) -> RuntimeError:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return RuntimeError("\n".join([f"Ceph did not start: {what}; the last it wrote:", *lines[-60:]]))


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a process's group and reap the process."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback that were free just now: the daemons cannot be told to choose and report one."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(sock.getsockname()[1]) for sock in sockets]


if __name__ == "__main__":
    try:
        install()
    except RuntimeError as error:
        print(f"{error}; the tests that need it are skipped")
