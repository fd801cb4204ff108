"""A handler with one action for each thing that a box does."""

from __future__ import annotations

import itertools
import os
import subprocess
import threading
import time
from typing import Any

STARTED = time.time()
_beats: list[float] = []
_held: list[bytes] = []


def handler(event: dict[str, Any], context: Any) -> Any:
    return _ACTIONS[event.get("action", "echo")](event, context)


def _echo(event: dict[str, Any], context: Any) -> Any:
    return {
        "event": event,
        "request": context.aws_request_id,
        "remaining": context.get_remaining_time_in_millis(),
        "memory": context.memory_limit_in_mb,
        "function": context.function_name,
        "started": STARTED,
        "pid": os.getpid(),
        "environ": dict(os.environ),
    }


def _fail(event: dict[str, Any], context: Any) -> Any:
    raise KeyError(event["message"])


def _fill(event: dict[str, Any], context: Any) -> Any:
    """Write to /tmp until it is full."""
    written, block = 0, bytes(1024 * 1024)
    try:
        with open("/tmp/fill", "wb", buffering=0) as file:
            while True:
                written += file.write(block)
    except OSError as error:
        os.unlink("/tmp/fill")
        return {"written": written, "errno": error.errno}


def _write(event: dict[str, Any], context: Any) -> Any:
    with open("/tmp/kept", "w", encoding="utf-8") as file:
        file.write(event["text"])
    return os.listdir("/tmp")


def _read(event: dict[str, Any], context: Any) -> Any:
    with open("/tmp/kept", encoding="utf-8") as file:
        return {"text": file.read(), "started": STARTED}


def _beat(event: dict[str, Any], context: Any) -> Any:
    def run() -> None:
        while True:
            _beats.append(time.monotonic())
            time.sleep(0.005)

    threading.Thread(target=run, daemon=True).start()
    return None


def _gap(event: dict[str, Any], context: Any) -> Any:
    """The longest pause of the thread, and whether it goes on."""
    before = len(_beats)
    time.sleep(0.05)
    return {"gap": max(b - a for a, b in itertools.pairwise(_beats)), "later": len(_beats) - before}


def _hold(event: dict[str, Any], context: Any) -> Any:
    _held.append(b"x" * event["bytes"])


def _spawn(event: dict[str, Any], context: Any) -> Any:
    """Start a process that outlives the runtime, unless something is done about it."""
    return subprocess.Popen(["sleep", "1000"], start_new_session=True).pid


def _sleep(event: dict[str, Any], context: Any) -> Any:
    time.sleep(event["seconds"])


def _exit(event: dict[str, Any], context: Any) -> Any:
    os._exit(event["status"])


def _spin(event: dict[str, Any], context: Any) -> Any:
    start, used = time.monotonic(), time.process_time()
    while time.monotonic() - start < event["seconds"]:
        pass
    return (time.process_time() - used) / (time.monotonic() - start)


_ACTIONS = {name.removeprefix("_"): action for name, action in list(globals().items()) if callable(action)}
