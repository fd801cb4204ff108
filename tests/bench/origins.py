"""The ways to ask S3 without boto3's client, beside it: what a fresh process pays up to its first object, and what each request costs.

`python -m tests.bench.origins` prints it. All ask the same `StaticOrigin` over the loopback, in the clear, signed with the same credentials.
Each way is a piece of source, so that a fresh process imports what it needs and nothing else.
"""

from __future__ import annotations

import importlib.metadata
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import patch

from tests.bench.interleave import calls, interleave
from tests.bench.lean_place import BUCKET, variables
from tests.bench.report import Report, Table, number
from tests.support.static_origin import StaticOrigin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Get = Callable[..., tuple[int, bytes]]  # from an ETag that is held, or none, to the status and the body

__all__ = ["run"]

ROOT = Path(__file__).parents[2]
KEY, BODY = "first/1 KiB.bin", bytes(range(256)) * 4
STARTS, ROUNDS, TURN = 15, 15, 0.05
MIB = 2**20
BARE, OURS = "bare interpreter", "import s3warm, which all of them begin with"
BOTO3, LEAN = "boto3", "s3warm's lean origin"

BOTO3_SOURCE = """
import boto3, botocore.exceptions
client = boto3.session.Session().client("s3")
def get(etag=None):
    try:
        answer = client.get_object(Bucket=BUCKET, Key=KEY, **({"IfNoneMatch": etag} if etag else {}))
    except botocore.exceptions.ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], b""
    return 200, answer["Body"].read()
"""

OBSTORE_SOURCE = """
from obstore.store import S3Store
from obstore.exceptions import NotModifiedError
store = S3Store(BUCKET, endpoint=ENDPOINT, region=REGION, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY, token=TOKEN,
                virtual_hosted_style_request=False, client_options={"allow_http": True})
def get(etag=None):
    try:
        return 200, bytes(store.get(KEY, options={"if_none_match": etag} if etag else None).bytes())
    except NotModifiedError:
        return 304, b""
"""

SIGNER_SOURCE = """
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from urllib.parse import quote
import urllib3
pool = urllib3.PoolManager()
auth = S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY, TOKEN), "s3", REGION)
def get(etag=None):
    request = AWSRequest("GET", f"{ENDPOINT}/{BUCKET}/{quote(KEY)}", headers={"If-None-Match": etag} if etag else {})
    auth.add_auth(request)
    answer = pool.request("GET", request.url, headers=dict(request.headers.items()))
    return answer.status, answer.data
"""

HTTP_CLIENT_SOURCE = """
import http.client
from s3warm.origin.credentials import Credentials
from s3warm.origin.sigv4 import Signer, quoted
host = ENDPOINT.removeprefix("http://")
connection = http.client.HTTPConnection(host)
signer, keys = Signer(REGION), Credentials(ACCESS_KEY, SECRET_KEY, TOKEN)
def get(etag=None):
    path = f"/{BUCKET}/{quoted(KEY, path=True)}"
    lines = signer.headers(host, path, "", [("if-none-match", etag)] if etag else [], keys)
    connection.request("GET", path, headers=dict(line.split(": ", 1) for line in lines.split("\\r\\n") if line))
    answer = connection.getresponse()
    return answer.status, answer.read()
"""

LEAN_SOURCE = """
from s3warm.keys import ObjectKey
from s3warm.origin.base import Request
from s3warm.origin.lean import LeanRequests
requests, wanted = LeanRequests(), ObjectKey(BUCKET, KEY)
def get(etag=None):
    answer = requests.get(Request(wanted, etag))
    length = int(answer.headers.get("content-length", 0)) if answer.status == 200 else 0
    body, received = bytearray(length), 0
    while received < length:
        received += answer.readinto(memoryview(body)[received:])
    answer.close()
    return answer.status, bytes(body)
"""

ENVIRONMENT = (
    "import os\nBUCKET, KEY, REGION, ENDPOINT, ACCESS_KEY, SECRET_KEY, TOKEN = (os.environ[name] for name in {names!r})\n"
)
FIRST = "status, body = get()\nassert (status, len(body)) == (200, 1024)\n"
RESIDENT = "with open('/proc/self/statm') as file:\n    print(int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE'))\n"


class Way(NamedTuple):
    """A way to ask, the packages that it takes, and who looks after them."""

    name: str
    source: str
    packages: tuple[str, ...]
    kept_by: str


