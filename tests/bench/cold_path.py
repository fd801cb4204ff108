"""A large object that is nowhere yet, into memory and as a file: s3warm beside what else brings one. Against `StaticOrigin`, over the loopback.

Paced, each connection brings what one of S3's does. Without pacing the machine is the limit, and S3 is faster than anything; the server's
processor time comes out of the same cores.

The objects have the ETag of an upload in parts, as boto3 and the AWS CLI upload whatever is larger than 8 MiB. Beside them lies the same body
with its MD5 for an ETag, as an upload in one piece has it: s3warm alone of all of them sums that, which by itself costs what the others' whole
download does.
"""

from __future__ import annotations

import gc
import hashlib
import io
import os
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench import downloads
from tests.bench.bodies import MIB, noise
from tests.bench.downloads import SMALL, Place, Way
from tests.bench.large import write_object
from tests.bench.lean_place import BUCKET, like_lambda
from tests.bench.report import Line, Report, Table, number
from tests.bench.spent import median, spend
from tests.support.static_origin import StaticOrigin

if TYPE_CHECKING:
    from typing import Any

    from tests.bench.downloads import Ready
    from tests.bench.spent import Spent

__all__ = ["run"]

WHOLE, PARTS = "whole", "parts"  # uploaded at once, with an MD5 for its ETag; or in parts, as tools upload what is large
PART = 8 * MIB  # of such an upload: boto3's and the AWS CLI's default

GET = "s3warm, Cache.get"
GET_MD5 = "s3warm, Cache.get, ETag an MD5"
GET_PAST_DISK = "s3warm, Cache.get, disk_budget=0"
READ = "boto3 get_object().read()"
FILEOBJ = "boto3 download_fileobj"
PATH = "s3warm, Cache.path"
PATH_MD5 = "s3warm, Cache.path, ETag an MD5"
PATH_BY_BOTO = "s3warm over boto3, Cache.path"
DOWNLOAD = "boto3 download_file"
SINGLE = "boto3 get_object, one stream to a file"
CRT = "awscrt S3Client"
OBSTORE = "obstore get, streamed"
OPTIONAL = (CRT, OBSTORE)


class Race(NamedTuple):
    """Who gets an object of which size, at which pace."""

    ways: tuple[Way, ...]
    size: int
    rounds: int
    latency: float = 0.0
    rate: float | None = None


class Outcome(NamedTuple):
    """What was measured, by name, and why the others were not."""

    samples: dict[str, list[Spent]]
    failed: dict[str, str]

    def cost(self, name: str) -> Spent:
        """The medians."""
        return median(self.samples[name])


MEMORY = Race(
    (
        Way(GET, downloads.lean_get, PARTS),
        Way(GET_MD5, downloads.lean_get, WHOLE),
        Way(GET_PAST_DISK, downloads.lean_get_past_the_disk, PARTS),
        Way(READ, downloads.into_memory, PARTS),
        Way(FILEOBJ, downloads.download_fileobj, PARTS),
    ),
    64 * MIB,
    7,
    0.020,
    90e6,
)
FILE = Race(
    (
        Way(PATH, downloads.lean_path, PARTS),
        Way(PATH_MD5, downloads.lean_path, WHOLE),
        Way(PATH_BY_BOTO, downloads.over_boto3, PARTS),
        Way(DOWNLOAD, downloads.download_file, PARTS),
        Way(CRT, downloads.awscrt, PARTS),
        Way(OBSTORE, downloads.obstore, PARTS),
    ),
    512 * MIB,
    5,
)
PACED_FILE = Race(
    (
        Way(PATH, downloads.lean_path, PARTS),
        Way(PATH_MD5, downloads.lean_path, WHOLE),
        Way(SINGLE, downloads.to_a_file, PARTS),
        Way(DOWNLOAD, downloads.download_file, PARTS),
    ),
    256 * MIB,
    2,
    0.020,
    90e6,
)


def run(directory: str) -> Report:
    """Measure, and show seconds, throughput and the processor's time."""
    memory, file, paced = (_race(directory, race) for race in (MEMORY, FILE, PACED_FILE))
    ours, theirs = file.cost(PATH), file.cost(DOWNLOAD)
    lines = [
        Line(f"64 MiB paced: {GET} beside {READ}", memory.cost(READ).wall / memory.cost(GET).wall, "at least", 6, "×"),
        Line(f"64 MiB paced: {GET} beside {FILEOBJ}", memory.cost(FILEOBJ).wall / memory.cost(GET).wall, "at least", 1.3, "×"),
        Line(f"512 MiB unpaced: {PATH} beside {DOWNLOAD}", theirs.wall / ours.wall, "at least", 2, "×"),
        Line(f"512 MiB unpaced: CPU of {PATH}, of {DOWNLOAD}'s", ours.cpu / theirs.cpu * 100, "at most", 50, "%"),
    ]
    tables = [
        _table("into memory", MEMORY, memory, READ),
        _table("as a file", FILE, file, DOWNLOAD),
        _table("as a file", PACED_FILE, paced, SINGLE),
    ]
    figures = {
        "memory, paced": _json(memory),
        "file, unpaced": _json(file),
        "file, paced": _json(paced),
        "versions": {name: _version(name) for name in ("boto3", "awscrt", "obstore")},
    }
    return Report(tables, figures, lines)


