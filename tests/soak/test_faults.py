"""Transfers among random faults end with the right bytes or an error of ours, and leave nothing behind: files, threads, connections, pins.

Nothing here waits for the clock but the client for bodies that stall, and that for half a second.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import random
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import urllib3.connection

from s3warm import Cache, IntegrityError, OriginUnavailableError, S3WarmError
from s3warm.origin import base, boto, wire
from s3warm.rules.outage import MAX_RETRY_AFTER
from s3warm.tiers.disk import DiskTier
from tests.faults.tried import SOAK, note
from tests.soak.test_sigkill import bound_by_modes, check_sealed, files_below
from tests.support.environs import unconfigure
from tests.support.orphans import orphans
from tests.support.static_origin import StaticOrigin
from tests.support.supplier import full_jitter, shrink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.faults
SMALL, TRUE, STREAMS = (240, 30, 30) if SOAK else (12, 2, 2)  # for each origin
BUCKET = "faults"
MIB = 2**20
KINDS = (*("reset", "truncate", "503") * 4, "stall", "late")  # the last two take their time
READ_TIMEOUT = 0.5
REQUESTS = 3 * 31  # for one part: of one stream 10 breaks, 3 attempts after each, and 3 streams if the whole is asked for anew


class Scale(NamedTuple):
    """How large parts are, and objects beside them."""

    part: int
    chunk: int
    sizes: tuple[int, ...]
    budget: int


SCALES = {
    "small": Scale(64 * 1024, 8 * 1024, (0, 1, 8191, 65_535, 65_536, 65_537, 131_072, 131_073, 327_687), 1_800_000),
    "true": Scale(base.PART, base.CHUNK, (0, 1, 65_536, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 16 * MIB + 1, 40 * MIB), 100 * MIB),
}


@functools.cache
def body_of(size: int, seed: int) -> bytes:
    if seed == 2:  # compresses by half
        return random.Random(seed).randbytes(size // 2 + 1).hex().encode()[:size]
    return random.Random(seed).randbytes(size)


class Soak:
    """One cache on one directory, over an origin whose answers are broken."""

    def __init__(self, static: StaticOrigin, directory: Path, scale: Scale, seed: int, **options: Any) -> None:
        gc.collect()  # botocore leaves the connections of a client that was closed to the collector
        self.static = static
        self.scale = scale
        self.directory = directory
        self.chance = random.Random(seed)
        self.now = 1_700_000_000.0
        self.cache = Cache(directory=directory, namespace="soak", clock=lambda: self.now, **options)
        self.right = self.errors = 0
        self._puts = 0

    def put(self, key: str) -> bytes:
        """Half of the ETags are no MD5."""
        body = body_of(self.chance.choice(self.scale.sizes), self.chance.randrange(3))
        self._puts += 1
        etag = hashlib.md5(body).hexdigest()
        self.static.put(BUCKET, key, body, etag=f"{etag}-{self._puts}" if self.chance.random() < 0.5 else etag)
        return body

    def put_md5(self, key: str) -> bytes:
        body = body_of(self.chance.choice(self.scale.sizes), self.chance.randrange(3))
        self.static.put(BUCKET, key, body)
        return body

    def transfer(self, number: int, way: str, *, flips: bool) -> None:
        """Fetch among faults, and then, if that failed, without."""
        put = self.put_md5 if flips else self.put
        want: dict[str, bytes] = {}
        if way == "tree":
            want = {name: put(f"{number}/{name}") for name in ("a", "b/c.bin", "d")}
        else:
            want = {"": put(f"{number}.bin")}
        fetch: Callable[[], dict[str, bytes]] = functools.partial(getattr(self, way), number)
        share = self.chance.choice([0.1, 0.3, 0.6, 0.8])
        message = f"s3://{BUCKET}/{number}"
        self.static.forget()
        self.static.chaos(self.chance.randrange(10**9), share, (*KINDS, "flip", "flip") if flips else KINDS)
        try:
            assert fetch() == want
            self.right += 1
        except (OriginUnavailableError, IntegrityError) as error:
            self.errors += 1
            message = str(error)
        finally:
            self.static.chaos(0, 0.0, [])
            self.now += MAX_RETRY_AFTER
        assert f"s3://{BUCKET}/{number}" in message
        parts = sum(len(body) // self.scale.part + 1 for body in want.values())
        assert len(self.static.requests()) <= parts * REQUESTS
        self.check_at_rest()
        assert fetch() == want
        assert fetch() == want
        self.cache.release_all()

    # -- the ways ----------------------------------------------------------------------------------------------------------

    def get(self, number: int) -> dict[str, bytes]:
        return {"": self.cache.get(BUCKET, f"{number}.bin")}

    def path(self, number: int) -> dict[str, bytes]:
        return {"": self.cache.path(BUCKET, f"{number}.bin").read_bytes()}

    def as_file(self, number: int) -> dict[str, bytes]:
        with self.cache.as_file(BUCKET, f"{number}.bin") as path:
            return {"": path.read_bytes()}

    def open(self, number: int) -> dict[str, bytes]:
        with self.cache.open(BUCKET, f"{number}.bin") as file:
            return {"": file.read()}

    def tree(self, number: int) -> dict[str, bytes]:
        return files_below(str(self.cache.tree(BUCKET, f"{number}/")))

    # -- what is left ------------------------------------------------------------------------------------------------------

    def check_at_rest(self) -> None:
        assert [thread.name for thread in threading.enumerate() if thread.name.startswith("s3warm")] == []
        if self.cache._files is not None:
            found = orphans(self.directory)
            assert found == ([], [])
            stats = self.cache.stats()
            assert stats.disk_bytes <= stats.disk_budget
            assert (stats.disk_errors, stats.corrupt, stats.stale_served) == (0, 0, 0)

    def check_connections(self) -> None:
        """All that are open lie in the pool."""
        requests = self.cache._origin._exchange.requests  # type: ignore[attr-defined]
        if self.cache.settings.origin == "lean":
            kept = {id(pair[0]) for pairs in requests._lean._connections._idle.values() for pair in pairs}
            ours = [found for found in gc.get_objects() if type(found) is wire.Connection]
            assert {id(found) for found in ours if found.socket.fileno() >= 0} <= kept
            return
        pools = requests._made._endpoint.http_session._manager.pools._container.values()
        ports = {pool.port for pool in pools}  # other tests have connections of their own
        idle = {id(connection) for pool in pools for connection in pool.pool.queue}
        there = [found for found in gc.get_objects() if isinstance(found, urllib3.connection.HTTPConnection)]
        assert {id(found) for found in there if found.sock is not None and found.port in ports} <= idle

    def check_pins(self) -> None:
        self.cache.release_all()
        tier = self.cache._files
        assert isinstance(tier, DiskTier)
        assert tier._pins is not None
        assert tier._pins._held == {}

    def close(self) -> None:
        self.check_connections()
        self.cache.close()
        print(f"{self.right} right, {self.errors} errors")


@pytest.fixture(scope="module")
def process() -> Iterator[StaticOrigin]:
    with StaticOrigin() as origin:
        yield origin


@pytest.fixture(params=["boto3", "lean"])
def static(process: StaticOrigin, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[StaticOrigin]:
    """A server whose answers can be broken, asked by boto3 and by the small client."""
    monkeypatch.setenv("S3WARM_ORIGIN", request.param)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", process.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setattr(boto, "READ_TIMEOUT", READ_TIMEOUT)
    monkeypatch.setattr(wire, "READ_TIMEOUT", READ_TIMEOUT)
    unconfigure(monkeypatch)
    full_jitter(monkeypatch, 0.0)
    threads = set(threading.enumerate())
    with bound_by_modes():
        yield process
    assert set(threading.enumerate()) == threads
    process.chaos(0, 0.0, [])


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "transfers"), [("small", SMALL), ("true", TRUE)])
def test_transfers_among_faults_end_right_or_with_an_error_of_ours(
    static: StaticOrigin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, transfers: int
) -> None:
    scale = SCALES[name]
    shrink(monkeypatch, part=scale.part, chunk=scale.chunk)
    memory = scale.budget // 4
    soak = Soak(static, tmp_path / "cache", scale, 11, disk_budget=scale.budget, memory_budget=memory)
    for number in range(transfers):
        way = soak.chance.choice(["get", "path", "open", "as_file", "tree"])
        soak.transfer(number, way, flips=soak.chance.random() < 0.4)
        if number % 10 == 9:
            soak.check_connections()
            check_sealed(soak.directory)
    soak.check_pins()
    soak.close()
    check_sealed(tmp_path / "cache")
    assert soak.right > transfers // 3
    assert soak.errors or not SOAK
    origin = soak.cache.settings.origin
    note(
        "transfers",
        f"{transfers} through {origin}, parts of {scale.part // 1024:,} KiB",
        f"{soak.right} right at once, {soak.errors} with one of the documented errors, and right when asked again; nothing left behind",
        part=f"{name}-{origin}",
    )


@pytest.mark.timeout(900)
def test_streams_among_faults_end_right_or_with_an_error_of_ours(
    static: StaticOrigin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without flips: what is read by ranges has no sum to compare it with."""
    scale = SCALES["small"]
    shrink(monkeypatch, part=scale.part, chunk=scale.chunk)
    soak = Soak(static, tmp_path, scale, 12, disk_budget=0, memory_budget=0)
    for number in range(STREAMS):
        soak.transfer(number, "open", flips=False)
    soak.close()
    assert soak.right > STREAMS // 3


