"""AWS's own Runtime Interface Emulator, a program for Linux that lies in the wheel of the SAM CLI on PyPI.

It is fetched when it is needed first, into the virtual environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

PATIENCE = 30.0  # seconds
_MACHINES = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
_FUNCTION = "/2015-03-31/functions/function/invocations"


class EmulatorUnavailable(RuntimeError):
    """It cannot be had here; the message says why."""


def program() -> pathlib.Path:
    """The program, fetched if it is not there yet."""
    machine = _MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None:
        raise EmulatorUnavailable(f"it is made for Linux on x86_64 and arm64, not for {sys.platform} on {platform.machine()}")
    name = f"aws-lambda-rie-{machine}"
    kept = pathlib.Path(sys.prefix, "cache", name)
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            fetched = pathlib.Path(folder, name)
            fetched.write_bytes(_fetched(folder, f"samcli/local/rapid/{name}"))
            fetched.chmod(0o755)
            fetched.replace(kept)
    return kept


def _fetched(folder: str, member: str) -> bytes:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", folder]
    done = subprocess.run([*command, "aws-sam-cli"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EmulatorUnavailable(f"aws-sam-cli cannot be downloaded: {done.stderr.strip().rpartition(chr(10))[2]}")
    (wheel,) = pathlib.Path(folder).glob("aws_sam_cli-*.whl")
    with zipfile.ZipFile(wheel) as files:
        if member not in files.namelist():
            raise EmulatorUnavailable(f"there is no {member} in {wheel.name}")
        return files.read(member)


class Emulator:
    """A function with AWS's runtime client, behind the emulator, on free ports of the loopback."""

    def __init__(self, handler: str, code: pathlib.Path, environ: Mapping[str, str], log: pathlib.Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            self._port, api = one.getsockname()[1], other.getsockname()[1]
        addresses = (
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{self._port}",
            "--runtime-api-address",
            f"127.0.0.1:{api}",
        )
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [program(), *addresses, sys.executable, "-m", "awslambdaric", handler],
                cwd=code,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()  # it ends the runtime then
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        for process in _session(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait()

    def invoke(self, event: object) -> Any:
        """The answer of the function, or what it raised."""
        self._await_listener()
        url = f"http://127.0.0.1:{self._port}{_FUNCTION}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(url, json.dumps(event).encode()), timeout=PATIENCE) as answer:
            return json.load(answer)

    @property
    def log(self) -> str:
        """What the emulator and the runtime wrote."""
        return self._log.read_text(errors="replace")

    def _await_listener(self) -> None:
        patience = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port)).close()
            except ConnectionRefusedError:
                if self._process.poll() is not None or time.monotonic() > patience:
                    raise RuntimeError(f"the emulator does not answer:\n{self.log}") from None
                time.sleep(0.01)
            else:
                return


def _session(leader: int) -> list[int]:
    """The processes that are left of a session."""
    found = []
    for process in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(process) == leader:
                found.append(process)
    return found
