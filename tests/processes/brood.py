"""Processes of a test's own making, that do what it says: see `child`."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds for what takes a moment, unless it never comes


class Child:
    """A process, as the test sees it."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._line.settimeout(PATIENCE)
        self._heard = b""
        hello = self.hear()
        self.pid: int = hello["pid"]
        self.parent: int = hello["parent"]
        self._watched = os.pidfd_open(self.pid)

    def fileno(self) -> int:
        """For `select`: readable when there is something to hear."""
        return self._line.fileno()

    @property
    def has_more(self) -> bool:
        """Whether it has said what was not heard yet, though its line may have nothing to read."""
        return b"\n" in self._heard

    def order(self, do: str, **arguments: Any) -> None:
        """Tell it to do something; `answer` waits for the end of it."""
        self._line.sendall(json.dumps({"do": do, **arguments}).encode() + b"\n")

    def answer(self) -> Any:
        """What the order that was given first, of those not answered yet, came to."""
        while "done" not in (heard := self.hear()):
            assert "error" not in heard, heard["error"]
        return heard["done"]

    def ask(self, do: str, **arguments: Any) -> Any:
        """`order` and `answer`."""
        self.order(do, **arguments)
        return self.answer()

    def hear(self) -> dict[str, Any]:
        """The next it says: an answer, an error, or how far a download is."""
        while b"\n" not in self._heard:
            data = self._line.recv(65_536)
            if not data:
                raise EOFError(f"the process {self.pid} has ended")
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def kill(self) -> None:
        """Kill it and wait for its end, when it has let go of everything. Harmless if it is dead."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._watched, signal.SIGKILL)
        select.select([self._watched], [], [])

    def close(self) -> None:
        """Kill it, and let go of it."""
        self.kill()
        os.close(self._watched)
        self._line.close()


class Brood:
    """Processes on one directory, forked from one that has imported everything. They end with it."""

    def __init__(self, endpoint: str, directory: Path, **options: Any) -> None:
        self._options = {"directory": str(directory), "namespace": "processes", "ttl_jitter": 0.0, **options}
        self._children: list[Child] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        credentials = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
        self._nest = subprocess.Popen(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.processes.child"],
            cwd=ROOT,
            env={**os.environ, **credentials, "AWS_ENDPOINT_URL_S3": endpoint},
            stdin=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for child in self._children:
            child.close()
        self._listener.close()
        self._nest.communicate()

    def hatch(self, count: int) -> list[Child]:
        """As many processes, each with a cache of its own that is not used yet."""
        assert self._nest.stdin is not None
        order = {"port": self._listener.getsockname()[1], "options": self._options}
        self._nest.stdin.write(f"{json.dumps(order)}\n" * count)
        self._nest.stdin.flush()
        return [self._met() for _ in range(count)]

    def fork(self, parent: Child, count: int) -> list[Child]:
        """As many processes, forked from this one as it is."""
        for _ in range(count):
            parent.order("fork")
        forked = [self._met() for _ in range(count)]
        assert {child.parent for child in forked} == {parent.pid}
        for _ in range(count):
            parent.answer()
        return forked

    def _met(self) -> Child:
        line, _ = self._listener.accept()
        child = Child(line)
        self._children.append(child)
        return child


def at_once(children: Iterable[Child], do: str, **arguments: Any) -> list[Any]:
    """Give all the same order, which they are waiting for, and return their answers."""
    told = list(children)
    for child in told:
        child.order(do, **arguments)
    return [child.answer() for child in told]


def first_to_progress(children: Sequence[Child]) -> Child:
    """The one of these that is the first to say how far its download is."""
    while True:
        speaking = [child for child in children if child.has_more] or select.select(children, [], [], PATIENCE)[0]
        assert speaking, "nobody is downloading"
        for child in speaking:
            heard = child.hear()
            assert "progress" in heard, f"the process {child.pid} was through before anybody told of progress: {heard}"
            return child
