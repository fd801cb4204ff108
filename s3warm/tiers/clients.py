"""redis-py with bounds, and without what it does beside commands: repeats, greetings, sleeps. The only module that imports redis.

Of its options none is for that: versions 5 to 8 have repeats for connections, commands, pools and clusters, each with other defaults.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

import redis
from redis._parsers import Encoder, _RESP2Parser
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.connection import BlockingConnectionPool, Connection
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from s3warm.tiers.bounded import WHOLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from s3warm.tiers.bounded import Until
    from s3warm.tiers.line import Line, Password

__all__ = ["LateCluster", "single"]

CONNECTIONS = 64  # to one server; as many threads may ask at once
READ = 256 * 1024  # bytes that are read at once: a value of 1 MiB takes 0.6 ms, and 2.4 with the 64 KiB of redis-py


def single(line: Line, host: str, port: int, db: int) -> Any:
    """A client for one server."""
    pool = _Pool(host=host, port=port, db=db, retry=_never(), **_options(line))
    client = redis.Redis(connection_pool=pool)
    client.auto_close_connection_pool = True  # what `from_pool` does, which 5.0.0 does not have
    return client


class LateCluster(RedisCluster):  # type: ignore[misc]  # redis-py has types for some of it
    """A client for a cluster, which looks for the cluster's nodes at its first command and not when it is made.

    Its calls are bounded as those for one server are, however many nodes are asked in one.
    """

    def __init__(self, line: Line, host: str, port: int) -> None:
        self.encoder = Encoder("utf-8", "strict", decode_responses=False)
        self._line = line
        self._url = f"redis://[{host}]:{port}" if ":" in host else f"redis://{host}:{port}"
        self._whole = line.bounds.connecting + WHOLE * line.bounds.timeout
        self._forget()

    def execute_command(self, *args: Any, **named: Any) -> Any:
        """One command, on the node that has its key."""
        with _all_until(self._line.until, self._whole):
            try:
                self._begin()
                return super().execute_command(*args, **named)
            except RedisClusterException as error:
                self._is_begun = False  # it knows no node any more: the next call begins with the one that the URL names
                raise RedisConnectionError(f"no node of the cluster can be used: {error}") from error

    def command(self, **_: Any) -> dict[str, Any]:
        """Nothing: the table of all commands, which redis-py wants at the start, has 200 KB to tell where keys are."""
        return {}

    def determine_slot(self, *args: Any) -> Any:
        """Where the key is: of scripts the first comes fourth, of whatever else is asked here first. If it does not, the server tells."""
        is_script = str(args[0]).upper().startswith(("EVAL", "FCALL"))
        return self.keyslot(args[3 if is_script else 1])

    def close(self) -> None:
        """Close the connections; another command opens them."""
        if self._is_begun and self._of == os.getpid():
            super().close()
        self._is_begun = False

    def _forget(self) -> None:
        self._is_begun = False
        self._beginning = threading.Lock()
        self._of = os.getpid()

    def _begin(self) -> None:
        if self._of != os.getpid():
            self._forget()  # this is a forked child: nobody may hold the locks, and connections are the parent's
        if self._is_begun:
            return
        if not self._beginning.acquire(timeout=self._whole):
            raise RedisTimeoutError("another thread is still looking for the nodes of the cluster")
        try:
            if not self._is_begun:
                pool = {"connection_pool_class": _Pool, **_options(self._line)}
                super().__init__(url=self._url, require_full_coverage=False, retry=_never(), **pool)
                self.cluster_error_retry_attempts = 0  # what `retry` says to versions from 6 on
                self._is_begun = True
        finally:
            self._beginning.release()


class _Pool(BlockingConnectionPool):  # type: ignore[misc]
    """One that makes nobody wait longer than for an answer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "max_connections": CONNECTIONS, "timeout": options["socket_timeout"]})


class _BoundedConnection(Connection):  # type: ignore[misc]
    """A connection, plain or TLS, over a `BoundedSocket`."""

    line: Line  # of its class, as redis-py hands on only options that it knows

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "socket_read_size": READ})
        # No CLIENT SETINFO, which would be two more round trips: as versions below 7 have it, and those above.
        self.lib_name = self.lib_version = self.driver_info = None
        self._is_new = False
        self._login: Password | None = None  # while it is under way
        self.register_connect_callback(self.settle)

    def set_parser(self, parser_class: Any) -> None:
        """Always the one in Python.

        hiredis makes room for as many elements as an answer claims to have: 12 bytes of a liar take 0.7 s and 3 GB of addresses.
        """
        super().set_parser(type("Parser", (_RESP2Parser,), {"EXCEPTION_CLASSES": parser_class.EXCEPTION_CLASSES}))

    def _connect(self) -> Any:
        sock, self._login = self.line.connected(self.host, self.port)  # pyright: ignore[reportAttributeAccessIssue]
        self.credential_provider, self._is_new = self._login, True
        return sock

    def settle(self, _: Any = None) -> None:
        """It has logged in: commands begin."""
        self._login = None
        if self._sock is not None:
            self._sock.settle()

    def can_read(self, *args: Any, **named: Any) -> bool:
        """Whether there is something that nobody has asked for.

        The pool wants to know before each use, and connects anew if there is, or if the server has closed it: not one that is new.
        """
        if self._is_new:
            self._is_new = False
            return False
        return bool(super().can_read(*args, **named))

    def read_response(self, *args: Any, **named: Any) -> Any:
        """An answer; any error is one of redis-py's."""
        try:
            return super().read_response(*args, **named)
        except (ClusterDownError, TryAgainError) as error:
            raise ResponseError(str(error)) from error  # redis-py would sleep for up to 0.25 s, and ask the cluster again
        except RedisError as error:
            if self._login is None or self._login.get_credentials()[-1] not in str(error):
                raise
        except Exception as error:  # such as a length that is no number, or lists in lists without end
            self.disconnect()
            raise RedisConnectionError(f"the answer of {self.host}:{self.port} cannot be read") from error
        # A server that does not know AUTH quotes what came with it. Raised out here, so that nothing of that is its context.
        self.disconnect()
        raise AuthenticationError(f"{self.host}:{self.port} refuses the log-in, in words that quote it")


def _options(line: Line) -> dict[str, Any]:
    return {
        "connection_class": type("BoundedConnection", (_BoundedConnection,), {"line": line}),
        "protocol": 2,  # 3 begins with HELLO, and nothing of it is used here
        "socket_timeout": line.bounds.timeout,
        "socket_connect_timeout": line.bounds.connect_timeout,
    }


def _never() -> Retry:
    return Retry(NoBackoff(), 0)


@contextlib.contextmanager
def _all_until(until: Until, seconds: float) -> Iterator[None]:
    """Bound all that this thread asks for inside; within another such call, that one's bound holds as well."""
    before = until.at
    until.at = min(before, time.monotonic() + seconds)
    try:
        yield
    finally:
        until.at = before
