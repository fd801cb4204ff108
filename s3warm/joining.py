"""How a cache joins a fleet: the parts of the shared tier, put together; imported by those that have one."""

from __future__ import annotations

from importlib.util import find_spec

from s3warm.errors import ConfigurationError
from s3warm.fleet import Fleet
from s3warm.origin.identity import fleet_namespace
from s3warm.tiers.bounded import WHOLE
from s3warm.tiers.leases import Leases
from s3warm.tiers.sealed import Sealer
from s3warm.tiers.server import Server
from s3warm.tiers.shared import SharedTier
from s3warm.tiers.tidings import Tidings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from s3warm.notices import Notices
    from s3warm.revalidation import Revalidation
    from s3warm.rules.prefixes import Rules
    from s3warm.settings import Settings
    from s3warm.tiers.base import Account

__all__ = ["join"]

_KEPT = 300.0  # seconds at least that expired entries are kept, for a 304 to renew them
_MARGIN = 64 * 1024  # bytes of an answer beside the body
_PAGE = 512 * 1024  # bytes that a page of the log may have: 65 entries, with keys that JSON makes six times as long


def join(
    settings: Settings,
    *,
    client: Any,
    shared_client: Any,
    rules: Rules,
    account: Account,
    clock: Callable[[], float],
    notices: Notices,
    environ: Mapping[str, str],
) -> Callable[[Revalidation], Fleet]:
    """What makes the `Fleet` of a cache with these settings, which have a `shared_url`, unless there is a `shared_client`.

    Raises:
        TypeError: `shared_client` is something else.
        ConfigurationError: it has no secret, or nothing tells whose entries are its own, or redis-py is not installed.
    """
    if shared_client is not None:
        _check(shared_client)
    elif find_spec("redis") is None:
        raise ConfigurationError("shared_url needs redis-py: pip install 's3warm[shared]'")
    if settings.shared_secret is None and not settings.shared_unauthenticated:
        raise ConfigurationError(
            "the shared tier needs shared_secret (or S3WARM_SHARED_SECRET): whoever can write to the server could otherwise put anything into every "
            "environment; make one with: python -c 'import secrets; print(secrets.token_hex(32))'. shared_unauthenticated=True does without"
        )
    namespace = fleet_namespace(settings.namespace, client, environ)
    if namespace is None:
        raise ConfigurationError(
            "the shared tier needs namespace=... (or S3WARM_NAMESPACE): all that have the same one read each other's objects, and nothing else tells here "
            "who may; in Lambda, without a client of yours, it is the function's name"
        )
    secret = b"" if settings.shared_secret is None else settings.shared_secret.encode()

    def dialled() -> Any:
        from s3warm.tiers.dialing import dial

        return dial(
            str(settings.shared_url),
            connect_timeout=settings.shared_connect_timeout,
            timeout=settings.shared_timeout,
            largest=max(settings.shared_max_object, _PAGE) + _MARGIN,
        )

    if shared_client is None:
        server = Server(dialled, lambda made: made.close(), clock=clock, failed=notices.server_failed)
    else:  # it may have other users
        server = Server(lambda: shared_client, lambda _: None, clock=clock, failed=notices.server_failed)
    sealer = Sealer(namespace, secret)
    shared = SharedTier(
        server,
        sealer,
        largest=settings.shared_max_object,
        level=settings.compression_level,
        keep=max(_KEPT, settings.stale_if_error),
        must_verify=settings.verify == "require",
        opted=rules.in_fleet,
        account=account,
        clock=clock,
        refused=notices.refused,
    )
    tidings = Tidings(server, sealer, lambda error: notices.refused(None, error))

    def fleet(revalidation: Revalidation) -> Fleet:
        longest = WHOLE * settings.shared_timeout
        return Fleet(
            revalidation, shared, Leases(server, sealer), tidings, longest=longest, clock=clock, counters=notices.counters
        )

    return fleet


def _check(client: Any) -> None:
    ask = getattr(client, "hmget", None)
    if isinstance(client, type) or not callable(ask):
        kind = client.__name__ if isinstance(client, type) else type(client).__name__
        raise TypeError(f"shared_client must be a client of redis-py or valkey-py, or None, not {kind}")
    if hasattr(client, "aclose"):
        raise TypeError(
            "shared_client must be a client that waits for its answers, not one for asyncio: s3warm.aio uses it in threads"
        )
    pool = getattr(client, "connection_pool", None)
    if getattr(pool, "connection_kwargs", {}).get("decode_responses"):
        raise TypeError("shared_client must give bytes: make it without decode_responses")
