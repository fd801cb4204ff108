"""Origins to run the flow tests against: the fake in memory, moto's server and a real gateway behind a counting proxy.

The fake is there once more for a fleet: there each cache has the tiers of its directory, and then the server that all of them share.

A flow is written once. A world gives it an S3 to write to behind the cache's back, caches over that S3 with a clock that the test moves,
and the requests as S3 saw them.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import boto3
import botocore.session
from botocore.config import Config

from s3warm import Cache
from s3warm.origin.lean import LeanRequests
from s3warm.testing import FakeCache, FakeS3
from tests.support.fleets import FleetCache
from tests.support.proxy import RecordingProxy
from tests.support.threads import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from s3warm import Settings
    from s3warm.origin.base import Requests

# Each client reads botocore's models anew, which is most of what a test of this kind would take: once for a process is enough.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)

BUCKET = "flows"
_buckets = itertools.count()


class Seen(NamedTuple):
    """One request as S3 saw it."""

    method: str
    key: str
    conditional: bool
    status: int
    bytes: int


class World(Protocol):
    """An S3 for one test."""

    name: str
    bucket: str
    now: float

    def put(self, key: str, body: bytes, **options: Any) -> None:
        """Write an object; options are those of boto3's put_object."""

    def delete(self, key: str) -> None:
        """Delete an object."""

    def deny(self, key: str) -> None:
        """Let the object answer 403 AccessDenied from now on."""

    def set_down(self, down: bool) -> None:
        """Let S3 be out of reach."""

    def seen(self) -> list[Seen]:
        """The cache's requests since the last `forget`."""

    def forget(self) -> None:
        """Count anew."""

    def hold(self, entered: Callable[[], None]) -> None:
        """Call this for each request of the cache before S3 sees it."""

    def cache(self, **options: Any) -> Cache:
        """A cache over this S3, on the same directory each time."""


class _Caches:
    """What all worlds share: a clock, a directory, and the caches to close."""

    now: float = 1_700_000_000.0

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bucket = f"{BUCKET}-{next(_buckets)}"
        self.caches: list[Cache] = []

    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"directory": self.directory, "namespace": "flows", "ttl_jitter": 0.0, **options}

    def keep(self, cache: Cache) -> Cache:
        self.caches.append(cache)
        return cache

    def close(self) -> None:
        for cache in self.caches:
            cache.close()


class FakeWorld(_Caches):
    """`s3warm.testing`'s S3."""

    name = "fake"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.s3 = FakeS3()

    @property
    def now(self) -> float:
        return self.s3.now

    @now.setter
    def now(self, seconds: float) -> None:
        self.s3.now = seconds

    def _uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def put(self, key: str, body: bytes, **options: Any) -> None:
        names = {"CacheControl": "cache_control", "ContentType": "content_type"}
        headers = {names[name]: value for name, value in options.items() if name in names}
        user = {f"x_amz_meta_{name}": value for name, value in options.get("Metadata", {}).items()}
        self.s3.put(self._uri(key), body, **headers, **user)

    def delete(self, key: str) -> None:
        del self.s3[self._uri(key)]

    def deny(self, key: str) -> None:
        self.s3.denied.add(self._uri(key))

    def set_down(self, down: bool) -> None:
        self.s3.down = down

    def seen(self) -> list[Seen]:
        return [
            Seen(request.method, request.uri.split("/", 3)[3], request.if_none_match is not None, request.status, request.bytes)
            for request in self.s3.requests
        ]

    def forget(self) -> None:
        self.s3.requests.clear()

    def hold(self, entered: Callable[[], None]) -> None:
        self.s3.before_answer = lambda _: entered()

    def cache(self, **options: Any) -> Cache:
        return self.keep(FakeCache(self.s3, **self.options(options)))


class FleetWorld(FakeWorld):
    """The same S3; each cache is an environment of one fleet, whose server is real."""

    def __init__(self, directory: Path, url: str) -> None:
        super().__init__(directory)
        # However slow this machine is at the moment, the server answers; what happens where it does not has tests of its own.
        self._shared = {"shared_url": url, "shared_timeout": PATIENCE, "shared_connect_timeout": PATIENCE}

    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        return super().options({"namespace": self.bucket, **self._shared, **options})

    def cache(self, **options: Any) -> Cache:
        return self.keep(FleetCache(self.s3, None, **self.options(options)))

    def close(self) -> None:
        super().close()
        assert [cache.stats().shared_errors for cache in self.caches] == [0] * len(self.caches), "the server gave no trouble"


class ServerWorld(_Caches):
    """A server, seen through the proxy by the cache and directly by the test."""

    def __init__(self, name: str, server: Any, directory: Path, *, access_key: str, secret_key: str) -> None:
        super().__init__(directory)
        self.name = name
        self.proxy = RecordingProxy(server.address)
        self.direct = client(server.endpoint, access_key, secret_key)
        self.through = client(self.proxy.endpoint, access_key, secret_key)
        self.direct.create_bucket(Bucket=self.bucket)

    def put(self, key: str, body: bytes, **options: Any) -> None:
        self.direct.put_object(Bucket=self.bucket, Key=key, Body=body, **options)

    def delete(self, key: str) -> None:
        self.direct.delete_object(Bucket=self.bucket, Key=key)

    def deny(self, key: str) -> None:
        import json

        statement = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{self.bucket}/{key}",
        }
        self.direct.put_bucket_policy(
            Bucket=self.bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        )

    def set_down(self, down: bool) -> None:
        self.proxy.down = down

    def seen(self) -> list[Seen]:
        return [
            Seen(
                exchange.method,
                exchange.path.split("/", 2)[2],
                "if-none-match" in exchange.headers,
                exchange.status,
                exchange.response_body_bytes if exchange.status == 200 else 0,
            )
            for exchange in self.proxy.exchanges
        ]

    def forget(self) -> None:
        self.proxy.clear()

    def hold(self, entered: Callable[[], None]) -> None:
        self.proxy.before_request = lambda _: entered()

    def cache(self, **options: Any) -> Cache:
        return self.keep(Cache(client=self.through, clock=lambda: self.now, **self.options(options)))

    def close(self) -> None:
        super().close()
        self.proxy.close()
        self.direct.close()
        self.through.close()


class LeanWorld(ServerWorld):
    """The same, asked by s3warm's own client."""

    def __init__(self, name: str, server: Any, directory: Path, *, access_key: str, secret_key: str) -> None:
        super().__init__(name, server, directory, access_key=access_key, secret_key=secret_key)
        self._environ = {
            "AWS_ENDPOINT_URL_S3": self.proxy.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
        }

    def cache(self, **options: Any) -> Cache:
        return self.keep(_LeanCache(self._environ, clock=lambda: self.now, **self.options(options)))


class _LeanCache(Cache):
    """A cache over the lean origin in another environment than this process's."""

    def __init__(self, environ: Mapping[str, str], **options: Any) -> None:
        self._environ = environ
        super().__init__(**options)

    def _supplier(self, client: Any, settings: Settings) -> Requests:
        return LeanRequests(self._environ, checksums=settings.verify == "require")


def client(endpoint: str, access_key: str, secret_key: str) -> Any:
    """A boto3 client that gives up at once."""
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": 1},
            s3={"addressing_style": "path"},
            connect_timeout=2,
            read_timeout=20,
        ),
    )
