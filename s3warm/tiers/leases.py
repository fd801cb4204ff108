"""Whose turn it is to ask S3 for an object, in the whole fleet: who holds the lease asks, the others wait for what that brings, and not for long.

A lease is a key with a time to live, so that a holder who dies, or is frozen, strands nobody. Who ends one with nothing to find (the object may not be
shared, S3 is out of reach) leaves word of that for a second: those who wait ask at once, rather than one after the other.
"""

from __future__ import annotations

import contextlib
import os
import time

from s3warm.tiers import scripts
from s3warm.tiers.base import Turn
from s3warm.tiers.server import Senseless, Unanswered, strings, was_done

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from s3warm.keys import ObjectKey
    from s3warm.tiers.sealed import Sealer
    from s3warm.tiers.server import Server

__all__ = ["LONGEST", "Lease", "Leases"]

LONGEST = 5.0  # seconds that one is held, and waited for: as long as S3 may take to begin an answer
_IN_VAIN, _IN_VAIN_FOR = b"in vain", 1000  # milliseconds
_NOBODYS = b""  # see `scripts.LOOK`
_TRIES = 4  # for a lease that is free and cannot be had: then the server says anything
_TOKEN = 24  # bytes
_FIRST_POLL, _LONGEST_POLL = 0.002, 0.05  # seconds


class Lease(Turn):
    """A turn; whoever has it says what it has come to.

    Attributes:
        brought: what was asked for is on the server now.
    """

    __slots__ = ("_release", "brought")

    def __init__(self, *, found: bool = False, taken: bool = False, release: Callable[[bool], object] | None = None) -> None:
        super().__init__(found=found, taken=taken)
        self.brought = False
        self._release = release

    def end(self) -> None:
        """Give it up, at the end of the block or before, as nobody else will be served by it; once is enough."""
        release, self._release = self._release, None
        if release is not None:
            release(self.brought)


class Leases:
    """The leases of a namespace."""

    def __init__(self, server: Server, sealer: Sealer, *, sleep: Callable[[float], object] = time.sleep) -> None:
        self._server = server
        self._sealer = sealer
        self._sleep = sleep

    @contextlib.contextmanager
    def take(self, key: ObjectKey, found: Callable[[bytes], bool], patience: float) -> Iterator[Lease]:
        """Wait for the lease, and have it for the length of the block.

        Args:
            key: what is wanted.
            found: whether a head, as it lies on the server, is what is waited for.
            patience: seconds to wait. Then the block is entered without a lease, as it is where the server does not answer.
        """
        name, token = self._sealer.name(key), os.urandom(_TOKEN // 2).hex().encode()
        lease = self._wait((name, name + ":lease"), token, found, min(patience, LONGEST))
        try:
            yield lease
        finally:
            lease.end()

    def _wait(self, names: tuple[str, str], token: bytes, found: Callable[[bytes], bool], patience: float) -> Lease:
        """This call's own lease, or what another's has come to."""
        until = time.monotonic() + patience
        for missed in range(_TRIES):
            taken = self._server.write(lambda client: _taken(client, names, token))
            if isinstance(taken, Unanswered):
                break
            head, holder = taken
            # Between the caller's look and this one another may have had the lease, and ended it.
            there = head is not None and found(head)
            if holder is not None:
                return Lease(found=there, release=lambda brought: self._release(names[1], token, brought))
            if there:
                return Lease(found=True)
            if missed:  # it was free, and others were quicker
                self._sleep(_FIRST_POLL)
            instead = self._watch(names, found, until)
            if instead is not None:
                return instead
        return Lease()

    def _release(self, name: str, token: bytes, brought: bool) -> None:
        left = () if brought else (_IN_VAIN, _IN_VAIN_FOR)
        self._server.write(lambda client: was_done(client.eval(scripts.END, 1, name, token, *left)))

    def _watch(self, names: tuple[str, str], found: Callable[[bytes], bool], until: float) -> Lease | None:
        """What the lease of another has come to by a time on the monotonic clock; None if it is nobody's any more."""
        pause = _FIRST_POLL
        while True:
            looked = self._server.read(lambda client: _looked(client, names))
            if isinstance(looked, Unanswered):
                return Lease()
            head, holder = looked
            if head is not None and found(head):
                return Lease(found=True)
            if holder in (_IN_VAIN, _NOBODYS):
                return Lease()
            if time.monotonic() >= until:
                return Lease(taken=holder is not None)
            if holder is None:
                return None
            self._sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL)


def _taken(client: Any, names: tuple[str, str], token: bytes) -> list[bytes | None]:
    """The head of an object, and the token, if its lease was nobody's."""
    head, holder = strings(client.eval(scripts.TAKE, 2, *names, token, int(LONGEST * 1000)), 2)
    if holder not in (None, token):
        raise Senseless(f"it gives a lease to {holder[:40]!r}")
    return [head, holder]


def _looked(client: Any, names: tuple[str, str]) -> list[bytes | None]:
    """The head of an object, and who has its lease: nobody is to wait for what is no token of anybody's."""
    head, holder = strings(client.eval(scripts.LOOK, 2, *names), 2)
    if holder not in (None, _IN_VAIN, _NOBODYS) and len(holder) != _TOKEN:
        raise Senseless(f"it says that a lease is held by {holder[:40]!r}")
    return [head, holder]