@pytest.mark.timeout(900)
def test_threads_that_want_the_same_at_once_all_end_right_or_with_an_error_of_ours(
    static: StaticOrigin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale = SCALES["small"]
    shrink(monkeypatch, part=scale.part, chunk=scale.chunk)
    soak = Soak(static, tmp_path / "cache", scale, 13, disk_budget=scale.budget, memory_budget=0)
    right: list[int] = []
    wrong: list[BaseException] = []

    def one(way: str, number: int, want: bytes, barrier: threading.Barrier) -> None:
        try:
            barrier.wait()
            assert getattr(soak, way)(number) == {"": want}
            right.append(number)
        except S3WarmError:
            pass
        except BaseException as error:  # noqa: BLE001  # raised again by the test
            wrong.append(error)

    for number in range(30 if SOAK else 3):
        want = soak.put_md5(f"{number}.bin")
        static.chaos(soak.chance.randrange(10**9), 0.1, (*KINDS, "flip"))
        barrier = threading.Barrier(4)
        ways = ("get", "path", "as_file", "open")
        threads = [threading.Thread(target=one, args=(way, number, want, barrier)) for way in ways]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        static.chaos(0, 0.0, [])
        soak.now += MAX_RETRY_AFTER
        assert wrong == []
        soak.check_at_rest()
        assert all(getattr(soak, way)(number) == {"": want} for way in ways)
        soak.cache.release_all()
    soak.check_pins()
    soak.close()
    assert right
