"""Large bodies over real connections that break, stall and lie: right bytes or an error of ours, and every connection given back."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import random
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import urllib3.connection

from s3warm.errors import IntegrityError, OriginUnavailableError
from s3warm.keys import ObjectKey
from s3warm.metrics import Counters
from s3warm.origin import boto
from s3warm.origin.base import NotModified
from s3warm.origin.boto import BotoRequests
from s3warm.origin.fetch import ConditionalFetch
from tests.support.static_origin import Fault, StaticOrigin
from tests.support.supplier import Keeper, shrink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3warm.origin.fetch import Arriving

BUCKET = "transfers"
PART, CHUNK = 64 * 1024, 8 * 1024
BODY = random.Random(1).randbytes(9 * PART + 12_345)


@pytest.fixture(scope="module")
def process() -> Iterator[StaticOrigin]:
    with StaticOrigin() as origin:
        yield origin


@pytest.fixture
def static(process: StaticOrigin, monkeypatch: pytest.MonkeyPatch) -> Iterator[StaticOrigin]:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", process.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    shrink(monkeypatch, part=PART, chunk=CHUNK)
    process.forget()
    yield process
    process.chaos(0, 0.0, [])


class Supplied:
    """The fetch over a client of its own, which waits for nothing."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.requests = BotoRequests()
        self.origin = ConditionalFetch(self.requests, self.counters, sleep=lambda _: None)
        self.progress: list[tuple[int, int]] = []

    def fetch(self, key: str) -> Arriving:
        answer = self.origin.fetch(ObjectKey(BUCKET, key), if_none_match=None)
        assert not isinstance(answer, NotModified)
        return answer

    def note(self, done: int, size: int) -> None:
        self.progress.append((done, size))

    def pools(self) -> list[Any]:
        return list(self.requests._made._endpoint.http_session._manager.pools._container.values())

    def open_connections(self) -> int:
        """How many there are; all of them lie in the pool, as nothing is under way."""
        idle = {id(connection) for pool in self.pools() for connection in pool.pool.queue}
        kinds = urllib3.connection.HTTPConnection
        ports = {pool.port for pool in self.pools()}  # other tests have connections of their own
        there = [
            found for found in gc.get_objects() if isinstance(found, kinds) and found.sock is not None and found.port in ports
        ]
        assert {id(connection) for connection in there} <= idle
        return len(there)


@pytest.fixture
def supplied(static: StaticOrigin) -> Iterator[Supplied]:
    made = Supplied()
    yield made
    made.origin.close()


def test_a_large_body_comes_by_parts_each_sent_once(static: StaticOrigin, supplied: Supplied) -> None:
    etag = static.put(BUCKET, "large", BODY)
    sink = Keeper(PART)
    with contextlib.closing(supplied.fetch("large")) as answer:
        info = answer.save(sink, 4 * CHUNK, supplied.note)
    assert (info.etag, info.size, info.verified_by) == (etag, len(BODY), "md5")
    assert bytes(sink.body) == BODY
    served = static.requests()
    assert (served[0].range, served[0].if_match) == ("", "")
    parts = range(1, 10)
    expected = {f"bytes={part * PART}-{min((part + 1) * PART, len(BODY)) - 1}" for part in parts}
    assert {one.range for one in served[1:]} == expected
    assert [one.if_match for one in served[1:]] == [etag] * len(parts)
    assert {one.status for one in served} == {200, 206}
    assert sum(one.sent for one in served[1:]) == len(BODY) - PART
    assert supplied.counters.origin_bytes == len(BODY)
    assert supplied.open_connections() <= 4
    assert supplied.progress[-1] == (len(BODY), len(BODY))


