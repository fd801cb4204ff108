"""One life of a runtime: AWS's own client for Python, in the box, against an API of its own."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tests.lambdabox.errors import BoxCrashed
from tests.lambdabox.runtime_api import Invocation, RuntimeApi

if TYPE_CHECKING:
    from tests.lambdabox.cgroups import Cgroup

# Joins the control group, then enters the mount namespace, then becomes the runtime: the process stays the same.
_JOIN = 'until [ "$1" = -- ]; do echo 0 > "$1" || exit; shift; done; shift; exec "$@"'
_ENTER = 'cd "$1" && shift && exec "$@"'


class Runtime:
    """A process; starts at once. When it dies, whatever it has started is killed too."""

    def __init__(
        self, command: list[str], environ: Mapping[str, str], *, group: Cgroup, namespace: int, task: str, log: str
    ) -> None:
        self.api = RuntimeApi()
        self._group = group
        enter = [shutil.which("nsenter") or "nsenter", f"--mount=/proc/{namespace}/ns/mnt"]
        shell = shutil.which("sh") or "/bin/sh"
        with open(log, "ab") as output:
            self._started = time.monotonic()
            self._process = subprocess.Popen(
                [shell, "-c", _JOIN, shell, *group.entries, "--", *enter, shell, "-c", _ENTER, shell, task, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**environ, "AWS_LAMBDA_RUNTIME_API": self.api.address},
                start_new_session=True,  # a Ctrl-C is for the test, which then ends this
            )
        self._watcher = threading.Thread(target=self._watch, name="lambdabox-runtime", daemon=True)
        self._watcher.start()

    @property
    def alive(self) -> bool:
        """Whether it can take an event, as far as is known: it has neither died nor failed to initialise."""
        failed = self.api.ready.done() and self.api.ready.exception() is not None
        return not failed and not self.api.dead

    def wait_ready(self, patience: float) -> float:
        """Wait until it has initialised; returns how many seconds that took, from the start of the process."""
        return self.api.ready.result(patience) - self._started

    def offer(self, invocation: Invocation) -> None:
        """Give it an event."""
        self.api.offer(invocation)

    def kill(self) -> None:
        """Kill it and all that it has started, and wait for their end. Harmless if it is dead."""
        self._process.kill()
        self._group.kill()
        self._watcher.join()

    def _watch(self) -> None:
        status = self._process.wait()
        self._group.kill()
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        self.api.fail(BoxCrashed(f"the runtime ended {how}"))
