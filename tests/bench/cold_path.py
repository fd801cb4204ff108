"""A large object that is nowhere yet, as a file: `Cache.path` beside what else downloads one. Against `StaticOrigin`, over the loopback.

Without pacing the machine is the limit, and S3 is faster than anything; that s3warm alone of all of them sums what it got is part of its
time. Paced, each connection brings what one of S3's does.
"""

from __future__ import annotations

import gc
import hashlib
import os
import shutil
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.bodies import MIB, noise
from tests.bench.interleave import Comparison, Timing
from tests.bench.report import Report, Table, number
from tests.support.static_origin import StaticOrigin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Download = Callable[[str], str]  # from the folder to put it to where it is

__all__ = ["run", "write_object"]

BUCKET, KEY, SMALL = "models", "large.bin", "small.bin"
REGION = "us-east-1"
SIZE, ROUNDS = 512 * MIB, 7
PACED_SIZE, PACED_ROUNDS, LATENCY, RATE = 256 * MIB, 5, 0.020, 90e6
PATIENCE = 120.0  # seconds that awscrt may take
FEWER = 2.5  # times, beside a single stream

OURS = "s3warm, Cache.path"
BOTO = "boto3 download_file"
CRT = "awscrt S3Client"
OBSTORE = "obstore get, streamed"
SINGLE = "boto3 get_object, one stream"


class Way(NamedTuple):
    """A way to get the object, and how to make what goes it, from the address of the origin."""

    name: str
    make: Callable[[str], Download]


class Outcome(NamedTuple):
    """What was measured, and why the others were not."""

    comparison: Comparison
    failed: dict[str, str]


def run(directory: str) -> Report:
    """Measure both, and show seconds, throughput and whether the bars hold."""
    fast = (Way(OURS, _ours), Way(BOTO, _download_file), Way(CRT, _awscrt), Way(OBSTORE, _obstore))
    paced = (Way(OURS, _ours), Way(SINGLE, _single), Way(BOTO, _download_file))
    free = _compare(directory, fast, SIZE, ROUNDS)
    slow = _compare(directory, paced, PACED_SIZE, PACED_ROUNDS, latency=LATENCY, rate=RATE)
    ratio, gain = free.comparison.ratio(OURS, BOTO), slow.comparison.ratio(SINGLE, OURS)
    free_bar = f"Bar: no more time than {BOTO}: {_verdict(holds=ratio <= 1)}, {ratio:.2f} times its seconds"
    slow_bar = f"Bar: at least {FEWER} times fewer seconds than one stream: {_verdict(holds=gain >= FEWER)}, {gain:.2f} times"
    pace = f"{LATENCY * 1e3:.0f} ms and {RATE / 1e6:.0f} MB/s a connection"
    tables = [
        _table(f"Cold path: {SIZE // MIB} MiB, unpaced (medians of {ROUNDS} rounds)\n{free_bar}", free, SIZE, fast, BOTO),
        _table(
            f"Cold path: {PACED_SIZE // MIB} MiB, {pace} ({PACED_ROUNDS} rounds)\n{slow_bar}", slow, PACED_SIZE, paced, SINGLE
        ),
    ]
    figures = {
        "unpaced": {**free.comparison.to_json(), "failed": free.failed, "ratio": ratio},
        "paced": {**slow.comparison.to_json(), "failed": slow.failed, "times_fewer": gain},
        "versions": {name: _version(name) for name in ("boto3", "awscrt", "obstore")},
    }
    return Report(tables, figures)


def _compare(
    directory: str, ways: Sequence[Way], size: int, rounds: int, *, latency: float = 0.0, rate: float | None = None
) -> Outcome:
    """Each way in each round, in an order that rotates; the first round warms up and checks what came."""
    source = Path(directory, "source")
    md5 = write_object(source, noise(MIB), size)
    samples: dict[str, list[float]] = {way.name: [] for way in ways}
    failed: dict[str, str] = {}
    with StaticOrigin(latency=latency, rate=rate) as origin:
        origin.put(BUCKET, KEY, source, etag=md5)
        origin.put(BUCKET, SMALL, b"x")
        ready: list[tuple[str, Download]] = []
        for name, make in ways:
            try:
                download = make(origin.endpoint)
                _turn(directory, download, size, md5)
            except Exception as error:
                if name in (OURS, BOTO, SINGLE):
                    raise
                failed[name] = f"{type(error).__name__}: {error}"
            else:
                ready.append((name, download))
        for number_of_round in range(rounds):
            first = number_of_round % len(ready)
            for name, download in ready[first:] + ready[:first]:
                samples[name].append(_turn(directory, download, size))
    source.unlink()
    return Outcome(Comparison([Timing(name, 1, tuple(samples[name])) for name, _ in ready]), failed)


