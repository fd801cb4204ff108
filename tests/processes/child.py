"""The life of a process on a shared cache directory: it does what it is told over a socket, and tells what came of it.

Orders and answers are JSON, one a line. Run as a module, this forks one such process for each line on its standard input, having imported
everything once; it has no threads and no cache itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import sys
import threading
import traceback
from typing import Any, NoReturn

import boto3

from s3warm import Cache, Event, S3WarmError

BUCKET = "bucket"


class Life:
    """One process, its cache, and its line to the test."""

    def __init__(self, port: int, options: dict[str, Any]) -> None:
        self._port = port
        self._now = 1_700_000_000.0
        self._call_home()
        self._cache = Cache(clock=lambda: self._now, on_event=self._note, **options)

    def _call_home(self) -> None:
        """Get a line of one's own, and have one's requests tell whose they are."""
        os.environ["AWS_SDK_UA_APP_ID"] = f"pid-{os.getpid()}"
        self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._orders = self._socket.makefile("r", encoding="ascii")
        self._speaking = threading.Lock()
        self._tell({"pid": os.getpid(), "parent": os.getppid()})

    def live(self) -> NoReturn:
        try:
            while line := self._orders.readline():
                order = json.loads(line)
                self._tell({"done": getattr(self, order.pop("do"))(**order)})
        except BaseException:  # noqa: BLE001  # it must not come to life as its parent
            self._tell({"error": traceback.format_exc()})
        finally:
            os._exit(0)

    # -- orders ------------------------------------------------------------------------------------------------------------

    def get(self, key: str, ttl: float | None = None) -> str:
        return hashlib.sha256(self._cache.get(BUCKET, key, ttl=ttl)).hexdigest()

    def get_by_many(self, key: str, threads: int) -> list[str]:
        """What so many threads get that ask at once: the kinds of answers, and how many had each."""
        together = threading.Barrier(threads)
        answers: list[str] = []

        def one() -> None:
            together.wait()
            try:
                answers.append(self.get(key))
            except S3WarmError as error:
                answers.append(f"{type(error).__name__}: {error}")

        asking = [threading.Thread(target=one) for _ in range(threads)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        return answers

    def path(self, key: str, ttl: float | None = None) -> str:
        with self._cache.path(BUCKET, key, ttl=ttl).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def begin(self, key: str) -> None:
        """`path`, in the background."""
        threading.Thread(target=self._cache.path, args=(BUCKET, key), daemon=True).start()

    def fork(self) -> None:
        if os.fork() == 0:
            self._orders.close()
            self._socket.close()
            self._call_home()
            self.live()

    def clock(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    def stats(self) -> dict[str, int]:
        return self._cache.stats()._asdict()

    def close(self) -> None:
        self._cache.close()

    # -- what is told ------------------------------------------------------------------------------------------------------

    def _note(self, event: Event) -> None:
        if event.name == "progress":
            self._tell({"progress": event.bytes})

    def _tell(self, what: dict[str, Any]) -> None:
        with self._speaking:
            self._socket.sendall(json.dumps(what).encode() + b"\n")


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries its children
    boto3.session.Session().client("s3").close()  # imports what a client takes
    for line in sys.stdin:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            Life(**json.loads(line)).live()


if __name__ == "__main__":
    main()
