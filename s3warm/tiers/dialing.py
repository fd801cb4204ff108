"""Clients for a Valkey or Redis server, in bounds that redis-py's own time-outs do not give.

A connection is made within `connect_timeout + timeout`, log-in and all; a command takes no longer than `bounded.WHOLE` time-outs, and its answer
no more memory than the largest value. Nothing is repeated, but that a connection which the server has closed while it was idle is made anew:
what a failure means is for who asks to decide, with a circuit breaker.
"""

from __future__ import annotations

from s3warm.errors import ConfigurationError
from s3warm.tiers.address import Place, parse
from s3warm.tiers.line import Bounds, Line, Password

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext
    from typing import Any

    from s3warm.tiers.line import Login

__all__ = ["Place", "dial", "parse"]


def dial(place_or_url: Place | str, *, connect_timeout: float, timeout: float, largest: int) -> Any:
    """A client of redis-py for a server or a cluster, which connects at its first command.

    Several threads may use it, and a forked child. Its errors are those of redis-py: `redis.exceptions.RedisError`.

    Args:
        place_or_url: as `parse` has it.
        connect_timeout: seconds until a connection stands.
        timeout: seconds until an answer begins, and of the longest gap in it.
        largest: bytes of the largest value; an answer that is larger is cut off.

    Raises:
        ValueError: the URL is none, see `parse`.
        ConfigurationError: redis-py is not installed, the file of `ca=` cannot be read, or IAM has no region.

    Example:
        >>> client = dial("redis://:secret@127.0.0.1:6379/2", connect_timeout=0.05, timeout=0.02, largest=2**20)
        >>> type(client)
        <class 'redis.client.Redis'>
        >>> client.close()
    """
    place = parse(place_or_url) if isinstance(place_or_url, str) else place_or_url
    try:
        import s3warm.tiers.clients as made
    except ImportError as error:
        raise ConfigurationError("shared_url needs redis-py: pip install 's3warm[shared]'") from error
    line = Line(Bounds(connect_timeout, timeout, largest), _login(place), _context(place))
    if place.cluster:
        return made.LateCluster(line, place.host, place.port)
    return made.single(line, place.host, place.port, place.db)


def _login(place: Place) -> Login | None:
    if place.iam:
        from s3warm.tiers.iam import login_of

        return login_of(place)
    if place.user:
        return Password(place.user, place.password)
    return Password(place.password) if place.password else None


def _context(place: Place) -> SSLContext | None:
    """What is trusted: the file that the URL names, or what the system trusts. Read here, before a connection has to stand in time."""
    if not place.tls:
        return None
    if not place.ca:
        from s3warm.origin.connections import tls_context

        return tls_context()
    import ssl

    try:
        return ssl.create_default_context(cafile=place.ca)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"ca={place.ca!r} of shared_url is no file of certificates that can be read: {error}"
        ) from error
