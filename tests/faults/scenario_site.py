"""Where scenarios take place: an S3 server behind the fault proxy, and the clients that are shared, as making one takes 50 ms."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from s3warm import Cache
from s3warm.origin import wire
from s3warm.origin.boto import BotoRequests
from s3warm.origin.lean import LeanRequests
from tests.faults.proxy import FaultProxy

if TYPE_CHECKING:
    from s3warm import Settings
    from s3warm.origin.base import Requests

__all__ = ["ORIGINS", "Site"]

ORIGINS = ("boto3", "client", "lean")  # boto3 as s3warm sets it up, a client of the user's, and s3warm's own
HASTE = 0.25  # seconds without a byte, while bodies may stall
_PATIENCE = wire.READ_TIMEOUT


class Site:
    """A server, seen through the proxy by caches and directly by the test.

    Attributes:
        name: "embedded" or "gateway".
        hasty: whether caches give up on a body after a quarter of a second. Else they wait so long that no slow machine looks like a fault.
        jitter: what `draw` draws from.
    """

    def __init__(self, name: str, server: Any) -> None:
        self.name = name
        self.server = server
        self.proxy = FaultProxy(server.address, late=0.02)
        self.keys = getattr(server, "access_key", "key"), getattr(server, "secret_key", "secret")
        self.direct = _client(server.endpoint, self.keys, 20)
        self._patient = _client(self.proxy.endpoint, self.keys, 20)
        self._hasty = _client(self.proxy.endpoint, self.keys, HASTE)
        self.jitter = random.Random()
        self.hasty = False

    @property
    def hasty(self) -> bool:
        return self._in_haste

    @hasty.setter
    def hasty(self, hasty: bool) -> None:
        self._in_haste = hasty
        wire.READ_TIMEOUT = HASTE if hasty else _PATIENCE

    @property
    def client(self) -> Any:
        """The boto3 client for now."""
        return self._hasty if self._in_haste else self._patient

    def draw(self) -> float:
        """What the TTL's jitter is."""
        return self.jitter.random()

    def calm(self) -> None:
        """No faults, no outage, no haste."""
        self.proxy.chaos(0, 0.0, ())
        self.proxy.down = False
        self.hasty = False

    def cache(self, origin: str, **options: Any) -> Cache:
        return _Cache(self, origin, **options)

    def close(self) -> None:
        self.calm()
        self.proxy.close()
        for each in (self.direct, self._patient, self._hasty):
            each.close()


class _Cache(Cache):
    def __init__(self, site: Site, origin: str, **options: Any) -> None:
        self._site, self._sends = site, origin
        super().__init__(**options)

    def _supplier(self, client: Any, settings: Settings) -> Requests:
        if self._sends == "client":
            return BotoRequests(_Shared(self._site))
        if self._sends == "boto3":
            requests = BotoRequests()
            requests._made, requests._made_for = _Shared(self._site), (os.getpid(), os.environ.get("AWS_ACCESS_KEY_ID"))
            return requests
        return LeanRequests(
            {
                "AWS_ENDPOINT_URL_S3": self._site.proxy.endpoint,
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": self._site.keys[0],
                "AWS_SECRET_ACCESS_KEY": self._site.keys[1],
            }
        )


class _Shared:
    """The site's boto3 client of the moment, which no cache may close."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def __getattr__(self, name: str) -> Any:
        return getattr(self._site.client, name)

    def close(self) -> None:
        """Others use it."""


def _client(endpoint: str, keys: tuple[str, str], read_timeout: float) -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        config=Config(
            retries={"mode": "standard", "total_max_attempts": 1},
            s3={"addressing_style": "path"},
            connect_timeout=2,
            read_timeout=read_timeout,
        ),
    )
