"""An S3-like server of objects whose bodies follow from their keys (see `objects`), in a process of its own.

It is a `StaticOrigin`, with its faults, pace and record; what was not put into it is generated. Run as a module it is the server.
"""

from __future__ import annotations

import functools
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import replace
from unittest import mock
from zlib import crc32

from tests.lambdabox import objects
from tests.lambdabox.environment import PROJECT
from tests.lambdabox.keeper import ROOT
from tests.support import static_origin
from tests.support.static_origin import StaticOrigin


class GeneratedOrigin(StaticOrigin):
    """Serves any object whose key `objects.key_of` makes. `folder` is where the bodies are cut from, and checked against."""

    def __init__(self) -> None:  # its process is another: not the base's
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="generated-origin-", dir=ROOT))
        self._bodies = 0
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-m", "tests.lambdabox.generated", self._folder],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for the test, which then closes this
        )
        try:
            self.endpoint = f"http://127.0.0.1:{self._reply()}"
        except BaseException:
            self.close()
            raise

    @property
    def folder(self) -> str:
        """Where the files are that bodies are slices of."""
        return str(self._folder)

    def counts(self) -> Counter[str]:
        """How many requests there were of each kind: "whole", "range", "conditional" (answered by a body) and "304"."""
        return Counter(self._command("counts"))


class _Server(static_origin._Server):
    def __init__(self, folder: str) -> None:
        super().__init__()
        objects.write_files(folder)
        self._folder = folder
        self._started = time.time()

    def counts(self) -> dict[str, int]:
        with self._lock:
            return Counter(_kind(entry.served) for entry in self._entries)

    def _object(self, request: static_origin._Request) -> static_origin._Answer:
        body = objects.body_of(request.key)
        if body is None:
            return super()._object(request)
        path, etag = os.path.join(self._folder, body.file), f'"{crc32(request.key.encode()):08x}-2"'
        stored = static_origin._Object(path, body.size, etag, {}, self._started, own=False)
        self._buckets[request.bucket][request.key] = stored
        answer = super()._object(request)
        if isinstance(answer.body, bytes):
            return answer
        return replace(answer, body=replace(answer.body, start=answer.body.start + body.start))


def _kind(served: static_origin.Served) -> str:
    if served.status == 304:
        return "304"
    if served.if_none_match:
        return "conditional"
    return "range" if served.range else "whole"


if __name__ == "__main__":
    with mock.patch.object(static_origin, "_Server", functools.partial(_Server, sys.argv[1])):
        static_origin._main(sys.argv[1])
