"""The server behind the shared tier: whatever goes wrong with it costs one time-out, is counted, said once, and no exception.

A server that is dead, slow or out of its mind is left in peace for a while, by a circuit breaker. One that only takes no writes (full, a replica)
is read all the same: those have a breaker of their own.
"""

from __future__ import annotations

import threading

from s3warm.tiers.breaker import Breaker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

__all__ = ["MISFIT", "UNANSWERED", "Misfit", "Senseless", "Server", "Unanswered", "strings", "was_done"]


class Senseless(ValueError):
    """What the server said is no answer to what it was asked."""


class Unanswered:
    """The type of `UNANSWERED`: what the server said is not known, or it refused."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "<unanswered>"


class Misfit(Unanswered):
    """The type of `MISFIT`: a key holds what is of another type than ours. The server is well; somebody else has written there."""

    __slots__ = ()


UNANSWERED = Unanswered()
MISFIT = Misfit()


class Server:
    """See the module.

    Args:
        dial: makes a client of redis-py; called at first use.
        hang_up: closes one.
        clock: seconds.
        failed: told of each error, and of what was tried; and, with None, that the server answers again.
    """

    def __init__(
        self,
        dial: Callable[[], Any],
        hang_up: Callable[[Any], object],
        *,
        clock: Callable[[], float],
        failed: Callable[[str, Exception | None], object],
    ) -> None:
        self._dial = dial
        self._hang_up = hang_up
        self._failed = failed
        self._client: Any = None
        self._dialling = threading.Lock()
        self._answers, self._writes = Breaker(clock), Breaker(clock)
        self._closed = False
        self.trouble: Exception | None = None  # the last one

    def read(self, ask: Callable[[Any], T]) -> T | Unanswered:
        """What `ask` gets from the client; raises whatever it likes where that makes no sense."""
        return self._call(ask, None)

    def write(self, tell: Callable[[Any], T]) -> T | Unanswered:
        """The same for a command that writes."""
        return self._call(tell, self._writes)

    def insist(self, tell: Callable[[Any], T]) -> T | Unanswered:
        """`write`, also while the server is left in peace: somebody waits for nothing else."""
        return self._call(tell, self._writes, insist=True)

    def renew(self) -> None:
        """This is a forked child: connections are its parent's."""
        self._dialling = threading.Lock()
        self._client = None
        self._answers.renew()
        self._writes.renew()

    def suspend(self) -> None:
        """Hold no connection until the next use."""
        client, self._client = self._client, None
        if client is not None:
            try:
                self._hang_up(client)
            except Exception as error:  # noqa: BLE001  # whatever a client may raise
                self._failed("close", error)

    def close(self) -> None:
        """Hold none any more."""
        self._closed = True
        self.suspend()

    def _call(self, command: Callable[[Any], T], writes: Breaker | None, *, insist: bool = False) -> T | Unanswered:
        admitted = insist or ((writes is None or writes.admits()) and self._answers.admits())
        if self._closed or not admitted:
            return UNANSWERED
        try:
            answer = command(self._connected())
        except Exception as error:  # noqa: BLE001  # of the client, the network, or a server that makes no sense
            if "WRONGTYPE" in str(error) and _is_answer(error):
                self._answered()
                return MISFIT
            if writes is not None:  # without an answer, too: reads that go well meanwhile are no reason to try it again at once
                writes.failed()
            if writes is not None and _is_answer(error):
                self._answered()
                kind = "write"
            else:
                self._answers.failed()
                kind = "answer"
            self._failed(kind, error)
            self.trouble = error
            return UNANSWERED
        finally:
            if self._closed:  # since this call began: what it has dialled nobody else would hang up
                self.suspend()
        self._answered()
        if writes is not None and writes.succeeded():
            self._failed("write", None)
        return answer

    def _answered(self) -> None:
        if self._answers.succeeded():
            self._failed("answer", None)

    def _connected(self) -> Any:
        client = self._client
        if client is None:
            with self._dialling:
                if self._client is None:
                    self._client = self._dial()
                client = self._client
        return client


def strings(answer: Any, count: int) -> list[bytes | None]:
    """An answer of so many strings, some of which may be missing. To be looked at within `Server.read`, so that nonsense counts as trouble.

    Raises:
        Senseless: it is something else.

    Example:
        >>> strings([b"head", None], 2)
        [b'head', None]
        >>> strings(b"OK", 2)
        Traceback (most recent call last):
        ...
        s3warm.tiers.server.Senseless: it answers with bytes, where 2 strings were asked for, not decoded
    """
    if isinstance(answer, list) and len(answer) == count and all(each is None or isinstance(each, bytes) for each in answer):
        return answer
    raise Senseless(f"it answers with {type(answer).__name__}, where {count} strings were asked for, not decoded")


def was_done(answer: Any) -> bool:
    """What a script of ours says: 1 or 0. To be looked at within `Server.write`, likewise.

    Raises:
        Senseless: it is something else.
    """
    if isinstance(answer, int) and answer in (0, 1):
        return answer == 1
    raise Senseless(f"it answers with {type(answer).__name__}, where 1 or 0 was asked for")


def _is_answer(error: Exception) -> bool:
    """Whether the server has answered, and refused: OOM, READONLY, NOPERM. By its name, as redis-py and valkey-py have one each."""
    return any(kind.__name__ == "ResponseError" for kind in type(error).__mro__)
