"""A Lambda execution environment, as close as one machine comes to it."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from tests.lambdabox import cgroups, mounts
from tests.lambdabox.environment import PROJECT, variables
from tests.lambdabox.errors import BoxUnavailable, TimedOut
from tests.lambdabox.keeper import Plan
from tests.lambdabox.runtime import Runtime
from tests.lambdabox.runtime_api import Invocation

PREFIX = "s3warm-lambdabox-"
_INIT_PATIENCE = 60.0  # seconds; a small box with its share of the CPU takes several for its imports
_ARN = "arn:aws:lambda:us-east-1:123456789012:function:box"
_numbers = itertools.count()


class LambdaBox:
    """A function in a box: AWS's own runtime client, a cap on its memory, and a /tmp of its own.

    `handler` is "module.function", of a module importable from the project's root, or the path of a file with a
    function `handler`, whose directory is then the function's code. Either can import s3warm and what it depends on.
    `cpu` gives it Lambda's share of the CPU, 1769 MB for a whole one. `environ` comes on top of what Lambda sets.

    The runtime starts with the first invocation, and with the one after it died. /tmp lives as long as the box. The
    network is the host's. A box needs root; `available.why_not` says whether one can be made.
    """

    def __init__(
        self,
        handler: str | os.PathLike[str],
        memory_mb: int,
        tmp_mb: int = 512,
        environ: Mapping[str, str] | None = None,
        *,
        cpu: bool = False,
        timeout: float = 30.0,
    ) -> None:
        self.memory_mb = memory_mb
        self.timeout = timeout
        self.init_seconds = 0.0
        """How long the last runtime took from the start of its process until it asked for an event."""
        code, self._handler = _located(os.fspath(handler))
        name = f"{PREFIX}{os.getpid()}-{next(_numbers)}-{secrets.token_hex(4)}"
        keep = mounts.hidden(PROJECT, sys.prefix, sys.base_prefix)
        self._plan = Plan(name=name, memory_mb=memory_mb, tmp_mb=tmp_mb, cpu=cpu, code=code, keep=keep)
        self._environ = {**variables(self._handler, memory_mb, self._plan.task), **(environ or {})}
        self._lock = threading.RLock()
        self._runtime: Runtime | None = None
        self._last_log = ""
        self._closed = False
        group = cgroups.find(name)
        if group is None:
            raise BoxUnavailable("no memory controller is mounted")
        self._group = group
        self._keeper = subprocess.Popen(
            [
                *(shutil.which("unshare") or "unshare", "--mount", "--propagation", "private", "--"),
                *(sys.executable, "-S", "-m", "tests.lambdabox.keeper", json.dumps(asdict(self._plan))),
            ],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for the test, which then closes this
        )
        atexit.register(self.close)
        try:
            assert self._keeper.stdout is not None
            reply = json.loads(self._keeper.stdout.readline() or '{"error": "its keeper has ended"}')
            if "error" in reply:
                raise BoxUnavailable(reply["error"])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def invoke(self, event: object, *, timeout: float | None = None) -> Any:
        """Give the handler an event and return its answer; starts the runtime if it is not there, thaws it if it is frozen.

        Raises HandlerError for what the handler raised, at init too, BoxCrashed if the runtime died, and TimedOut if
        it took longer than `timeout` (seconds, without the init), whereupon the runtime is killed.
        """
        allowed = self.timeout if timeout is None else timeout
        invocation = Invocation(json.dumps(event).encode(), allowed, _ARN)
        with self._lock:
            runtime = self._ready_runtime()
        runtime.offer(invocation)
        try:
            return json.loads(invocation.outcome.result(allowed))
        except TimeoutError:
            runtime.kill()
            raise TimedOut(f"no answer after {allowed} s") from None

    def start(self) -> None:
        """Initialise the runtime now, as provisioned concurrency and SnapStart do. With SnapStart it then waits to be restored by an event."""
        with self._lock:
            self._ready_runtime()

    def freeze(self) -> None:
        """Stop the box, as Lambda does between invocations."""
        self._group.freeze()

    def thaw(self) -> None:
        """Let it go on, as an invocation does too."""
        self._group.thaw()

    def crash(self) -> None:
        """Kill the runtime and all that it started. /tmp stays; the next invocation runs init again ("suppressed init")."""
        with self._lock:
            if self._runtime is not None:
                self._runtime.kill()
                self._runtime = None

    def oom_kills(self) -> int:
        """How many processes were killed for memory so far."""
        return self._group.oom_kills()

    def rss(self) -> int:
        """The bytes of anonymous memory that the box holds now."""
        return self._group.rss()

    @property
    def log(self) -> str:
        """What all runtimes wrote to standard output and standard error; also after the end."""
        with contextlib.suppress(FileNotFoundError), open(self._plan.log, encoding="utf-8", errors="replace") as file:
            self._last_log = file.read()
        return self._last_log

    def close(self) -> None:
        """Kill what runs in the box and take it apart."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            atexit.unregister(self.close)
            try:
                self.crash()
            finally:
                _ = self.log
                assert self._keeper.stdin is not None
                assert self._keeper.stdout is not None
                # A process forked from this one may hold the pipe open, so that the end of file alone will not do.
                with contextlib.suppress(OSError):
                    self._keeper.stdin.write(b"\n")
                    self._keeper.stdin.flush()
                with contextlib.suppress(OSError):
                    self._keeper.stdin.close()
                self._keeper.stdout.close()
                self._keeper.wait()

    def _ready_runtime(self) -> Runtime:
        """The runtime, initialised; a new one if the last has died."""
        if self._closed:
            raise RuntimeError("this box is closed")
        if self._runtime is not None and self._runtime.alive:
            self._group.thaw()
            return self._runtime
        self.crash()
        command = [sys.executable, "-m", "awslambdaric", self._handler]
        plan = self._plan
        namespace = self._keeper.pid
        runtime = Runtime(command, self._environ, group=self._group, namespace=namespace, task=plan.task, log=plan.log)
        self._runtime = runtime
        try:
            self.init_seconds = runtime.wait_ready(_INIT_PATIENCE)
        except TimeoutError:
            runtime.kill()
            raise TimedOut(f"not initialised after {_INIT_PATIENCE} s") from None
        return runtime


def _located(handler: str) -> tuple[str, str]:
    """The directory of the function's code, and the handler in it as the runtime wants it."""
    if handler.endswith(".py"):
        folder, file = os.path.split(os.path.abspath(handler))
        if not os.path.isfile(handler):
            raise FileNotFoundError(handler)
        return folder, f"{file.removesuffix('.py')}.handler"
    if "." not in handler:
        raise ValueError(f'a handler is "module.function" or the path of a file: {handler!r}')
    return PROJECT, handler
