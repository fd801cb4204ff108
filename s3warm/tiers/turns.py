"""Whose turn it is to ask S3 for an object, agreed on by all processes on a directory: one asks, the others wait and find what it brought.

A turn ends with its holder, however that dies. Who ends one and leaves nothing behind (the object may not be kept, S3 is out of reach) says so
by a count in the file of the locks, and why, if it was S3's fault: then those who wait have their answer. Otherwise they ask all at once, rather
than one after the other.
"""

from __future__ import annotations

import contextlib
import threading
import time

from s3warm.tiers.base import Turn
from s3warm.tiers.told import pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3warm.errors import S3WarmError
    from s3warm.keys import ObjectKey
    from s3warm.tiers.base import Found, Term
    from s3warm.tiers.pins import Pins

__all__ = ["Turns"]

_FIRST_POLL, _LONGEST_POLL = 0.002, 0.05  # seconds


class Turns:
    """The turns of this process."""

    def __init__(self, pins: Pins, *, sleep: Callable[[float], object] = time.sleep) -> None:
        self._pins = pins
        self._sleep = sleep
        self._mine: dict[ObjectKey, int] = {}  # the thread whose turn it is
        self._brought: dict[ObjectKey, Term] = {}  # what was brought in a turn that goes on

    def renew(self) -> None:
        """This is a forked child: the turns are its parent's."""
        self._mine, self._brought = {}, {}

    def brought(self, key: ObjectKey, times: Term) -> None:
        """It is there now, validated and expiring at those times. Where nobody says so, it is looked at when the turn ends."""
        if key in self._mine:
            self._brought[key] = times

    @contextlib.contextmanager
    def take(self, key: ObjectKey, name: str, found: Found, patience: float) -> Iterator[Turn]:
        """Wait for the turn, and have it for the length of the block.

        Args:
            key: what is wanted.
            name: what all processes call it.
            found: whether it is there and may be used, or what was brought may be used, if its times are given; asked after others had
                their turns, and at the end of this one.
            patience: seconds to wait. Then the block is entered without a turn.

        Yields:
            What the wait came to. (If it is there now, or its failure is known, the turn is not needed, and given up.)
        """
        name = f"turn {name}"
        if self._mine.get(key) == threading.get_ident():  # a hook that asks for the object whose progress it is told
            yield Turn()
            return
        others: Turn | None = Turn()
        with contextlib.suppress(OSError):  # without locks everybody asks
            others = self._wait(key, name, found, patience)
        if others is not None:
            yield others
            return
        turn = Turn()
        self._mine[key] = threading.get_ident()
        try:
            yield turn
        finally:
            self._mine.pop(key, None)
            failure = turn.failure
            try:
                with contextlib.suppress(OSError):
                    if not found(self._brought.pop(key, None)):
                        self._pins.count_up(name, lambda count: pack(name, count, failure) if failure else b"")
            finally:  # whatever the disk says, or nobody else gets a turn as long as this process lives
                with contextlib.suppress(OSError):
                    self._pins.drop(name)

    def _wait(self, key: ObjectKey, name: str, found: Found, patience: float) -> Turn | None:
        """What the turn of another process has come to; None if it is this thread's turn now."""
        if self._pins.claim(name):
            return None
        count = self._pins.count(name)
        until, pause = time.monotonic() + patience, _FIRST_POLL
        while not self._pins.claim(name):
            if (ended := self._pins.count(name)) != count:
                return Turn(found=found(None), told=self._told(key, name, ended))
            if time.monotonic() >= until:
                return Turn(found=found(None), taken=True)
            self._sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL)
        there, ended = found(None), self._pins.count(name)
        if there or ended != count:
            self._pins.drop(name)
            return Turn(found=there, told=self._told(key, name, ended))
        return None  # the holder has died

    def _told(self, key: ObjectKey, name: str, count: int) -> S3WarmError | None:
        return unpack(self._pins.said(name), name, count, key)
