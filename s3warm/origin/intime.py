"""Requests that are over in time, whatever the client does: time-outs of sockets bound neither a name look-up nor a slow trickle."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from concurrent import futures

from s3warm.origin.base import Late

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

__all__ = ["in_time", "shut_at"]

MOST_HANGING = (
    32  # requests that nobody waits for any more; each keeps a thread and a connection until the client's own time-outs
)
_hanging: set[futures.Future[Any]] = set()


def in_time(send: Callable[[], T], deadline: float, drop: Callable[[T], object]) -> T:
    """What `send` brings, in a thread of its own; what it brings after the deadline is dropped.

    Raises:
        Late: nothing has come before it.
    """
    allowed = deadline - time.monotonic()
    if allowed <= 0 or len(_hanging) >= MOST_HANGING:
        raise Late
    answer: futures.Future[T] = futures.Future()

    def run() -> None:
        try:
            brought = send()
        except BaseException as error:  # noqa: BLE001  # it is raised in the thread that waits, if that still does
            with contextlib.suppress(futures.InvalidStateError):
                answer.set_exception(error)
            _hanging.discard(answer)
            return
        try:
            answer.set_result(brought)
        except futures.InvalidStateError:  # nobody waits any more
            drop(brought)
        finally:
            _hanging.discard(answer)

    try:
        threading.Thread(target=run, name="s3warm-request", daemon=True).start()
    except RuntimeError:  # there are no more threads
        return send()
    try:
        return answer.result(allowed)
    except futures.TimeoutError:
        _hanging.add(answer)  # before it is given up, so that its thread finds it
        if answer.cancel():
            raise Late(f"no answer in the {allowed:.3g} s that were left", waited=allowed) from None
        _hanging.discard(answer)
        return answer.result()


def shut_at(deadline: float, connection: socket.socket) -> threading.Timer:
    """End a connection at the deadline, whoever reads from it then; to be cancelled."""

    def shut() -> None:
        with contextlib.suppress(OSError):
            # Not the method of a TLS socket, which takes away what the reading thread reads with.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), shut)
    timer.daemon = True
    with contextlib.suppress(RuntimeError):  # there are no more threads: the time-out of the socket is what is left
        timer.start()
    return timer