WAYS = (
    Way(BOTO3, BOTO3_SOURCE, ("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six", "urllib3"), "AWS"),
    Way("botocore's signer + urllib3", SIGNER_SOURCE, ("botocore", "jmespath", "python-dateutil", "six", "urllib3"), "AWS, urllib3"),
    Way("obstore", OBSTORE_SOURCE, ("obstore",), "Development Seed; Apache Arrow's object_store"),
    Way("http.client + our signer", HTTP_CLIENT_SOURCE, (), "CPython, and we"),
    Way(LEAN, LEAN_SOURCE, (), "we"),
)  # fmt: skip
NAMES = ("BENCH_BUCKET", "BENCH_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")  # fmt: skip


def run(directory: str) -> Report:
    """Measure starts and requests, and show both."""
    with StaticOrigin() as origin:
        etag = origin.put(BUCKET, KEY, BODY)
        with patch.dict(os.environ, variables(origin.endpoint, BENCH_BUCKET=BUCKET, BENCH_KEY=KEY), clear=True):
            starts = _starts()
            wall, cpu = _requests(etag, time.perf_counter_ns), _requests(etag, time.process_time_ns)
    rows, costs = [], []
    medians = {name: [statistics.median(values) for values in zip(*samples, strict=True)] for name, samples in starts.items()}
    figures: dict[str, Any] = {}

    def over(name: str, base: str) -> tuple[float, float]:
        """Milliseconds and MiB."""
        return (medians[name][0] - medians[base][0]) * 1e3, (medians[name][1] - medians[base][1]) / MIB

    rows.append((OURS, *map(number, over(OURS, BARE)), "-", "we"))
    for way in WAYS:
        ms, mib = over(way.name, OURS)
        size = _installed(way.packages)
        rows.append((way.name, number(ms), number(mib), number(size / MIB) if size else "-", way.kept_by))
        costs.append((way.name, *(number(found[way.name, kind]) for kind in ("GET", "304") for found in (wall, cpu))))
        figures[way.name] = {"ms": ms, "mib": mib, "installed": size, "versions": _versions(way.packages)} | {
            f"{kind} {unit}": found[way.name, kind] for kind in ("GET", "304") for unit, found in (("wall", wall), ("cpu", cpu))
        }
    return Report(
        [
            Table(
                f"A fresh process from `import s3warm` to its first 1 KiB object (medians of {STARTS})",
                ("", "ms", "MiB", "installed, MiB", "kept by"),
                rows,
            ),
            Table(
                f"One request over a kept connection, µs (medians of {ROUNDS} rounds)",
                ("", "1 KiB wall", "1 KiB CPU", "304 wall", "304 CPU"),
                costs,
            ),
        ],
        figures,
    )


def _starts() -> dict[str, list[tuple[float, float]]]:
    """Seconds and bytes of fresh processes that take turns; the first round warms up."""
    sources = {BARE: f"import os\n{RESIDENT}", OURS: f"import os\nimport s3warm\n{RESIDENT}"}
    sources |= {way.name: "import s3warm\n" + ENVIRONMENT.format(names=NAMES) + way.source + FIRST + RESIDENT for way in WAYS}
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in sources}
    for turn in range(STARTS + 1):
        for name, source in sources.items():
            begin = time.perf_counter()
            said = subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, cwd=ROOT, text=True)
            if turn:
                samples[name].append((time.perf_counter() - begin, float(said.stdout)))
    return samples


def _requests(etag: str, timer: Callable[[], int]) -> Mapping[tuple[str, str], float]:
    """Microseconds of a GET and of a 304, by way."""
    candidates = []
    for way in WAYS:
        names: dict[str, Any] = {}
        exec(ENVIRONMENT.format(names=NAMES) + way.source, names)
        get: Get = names["get"]
        assert get() == (200, BODY), way.name
        assert get(etag) == (304, b""), way.name
        candidates += [calls(f"{way.name} GET", get), calls(f"{way.name} 304", get, etag)]
    compared = interleave(candidates, rounds=ROUNDS, turn=TURN, timer=timer)
    return {(way.name, kind): compared.median(f"{way.name} {kind}") / 1e3 for way in WAYS for kind in ("GET", "304")}


def _installed(packages: tuple[str, ...]) -> int:
    """Bytes of all files of the packages, compiled ones aside."""
    sizes = 0
    for name in packages:
        for file in importlib.metadata.files(name) or ():
            path = Path(str(file.locate()))
            if path.suffix != ".pyc" and path.is_file():
                sizes += path.stat().st_size
    return sizes


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in packages}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(run(folder))
