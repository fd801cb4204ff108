"""Execution environments as the demo sees them from outside: processes that are told to invoke the handler, to wait or to crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from examples.demo_bucket import BUCKET, Bucket
from s3warm import Stats
from tests.support.proxy import Exchange, RecordingProxy

# Every call counts in one of these fields of `s3warm.Stats`.
SOURCES = {"memory_hits": "memory", "disk_hits": "/tmp", "misses": "S3", "replaced": "S3", "stale_served": "stale"}


class DemoError(Exception):
    """Something is not as the table would have it."""


class Invocation(NamedTuple):
    """One invocation, by its last `get`: what that took, how `stats()` changed, and the requests of the whole invocation."""

    seconds: float
    source: str
    requests: list[Exchange]
    gets: int
    error: str | None


class World:
    """The server, its proxy and the bucket, and what they are to look like to a function's environment."""

    def __init__(self, proxy: RecordingProxy, bucket: Bucket) -> None:
        self.proxy = proxy
        self.bucket = bucket
        foreign = ("AWS_", "S3WARM_", "PYTHONDONTWRITEBYTECODE", "REQUESTS_CA_BUNDLE")
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(foreign) and not k.lower().endswith("_proxy")},
            "AWS_ENDPOINT_URL_S3": proxy.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "demo",
            "AWS_SECRET_ACCESS_KEY": "demo",
            "HOME": os.path.join(os.devnull, "none"),  # no configuration of whoever runs this
            "S3WARM_ORIGIN": "lean",  # as it is chosen in Lambda
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
            "S3WARM_DISK_BUDGET": "400MiB",  # 80 % of the /tmp of a function as it is by default
            "BUCKET": BUCKET,
        }


class Environment:
    """A process that runs the handler; see `examples/demo_runtime.py`."""

    def __init__(self, world: World, library: str, *, directory: str = "", clock: str = "real", **environ: str) -> None:
        self._world = world
        self._library = library
        self._stats = Stats()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "examples.demo_runtime", library, clock],
            env=world.environ | {"S3WARM_DIRECTORY": directory} | environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._loading: float = self._answer()["loading"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def invoke(self, event: dict[str, Any], *, cold: bool = False) -> Invocation:
        """Call the handler once; `cold` counts the time of its imports too."""
        result, requests = self.invoke_all([event])
        if result["error"]:
            return Invocation(0.0, "", requests, 0, result["error"])
        calls = result["calls"]
        seconds = calls[-1]["seconds"] + (self._loading if cold else 0.0)
        return Invocation(seconds, self._source(calls), requests, len(calls), None)

    def invoke_all(self, events: Sequence[dict[str, Any]], *, threads: int = 1) -> tuple[dict[str, Any], list[Exchange]]:
        """Call the handler with every event; compares each body that it got with what was put."""
        self._world.proxy.clear()
        result = self._do("invoke", events=events, threads=threads)
        for call in result["calls"]:
            if call["sha256"] != self._world.bucket.digests[call["key"]]:
                raise DemoError(f"the body of {call['key']} is not what was put")
        for event, answer in zip(events, result["answers"], strict=not result["error"]):
            if answer != self._world.bucket.answer(event):
                raise DemoError(f"the handler answered {event} with {answer}")
        return result, self._world.proxy.exchanges

    def measure(self, key: str, number: int) -> float:
        """Seconds for one more get, taken from many; all of s3warm's have to come from memory."""
        self._world.proxy.clear()
        result = self._do("measure", key=key, number=number)
        before, self._stats = self._stats, Stats(**result["stats"])
        from_memory, requests = (self._stats - before).memory_hits, len(self._world.proxy.exchanges)
        if (from_memory, requests) != ((0, result["gets"]) if self._library == "boto3" else (result["gets"], 0)):
            raise DemoError(f"{result['gets']} gets of {key}: {from_memory} from memory, {requests} requests")
        seconds: float = result["seconds"]
        return seconds

    def advance(self, seconds: float) -> None:
        """Let time pass for s3warm."""
        self._do("advance", seconds=seconds)

    def crash(self) -> None:
        """Have the process kill itself, without any chance to clean up."""
        self._send("crash")
        if self._process.wait() != -signal.SIGKILL:
            raise DemoError("the runtime did not crash")

    @property
    def stats(self) -> Stats:
        """The `stats()` after the last invocation."""
        return self._stats

    def _source(self, calls: list[dict[str, Any]]) -> str:
        """Where the body of the last call came from, by what that call changed in `stats()`."""
        *earlier, last = [Stats(**call["stats"]) for call in calls]
        change = last - (earlier[-1] if earlier else self._stats)
        self._stats = last
        counted = [name for name in (*SOURCES, "revalidated", "coalesced") if getattr(change, name)]
        if counted == ["revalidated"]:
            return f"{'memory' if calls[-1]['same'] else '/tmp'}, 304"
        return " and ".join(SOURCES.get(name, name) for name in counted)

    def _do(self, do: str, **arguments: Any) -> dict[str, Any]:
        self._send(do, **arguments)
        return self._answer()

    def _send(self, do: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise DemoError("an environment ended before its time; what it wrote stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer
