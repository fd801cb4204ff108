"""How far a transfer is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TextIO

    from s3warm.metrics import Event

__all__ = ["Progress"]

WIDTH = 30  # characters of the bar
MIB = 2**20
_ERASE = "\r\x1b[K"


class Progress:
    """An `on_event` hook. On a terminal one line is drawn over and over; elsewhere there is a line for each tenth."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic, *, objects: int = 1) -> None:
        self._stream = stream
        self._objects = objects  # there will be
        self._clock = clock
        self._began = clock()
        self._done = self._bytes = 0
        self._on_terminal = stream.isatty()
        self._uri = ""
        self._since = 0.0
        self._tenth = 0

    def begin(self, uri: str) -> None:
        """The next object."""
        self._uri = uri
        self._since = self._clock()
        self._tenth = 0

    def __call__(self, event: Event) -> None:
        """Show an event of the kind `progress`."""
        if event.name != "progress" or not event.total:
            return
        share = event.bytes / event.total
        if self._on_terminal:
            bar = ("#" * round(share * WIDTH)).ljust(WIDTH, ".")
            number = f", object {self._done + 1:,} of {self._objects:,}" if self._objects > 1 else ""
            self._write(f"{_ERASE}[{bar}] {self._figures(event.bytes, event.total)}{number}")
        elif int(share * 10) > self._tenth:
            self._tenth = int(share * 10)
            self._write(f"{self._uri}: {self._figures(event.bytes, event.total)}\n")

    def end(self, path: Path) -> None:
        """The object is there."""
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
        self._done += 1
        self._bytes += size
        line = f"{self._uri}: {size / MIB:,.1f} MiB in {self._clock() - self._since:,.1f} s\n"
        self._write(_ERASE + line if self._on_terminal else line)

    def end_all(self) -> None:
        """All are there; of one by itself all is said."""
        if self._objects > 1:
            self._write(f"{self._done:,} fetched: {self._bytes / MIB:,.1f} MiB in {self._clock() - self._began:,.1f} s\n")

    def _figures(self, so_far: int, size: int) -> str:
        rate = so_far / MIB / max(self._clock() - self._since, 1e-3)
        return f"{so_far / size:4.0%} of {size / MIB:,.1f} MiB, {rate:,.0f} MiB/s"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