def _race(directory: str, race: Race) -> Outcome:
    """Each way in each round, in an order that rotates; the first round warms up and checks what came."""
    samples: dict[str, list[Spent]] = {way.name: [] for way in race.ways}
    failed: dict[str, str] = {}
    with StaticOrigin(latency=race.latency, rate=race.rate) as origin, like_lambda(origin.endpoint):
        source = Path(directory, "source")
        _put(origin, source, race)
        place = Place(origin.endpoint, os.path.join(directory, "places"))
        ready: list[tuple[Way, Ready]] = []
        for way in race.ways:
            try:
                made = way.make(place)
                _turn(directory, made, _key(way.key, 0), race.size, source)
            except Exception as error:
                if way.name not in OPTIONAL:
                    raise
                failed[way.name] = f"{type(error).__name__}: {error}"
            else:
                ready.append((way, made))
        for turn in range(1, race.rounds + 1):
            first = turn % len(ready)
            for way, made in ready[first:] + ready[:first]:
                samples[way.name].append(_turn(directory, made, _key(way.key, turn), race.size))
    shutil.rmtree(place.directory, ignore_errors=True)
    source.unlink()
    return Outcome({name: found for name, found in samples.items() if found}, failed)


def _put(origin: StaticOrigin, source: Path, race: Race) -> None:
    """The object under keys of its own for each round, so that it is nowhere yet in each."""
    md5 = write_object(source, noise(MIB), race.size)
    etag_of_parts = f'"{hashlib.md5(md5.encode()).hexdigest()}-{race.size // PART}"'
    for turn in range(race.rounds + 1):
        origin.put(BUCKET, _key(WHOLE, turn), source, etag=md5)
        origin.put(BUCKET, _key(PARTS, turn), source, etag=etag_of_parts)
    origin.put(BUCKET, SMALL, b"x")


def _key(kind: str, turn: int) -> str:
    return f"{kind}/{turn}.bin"


def _turn(directory: str, ready: Ready, key: str, size: int, source: Path | None = None) -> Spent:
    """One download into a folder that is new; nobody has anything left to write when it begins, or when it is over."""
    folder = os.path.join(directory, "turn")
    os.mkdir(folder)
    gc.collect()
    os.sync()
    came: list[str | bytes | memoryview] = []
    spent = spend(lambda: came.append(ready.download(folder, key)))
    body = came.pop()
    assert size == (os.path.getsize(body) if isinstance(body, str) else len(body))
    if source is not None:
        _check(body, source)
    del body
    ready.forget()
    shutil.rmtree(folder)
    return spent


def _check(came: str | bytes | memoryview, source: Path) -> None:
    """It is the object, byte for byte."""
    with source.open("rb") as right, open(came, "rb") if isinstance(came, str) else io.BytesIO(came) as found:
        while piece := right.read(MIB):
            assert found.read(MIB) == piece, "something else came"


# What is shown


def _table(what: str, race: Race, outcome: Outcome, base: str) -> Table:
    pace = f"{race.latency * 1e3:.0f} ms and {race.rate / 1e6:.0f} MB/s a connection" if race.rate else "unpaced"
    title = (
        f"Cold path: {race.size // MIB} MiB {what}, {pace} (medians of {race.rounds} rounds)\n"
        "The ETag is that of an upload in parts, where none other is named; an MD5 is verified by s3warm alone, and costs 1.3 ms of CPU a MiB\n"
        "CPU is this process's own; the server's, which sends from the page cache, comes out of the same cores"
    )
    rows: list[tuple[str, ...]] = []
    for way in race.ways:
        if way.name in outcome.failed:
            rows.append((f"{way.name}: not measured ({outcome.failed[way.name]})", *[""] * 5))
            continue
        cost, against = outcome.cost(way.name), outcome.cost(base)
        mib = race.size / MIB
        rows.append(
            (
                way.name,
                number(cost.wall / 1e9),
                number(race.size / cost.wall * 1e3),
                number(against.wall / cost.wall),
                number(cost.cpu / mib / 1e3),
                f"{cost.cpu / against.cpu:.0%}",
            )
        )
    return Table(title, ("", "s", "MB/s", f"× {base}", "CPU µs/MiB", f"of {base}"), rows)


def _json(outcome: Outcome) -> dict[str, Any]:
    samples = {name: [list(one) for one in found] for name, found in outcome.samples.items()}
    return {"wall and CPU, ns": samples, "failed": outcome.failed}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