def test_two_hundred_transfers_among_random_faults(static: StaticOrigin, supplied: Supplied) -> None:
    chance = random.Random(7)
    static.chaos(7, 0.05, ["reset", "truncate", "flip", "503", "500", "refuse"])
    ends = {"right": 0, "error": 0}
    for number in range(200):
        size = chance.choice([0, 1, PART - 1, PART, PART + 1, chance.randrange(10 * PART)])
        start = chance.randrange(len(BODY) - size) if size < len(BODY) else 0
        body = BODY[start : start + size]
        etag = static.put(BUCKET, f"{number}", body)
        sink = Keeper(PART)
        memory = chance.choice([0, 2, 8]) * CHUNK
        failure: OriginUnavailableError | IntegrityError | None = None
        try:
            with contextlib.closing(supplied.fetch(f"{number}")) as answer:
                if chance.random() < 0.5:
                    info = answer.save(sink, memory, supplied.note)
                    arrived = bytes(sink.body)
                else:
                    info, arrived = answer.read(len(body) + memory, supplied.note)
        except (OriginUnavailableError, IntegrityError) as error:
            failure = error
            ends["error"] += 1
        else:
            assert hashlib.md5(arrived).hexdigest() == etag.strip('"')
            assert (info.size, info.verified_by) == (len(body), "md5")
            ends["right"] += 1
        if failure is not None:
            assert f"s3://{BUCKET}/{number} " in str(failure)
            assert failure.__cause__ is not None
        if number % 20 == 19:
            supplied.open_connections()
    assert ends["right"] > 150
    faults = {served.fault for served in static.requests()}
    assert faults == {"", "reset", "truncate", "flip", "503", "500", "refuse"}


def test_a_body_that_stalls_goes_on_over_another_connection(
    static: StaticOrigin, supplied: Supplied, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boto, "READ_TIMEOUT", 0.2)
    static.put(BUCKET, "stalls", BODY)
    static.fault(Fault("stall", offset=3 * CHUNK, key="stalls"))
    with contextlib.closing(supplied.fetch("stalls")) as answer:
        assert answer.read(len(BODY), supplied.note).body == BODY
    assert [one.range for one in static.requests()] == ["", f"bytes={3 * CHUNK}-{len(BODY) - 1}"]
    assert supplied.open_connections() == 1


def test_an_object_that_is_overwritten_comes_whole(static: StaticOrigin, supplied: Supplied) -> None:
    static.put(BUCKET, "changes", BODY)
    sink, other = Keeper(PART), bytes(reversed(BODY))
    written: list[str] = []

    def overwrite(part: int) -> None:
        if not written:
            written.append(static.put(BUCKET, "changes", other))

    sink.on_finished = overwrite
    with contextlib.closing(supplied.fetch("changes")) as answer:
        info = answer.save(sink, 2 * CHUNK, supplied.note)
    assert (info.etag, bytes(sink.body)) == (written[0], other)
    assert 412 in {one.status for one in static.requests()}


def test_an_archive_is_read_without_all_of_it(
    static: StaticOrigin, supplied: Supplied, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3warm.origin import stream

    monkeypatch.setattr(stream, "FIRST_WINDOW", CHUNK)
    monkeypatch.setattr(stream, "SKIP", CHUNK)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for number in range(10):
            archive.writestr(f"{number}.bin", BODY[number * PART : number * PART + PART])
    static.put(BUCKET, "archive.zip", made.getvalue())
    static.chaos(3, 0.2, ["reset", "truncate"])
    with io.BufferedReader(supplied.fetch("archive.zip").stream()) as file, zipfile.ZipFile(file) as archive:
        assert archive.read("7.bin") == BODY[7 * PART : 8 * PART]
    assert supplied.counters.origin_bytes < 3 * PART
    supplied.open_connections()


def test_a_listing_has_all_pages(static: StaticOrigin, supplied: Supplied) -> None:
    for number in range(1003):
        static.put(BUCKET, f"many/a b+{number:04}", b"x")
    static.forget()
    found = supplied.origin.list(BUCKET, "many/", 2000)
    assert [one.key for one in found] == [f"many/a b+{number:04}" for number in range(1003)]
    assert {(one.etag, one.size) for one in found} == {('"9dd4e461268c8034f5c8564e155c67a6"', 1)}
    assert len(static.requests()) == 2


def test_empty_objects_share_a_connection(static: StaticOrigin, supplied: Supplied) -> None:
    static.put(BUCKET, "empty", b"")
    for _ in range(5):
        with contextlib.closing(supplied.fetch("empty")) as answer:
            assert answer.read(0, supplied.note).body == b""
    assert sum(pool.num_connections for pool in supplied.pools()) == 1
