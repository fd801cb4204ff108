"""One execution environment of the demo: a process of its own that does for the handler what Lambda's runtime does.

It is told what to do in lines of JSON on stdin, and answers each with one on stdout. In the environment called "boto3" the same
handler runs on plain boto3: there, the module that it imports as `s3warm` has a `get` that is a `get_object`.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from importlib import import_module
from time import perf_counter, time
from types import ModuleType, SimpleNamespace
from typing import Any

SAMPLES = 3


class Runtime:
    """The handler, loaded, and a record of each `get` that it makes. `loading` is what its imports took, in seconds."""

    def __init__(self, library: str, clock: str) -> None:
        self._offset = 0.0
        self._calls: list[dict[str, Any]] = []
        self._last: dict[str, bytes] = {}
        start = perf_counter()
        if library == "boto3":
            sys.modules["s3warm"] = _plain_boto3()
        elif clock == "movable":
            import s3warm

            s3warm.configure(clock=lambda: time() + self._offset)
        self._app: Any = import_module("examples.handler")
        self.loading = perf_counter() - start
        self._library = self._app.s3warm
        vars(self._app)["s3warm"] = SimpleNamespace(get=self._recorded)

    def invoke(self, events: list[dict[str, Any]], *, threads: int) -> dict[str, Any]:
        """Call the handler with each event: its answers, what each of its gets did, and the error if it raised one."""
        self._calls = []
        try:
            if threads == 1:
                answers = [self._app.handler(event, None) for event in events]
            else:
                from concurrent.futures import ThreadPoolExecutor

                with ThreadPoolExecutor(threads) as pool:
                    answers = list(pool.map(lambda event: self._app.handler(event, None), events))
        except Exception as error:  # noqa: BLE001  # a runtime reports whatever a handler raises
            return {"error": f"{type(error).__name__}: {error}", "answers": [], "calls": self._calls}
        return {"error": None, "answers": answers, "calls": self._calls}

    def measure(self, key: str, number: int) -> dict[str, Any]:
        """What one get takes, in seconds: the median of samples of `number` gets each."""
        get, bucket = self._library.get, self._app.BUCKET
        samples = []
        for _ in range(SAMPLES):
            start = perf_counter()
            for _ in range(number):
                get(bucket, key)
            samples.append((perf_counter() - start) / number)
        return {"seconds": sorted(samples)[SAMPLES // 2], "gets": SAMPLES * number, "stats": self._stats()}

    def advance(self, seconds: float) -> None:
        """Let time pass for s3warm."""
        self._offset += seconds

    def _recorded(self, bucket: str, key: str) -> bytes:
        start = perf_counter()
        body: bytes = self._library.get(bucket, key)
        seconds = perf_counter() - start
        same = self._last.get(key) is body
        self._last[key] = body
        digest = hashlib.sha256(body).hexdigest()
        self._calls.append({"key": key, "seconds": seconds, "sha256": digest, "same": same, "stats": self._stats()})
        return body

    def _stats(self) -> dict[str, int]:
        stats: dict[str, int] = self._library.stats()._asdict() if hasattr(self._library, "stats") else {}
        return stats


def _plain_boto3() -> ModuleType:
    """A stand-in for s3warm that does what handlers do without it."""
    import boto3

    client = boto3.client("s3")

    def get(bucket: str, key: str) -> bytes:
        body: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    stand_in: Any = ModuleType("s3warm")
    stand_in.get = get
    module: ModuleType = stand_in
    return module


def main() -> None:
    """Do as stdin says, until it ends."""
    runtime = Runtime(*sys.argv[1:])
    print(json.dumps({"loading": runtime.loading}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        answer: dict[str, Any] = {}
        match command["do"]:
            case "invoke":
                answer = runtime.invoke(command["events"], threads=command["threads"])
            case "measure":
                answer = runtime.measure(command["key"], command["number"])
            case "advance":
                runtime.advance(command["seconds"])
            case "crash":
                os.kill(os.getpid(), signal.SIGKILL)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
