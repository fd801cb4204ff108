"""The ways to get a large object: s3warm's, boto3's and others'. Each is made once, and then brings the object as often as it is told."""

from __future__ import annotations

import io
import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.bodies import MIB
from tests.bench.lean_place import BUCKET

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # From a folder that is new, and the key, to the path of what came, or to the body itself.
    Download = Callable[[str, str], str | bytes | memoryview]

__all__ = [
    "SMALL",
    "Place",
    "Ready",
    "Way",
    "awscrt",
    "download_file",
    "download_fileobj",
    "into_memory",
    "lean_get",
    "lean_get_past_the_disk",
    "lean_path",
    "obstore",
    "over_boto3",
    "to_a_file",
]

SMALL = "small.bin"  # whoever keeps connections has one when the clocks start
REGION = "us-east-1"
PATIENCE = 120.0  # seconds that awscrt may take


class Place(NamedTuple):
    """Where objects come from, and where caches lie that stay from one turn to the next."""

    endpoint: str
    directory: str


def _nothing() -> None:
    pass


class Ready(NamedTuple):
    """What brings the object, and what lets go of it again, once the clocks stand still.

    Whoever kept the bodies of all turns would take memory in each that nobody has touched before, which costs a virtual machine five times
    as much.
    """

    download: Download
    forget: Callable[[], object] = _nothing


class Way(NamedTuple):
    """A way to get an object, how to make what goes it, and which object it gets."""

    name: str
    make: Callable[[Place], Ready]
    key: str


# s3warm's


def lean_path(_place: Place) -> Ready:
    """`Cache.path` of a new cache, as the one that Lambda begins with."""
    from s3warm import Cache

    def download(folder: str, key: str) -> str:
        with Cache(origin="lean", directory=os.path.join(folder, "cache")) as cache:
            return str(cache.path(BUCKET, key))

    return Ready(download)


def over_boto3(place: Place) -> Ready:
    """The same over a client of boto3's, as outside of Lambda."""
    from s3warm import Cache

    client = _client(place.endpoint)

    def download(folder: str, key: str) -> str:
        with Cache(client=client, directory=os.path.join(folder, "cache")) as cache:
            return str(cache.path(BUCKET, key))

    return Ready(download)


def lean_get(place: Place) -> Ready:
    """`Cache.get`, which writes the body to the disk besides; the cache and one connection are there already, as boto3's client is."""
    from s3warm import Cache

    cache = Cache(origin="lean", directory=os.path.join(place.directory, "kept"))
    cache.get(BUCKET, SMALL)
    return Ready(lambda _folder, key: cache.get(BUCKET, key), cache.clear)


def lean_get_past_the_disk(_place: Place) -> Ready:
    """`Cache.get` without a disk tier."""
    from s3warm import Cache

    cache = Cache(origin="lean", disk_budget=0)
    cache.get(BUCKET, SMALL)
    return Ready(lambda _folder, key: cache.get(BUCKET, key), cache.clear)


# boto3's


def _client(endpoint: str) -> Any:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}, max_pool_connections=16)
    return _used(boto3.session.Session().client("s3", endpoint_url=endpoint, region_name=REGION, config=config))


def _plain_client() -> Any:
    import boto3

    return _used(boto3.session.Session().client("s3"))


def _used(client: Any) -> Any:
    client.get_object(Bucket=BUCKET, Key=SMALL)["Body"].read()
    return client


def download_file(place: Place) -> Ready:
    """To a file, with s3transfer's defaults."""
    client = _client(place.endpoint)

    def download(folder: str, key: str) -> str:
        path = os.path.join(folder, "file")
        client.download_file(BUCKET, key, path)
        return path

    return Ready(download)


def to_a_file(place: Place) -> Ready:
    """One stream to a file."""
    client = _client(place.endpoint)

    def download(folder: str, key: str) -> str:
        path = os.path.join(folder, "file")
        body = client.get_object(Bucket=BUCKET, Key=key)["Body"]
        with open(path, "wb") as file:
            shutil.copyfileobj(body, file, MIB)
        return path

    return Ready(download)


def into_memory(_place: Place) -> Ready:
    """One stream into memory: what everybody writes."""
    client = _plain_client()

    def download(_folder: str, key: str) -> bytes:
        body: bytes = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return body

    return Ready(download)


def download_fileobj(_place: Place) -> Ready:
    """Into memory by several connections, with s3transfer's defaults."""
    client = _plain_client()

    def download(_folder: str, key: str) -> memoryview:
        body = io.BytesIO()
        client.download_fileobj(BUCKET, key, body)
        return body.getbuffer()

    return Ready(download)


# Others'


def awscrt(place: Place) -> Ready:
    """AWS's C client."""
    from awscrt.http import HttpHeaders, HttpRequest
    from awscrt.io import ClientBootstrap
    from awscrt.s3 import S3Client, S3RequestTlsMode, S3RequestType

    bootstrap = ClientBootstrap.get_or_create_static_default()
    client = S3Client(bootstrap=bootstrap, region=REGION, tls_mode=S3RequestTlsMode.DISABLED)  # without credentials: unsigned
    host = place.endpoint.removeprefix("http://")

    def download(folder: str, key: str) -> str:
        path = os.path.join(folder, "file")
        request = HttpRequest("GET", f"/{BUCKET}/{key}", HttpHeaders([("host", host)]))
        under_way = client.make_request(type=S3RequestType.GET_OBJECT, request=request, recv_filepath=path)
        under_way.finished_future.result(PATIENCE)
        return path

    return Ready(download)


def obstore(place: Place) -> Ready:
    """Rust's object_store, one stream."""
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=place.endpoint,
        region=REGION,
        skip_signature=True,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )

    def download(folder: str, key: str) -> str:
        path = os.path.join(folder, "file")
        with open(path, "wb") as file:
            file.writelines(store.get(key).stream())
        return path

    return Ready(download)