def _turn(directory: str, download: Download, size: int, md5: str = "") -> float:
    """Nanoseconds of one download into a folder that is new; nobody has anything left to write when it begins, or when it is over."""
    folder = os.path.join(directory, "turn")
    os.mkdir(folder)
    gc.collect()
    os.sync()
    begin = time.perf_counter_ns()
    path = download(folder)
    taken = time.perf_counter_ns() - begin
    assert os.path.getsize(path) == size
    if md5:
        with open(path, "rb") as file:
            assert hashlib.file_digest(file, "md5").hexdigest() == md5, f"{path} is another file"
    shutil.rmtree(folder)
    return taken


def write_object(path: Path, block: bytes, size: int) -> str:
    """A file of many MiB like the block, no two of them the same; its MD5."""
    own, digest = bytearray(block), hashlib.md5()
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            own[:16] = b"%016d" % start
            file.write(own)
            digest.update(own)
    return digest.hexdigest()


# The ways


def _client(endpoint: str) -> Any:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}, max_pool_connections=16)
    client = boto3.session.Session().client("s3", endpoint_url=endpoint, region_name=REGION, config=config)
    client.get_object(Bucket=BUCKET, Key=SMALL)["Body"].read()
    return client


def _ours(endpoint: str) -> Download:
    from s3warm import Cache

    client = _client(endpoint)

    def download(folder: str) -> str:
        with Cache(client=client, directory=os.path.join(folder, "cache")) as cache:
            return str(cache.path(BUCKET, KEY))

    return download


def _download_file(endpoint: str) -> Download:
    client = _client(endpoint)

    def download(folder: str) -> str:
        path = os.path.join(folder, "file")
        client.download_file(BUCKET, KEY, path)
        return path

    return download


def _single(endpoint: str) -> Download:
    client = _client(endpoint)

    def download(folder: str) -> str:
        path = os.path.join(folder, "file")
        body = client.get_object(Bucket=BUCKET, Key=KEY)["Body"]
        with open(path, "wb") as file:
            shutil.copyfileobj(body, file, MIB)
        return path

    return download


def _awscrt(endpoint: str) -> Download:
    from awscrt.http import HttpHeaders, HttpRequest
    from awscrt.io import ClientBootstrap
    from awscrt.s3 import S3Client, S3RequestTlsMode, S3RequestType

    bootstrap = ClientBootstrap.get_or_create_static_default()
    client = S3Client(bootstrap=bootstrap, region=REGION, tls_mode=S3RequestTlsMode.DISABLED)  # without credentials: unsigned
    host = endpoint.removeprefix("http://")

    def download(folder: str) -> str:
        path = os.path.join(folder, "file")
        request = HttpRequest("GET", f"/{BUCKET}/{KEY}", HttpHeaders([("host", host)]))
        under_way = client.make_request(type=S3RequestType.GET_OBJECT, request=request, recv_filepath=path)
        under_way.finished_future.result(PATIENCE)
        return path

    return download


def _obstore(endpoint: str) -> Download:
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=endpoint,
        region=REGION,
        skip_signature=True,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )

    def download(folder: str) -> str:
        path = os.path.join(folder, "file")
        with open(path, "wb") as file:
            file.writelines(store.get(KEY).stream())
        return path

    return download


# What is shown


def _table(title: str, outcome: Outcome, size: int, ways: Sequence[Way], base: str) -> Table:
    comparison = outcome.comparison
    rows: list[tuple[str, ...]] = []
    for name, _ in ways:
        if name in outcome.failed:
            rows.append((f"{name}: not measured ({outcome.failed[name]})", "", "", "", ""))
            continue
        timing = comparison.timings[name]
        rate, ratio = size / timing.median * 1e3, comparison.ratio(name, base)
        rows.append((name, number(timing.median / 1e9), number(rate), f"{ratio:.2f}", f"{timing.spread:.0%}"))
    return Table(title, ("", "s", "MB/s", f"× {base}", "spread"), rows)


def _verdict(*, holds: bool) -> str:
    return "holds" if holds else "DOES NOT HOLD"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
