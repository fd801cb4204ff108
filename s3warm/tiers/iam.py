"""Log-in with an IAM token: ElastiCache and MemoryDB take a presigned request for a password.

https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html and https://docs.aws.amazon.com/memorydb/latest/devguide/auth-iam.html. A token
is good for 15 minutes, so each connection has its own. AWS closes a connection 12 hours after its log-in; it is then made anew, as any that was
closed while it was idle.
"""

from __future__ import annotations

import os
import time

from s3warm.errors import ConfigurationError
from s3warm.origin.credentials import Credentials, CredentialSource
from s3warm.origin.intime import in_time
from s3warm.origin.places import region_of
from s3warm.origin.sigv4 import Signer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from s3warm.origin.places import Url
    from s3warm.origin.sigv4 import Keys
    from s3warm.tiers.address import Place

    T = TypeVar("T")

__all__ = ["IamLogin", "login_of"]

GOOD = 900  # seconds; the longest that AWS takes


class IamLogin:
    """Who asks, as IAM knows it: what redis-py calls a credential provider. Nothing of it is ever printed.

    Args:
        place: with `user`, `iam`, `service` and `serverless`.
        region: the cache's.
        keys: the credentials of the moment, by a deadline on the monotonic clock; raises `TransportError` if there are none.
        clock: the wall clock.
    """

    def __init__(
        self, place: Place, region: str, keys: Callable[[float | None], Keys], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._user = place.user
        self._name = place.iam.lower()  # AWS has them in lower case, and signs for that
        self._parameters = [("Action", "connect"), ("User", place.user)]
        if place.serverless:
            self._parameters.append(("ResourceType", "ServerlessCache"))
        self._signer = Signer(region, place.service, clock=clock)
        self._keys = keys

    def get_credentials(self, deadline: float | None = None) -> tuple[str, str]:
        """The user and a fresh token.

        Args:
            deadline: on the monotonic clock; None: as long as it takes.

        Raises:
            Late: there are no credentials by then.
            TransportError: there are none.
        """
        keys = self._keys(deadline)
        return self._user, f"{self._name}/?{self._signer.presigned(self._name, '/', self._parameters, keys, expires=GOOD)}"


def login_of(place: Place, environ: Mapping[str, str] = os.environ) -> IamLogin:
    """The log-in with the credentials of the function's role in Lambda, elsewhere with those that boto3 finds.

    Raises:
        ConfigurationError: neither the place nor the environment has a region.
    """
    region = place.region or region_of(environ)
    if not region:
        raise ConfigurationError("IAM tokens are signed for a region: set AWS_REGION, or add region= to shared_url")
    return IamLogin(place, region, _of_lambda(environ) if environ.get("AWS_LAMBDA_RUNTIME_API") else _of_boto3())


def _of_lambda(environ: Mapping[str, str]) -> Callable[[float | None], Keys]:
    source = CredentialSource(environ, _ask)

    def keys(deadline: float | None) -> Keys:
        if environ.get("AWS_ACCESS_KEY_ID"):
            return source.current(deadline)
        return _by(deadline, source.current)  # whose endpoint may take longer: what it brings is there for the next connection

    return keys


def _of_boto3() -> Callable[[float | None], Keys]:
    from s3warm.origin.chain import chain_of_credentials

    chain = chain_of_credentials()
    return lambda deadline: Credentials(*_by(deadline, chain))


def _by(deadline: float | None, find: Callable[[], T]) -> T:
    return find() if deadline is None else in_time(find, deadline, drop=lambda _: None)


def _ask(url: Url, token: str, deadline: float | None) -> tuple[int, bytes]:
    """Status and body of the endpoint that has the credentials."""
    from s3warm.origin.connections import Connections
    from s3warm.origin.endpoint import ask_endpoint

    connections = Connections()
    try:
        return ask_endpoint(connections, url, token, deadline)
    finally:
        connections.close()
