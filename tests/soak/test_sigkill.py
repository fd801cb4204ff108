"""A process that is killed at any moment leaves nothing behind that is wrong, and next to nothing that is lost.

One directory is used again and again, so that damage would add up. The process that is killed is forked from one of its own, which imports
everything once; each counts its steps (system calls that change the disk, and SQL statements; before and after) down to its end.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest
from botocore.config import Config

from s3warm import Cache, Event, ObjectTooLargeError
from s3warm.keys import ObjectKey
from s3warm.tiers import row as rows
from s3warm.tiers.disk import DiskTier
from s3warm.trees import Listing, Planting
from tests.faults.tried import SOAK, note
from tests.support.orphans import _texts, orphans
from tests.support.static_origin import StaticOrigin
from tests.support.supplier import shrink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3warm.options import Options

pytestmark = pytest.mark.faults
KILLS = 200 if SOAK else 20
ROOT = pathlib.Path(__file__).parents[2]
BUCKET = "kills"
PART, CHUNK = 64 * 1024, 16 * 1024
BUDGET = 2_500_000
TREES = ("tree-0/", "tree-1/")
LARGE = {f"model-{number}.bin": PART * (3 + number) + number for number in range(6)}
MEMBERS = {
    f"{tree}{name}": size for tree in TREES for name, size in (("a", 0), ("b.bin", 90_000), ("c/d", 9_000), ("e", 150_000))
}
TEXTS = {"small.json": 900, "middle.json": 200_000, "large.json": 400_000}
KEYS = LARGE | MEMBERS | TEXTS
STEPS = ("pwrite", "write", "rename", "link", "unlink", "rmdir", "mkdir", "fchmod", "posix_fallocate", "open")


@contextlib.contextmanager
def bound_by_modes() -> Iterator[None]:
    """Let modes of files bind this thread, and those that it starts, as they do in Lambda, though it may be root's."""
    if sys.platform != "linux":
        yield
        return
    header, capabilities = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None)
    libc.capget(header, capabilities)
    before = capabilities[0]
    capabilities[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, capabilities) == 0
    try:
        yield
    finally:
        capabilities[0] = before
        libc.capset(header, capabilities)


def client(endpoint: str) -> Any:
    config = Config(max_pool_connections=16, retries={"mode": "standard", "total_max_attempts": 1})
    session = boto3.session.Session("key", "secret", region_name="us-east-1")
    return session.client("s3", endpoint_url=endpoint, config=config)


def a_cache(directory: str, s3: Any, on_event: Callable[[Event], None] | None = None) -> Cache:
    options: Options = {
        "directory": directory,
        "namespace": "soak",
        "ttl": 3600,
        "disk_budget": BUDGET,
        "memory_budget": "1MiB",
    }
    return Cache(client=s3, on_event=on_event, **options)


# -- the process that is killed, and its parent -----------------------------------------------------------------------------


class Countdown:
    """Counts steps, and kills the process at the last one; 0 never does."""

    def __init__(self, last: int) -> None:
        self._last = last
        self._lock = threading.Lock()
        self.steps = 0

    def step(self) -> None:
        with self._lock:
            self.steps += 1
            if self.steps == self._last:
                os.kill(os.getpid(), signal.SIGKILL)

    def counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **kwargs: Any) -> Any:
            self.step()
            result = real(*args, **kwargs)
            self.step()
            return result

        return counting

    def install(self) -> None:
        for name in STEPS:
            setattr(os, name, self.counted(getattr(os, name)))
        countdown, connect = self, sqlite3.connect

        class Connection(sqlite3.Connection):
            def execute(self, *args: Any) -> sqlite3.Cursor:
                countdown.step()
                result = super().execute(*args)
                countdown.step()
                return result

        sqlite3.connect = lambda *args, **kwargs: connect(*args, factory=Connection, **kwargs)  # type: ignore[assignment]


def work(cache: Cache, chance: random.Random) -> None:
    """What is done until the end comes: downloads that evict others, replace them, are released or not."""
    for _ in range(14):
        ttl = chance.choice([None, 0])
        with contextlib.suppress(ObjectTooLargeError):
            match chance.choice(["path", "path", "get", "get", "tree", "tree", "open", "as_file", "release", "evict"]):
                case "path":
                    cache.path(BUCKET, chance.choice([*LARGE, *TEXTS]), ttl=ttl)
                case "get":
                    cache.get(BUCKET, chance.choice([*LARGE, *TEXTS]), ttl=ttl)
                case "tree":
                    cache.tree(BUCKET, chance.choice(TREES), ttl=ttl)
                case "open":
                    with cache.open(BUCKET, chance.choice([*KEYS]), ttl=ttl) as file:
                        file.read()
                case "as_file":
                    with cache.as_file(BUCKET, chance.choice([*KEYS]), ttl=ttl) as path:
                        path.read_bytes()
                case "release":
                    cache.release_all()
                case "evict":
                    cache._files.evict(ObjectKey(BUCKET, chance.choice([*KEYS])))  # type: ignore[union-attr]
    cache.close()


def live(order: dict[str, Any], s3: Any, answers: int) -> None:
    countdown = Countdown(order["steps"])
    countdown.install()
    cache = a_cache(order["directory"], s3)
    if order["way"]:
        getattr(cache, order["way"])(BUCKET, order["key"], ttl=0)
    else:
        work(cache, random.Random(order["seed"]))
    os.set_blocking(answers, False)
    os.writev(answers, [str(countdown.steps).encode()])


def main() -> None:
    """Fork, for each order on the standard input, a process that is killed; answer how it ended."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    with bound_by_modes(), pytest.MonkeyPatch.context() as patch:
        shrink(patch, part=PART, chunk=CHUNK)
        s3 = client(sys.argv[1])
        while line := sys.stdin.readline():
            order = json.loads(line)
            answer, answers = os.pipe()
            began = time.monotonic()
            pid = os.fork()
            if not pid:
                try:
                    live(order, s3, answers)
                    os._exit(0)
                except BaseException:  # noqa: BLE001  # it must not come to life as its parent
                    traceback.print_exc()
                finally:
                    os._exit(1)
            os.close(answers)
            if order["seconds"] is not None and signal.sigtimedwait([signal.SIGCHLD], order["seconds"]) is None:
                os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            signal.sigtimedwait([signal.SIGCHLD], 0)
            steps = os.read(answer, 100)
            os.close(answer)
            ended = {"code": os.waitstatus_to_exitcode(status), "steps": int(steps or 0), "seconds": time.monotonic() - began}
            print(json.dumps(ended), flush=True)


class Parent:
    """Of the processes that are killed."""

    def __init__(self, endpoint: str, directory: pathlib.Path) -> None:
        self._directory = directory
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.soak.test_sigkill import main; main()", endpoint],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, seed: int, *, steps: int = 0, seconds: float | None = None, way: str = "", key: str = "") -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"directory": str(self._directory), "seed": seed, "steps": steps, "seconds": seconds, "way": way, "key": key}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        ended: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert ended["code"] in (0, -signal.SIGKILL), f"the process failed by itself with seed {seed}: {ended}"
        return ended

    def close(self) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


# -- what is held -----------------------------------------------------------------------------------------------------------


class Partial(NamedTuple):
    """A download that was cut off: what S3 need not send again."""

    etag: str
    finished: int


class Origin:
    """All versions that there ever were, by ETag."""

    def __init__(self, static: StaticOrigin) -> None:
        self.static = static
        self.bodies: dict[str, dict[str, bytes]] = {key: {} for key in KEYS}
        self.now: dict[str, str] = {}
        self.trees: dict[str, list[dict[str, bytes]]] = {tree: [] for tree in TREES}
        self._made = 0
        for key in KEYS:
            self.overwrite(key)

    def overwrite(self, key: str) -> None:
        self._made += 1
        body = random.Random(self._made).randbytes(KEYS[key])
        if key in TEXTS:
            body = body[: KEYS[key] // 2].hex().encode()
        # Without an MD5 in the ETag, nothing but the seal of its file stands for the body.
        etag = hashlib.md5(body).hexdigest() if self._made % 2 else f"{hashlib.md5(body).hexdigest()}-2"
        self.now[key] = self.static.put(BUCKET, key, body, etag=etag)
        self.bodies[key][self.now[key]] = body
        for tree in TREES:
            if key.startswith(tree):
                held = {
                    name: self.bodies[name][self.now[name]] for name in MEMBERS if name.startswith(tree) and name in self.now
                }
                self.trees[tree].append({name.removeprefix(tree): body for name, body in held.items()})


def files_below(folder: str) -> dict[str, bytes]:
    root = pathlib.Path(folder)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def check_sealed(directory: pathlib.Path) -> None:
    """What the cache would serve without summing it is right: here all ETags begin with the MD5, also those that do not say so."""
    for key, text in _texts(directory):
        row = rows.readable(text)
        if row is None or row.state != rows.WHOLE or row.seal is None or row.codec != "raw":
            continue
        with (
            contextlib.suppress(FileNotFoundError),  # killed after it was removed, before the row was
            open(directory / "bodies" / rows.file_name(row, key), "rb") as file,
        ):
            status = os.fstat(file.fileno())
            if (status.st_ino, status.st_size, status.st_ctime_ns) == row.seal:
                assert hashlib.md5(file.read()).hexdigest() == row.info.etag.strip('"').partition("-")[0]


def check_served(cache: Cache, origin: Origin, chance: random.Random) -> None:
    """Everything that is held is whole, and the body that its ETag stands for."""
    tier = cache._files
    assert isinstance(tier, DiskTier)
    for key in KEYS:
        where = ObjectKey(BUCKET, key)
        if chance.random() < 0.5:
            entry = tier.get(where)
            assert entry is None or entry.body == origin.bodies[key][entry.etag]
        elif (file := tier.file(where)) is not None:
            assert pathlib.Path(file.path).read_bytes() == origin.bodies[key][file.etag]
            file.pin.release()
    for tree in TREES:
        folder = tier.file(ObjectKey(BUCKET, tree, tree=True))
        if folder is not None:
            assert files_below(folder.path) in origin.trees[tree]
            folder.pin.release()


def partials(directory: pathlib.Path) -> dict[ObjectKey, Partial]:
    """The downloads that may go on."""
    found = {}
    for key, text in _texts(directory):
        row = rows.readable(text)
        if row is not None and row.state == rows.PARTIAL and row.finished:
            first = key == rows.partial_keys(rows.digest(row.namespace, row.object))[0]
            if first and os.path.exists(directory / "staging" / rows.partial_name(key)):
                found[row.object] = Partial(row.info.etag, int(row.finished, 16))
    return found


def check_resumed(cache: Cache, origin: Origin, directory: pathlib.Path) -> int:
    """What was cut off goes on: only what is missing is asked for. Returns how many did."""
    tier, resumed = cache._files, 0
    assert isinstance(tier, DiskTier)
    for where, partial in partials(directory).items():
        held = tier.file(where)
        if held is not None:
            held.pin.release()
        if where.tree:
            listing = Planting(cache._origin, tier, cache._ledger).fetch(where, if_none_match=None)
            assert isinstance(listing, Listing)
            old = {} if held is None else files_below(held.path)
            current = {one.key: origin.bodies[one.key][one.etag] for one in listing.found}
            wanted = {
                one.key
                for number, one in enumerate(listing.found)
                if not partial.finished >> number & 1 and old.get(one.key.removeprefix(where.key)) != current[one.key]
            }
            origin.static.forget()
            folder = cache.tree(BUCKET, where.key, ttl=0)
            assert files_below(str(folder)) == {name.removeprefix(where.key): body for name, body in current.items()}
            if listing.info.etag == partial.etag and (held is None or held.etag != partial.etag):
                assert {one.key for one in origin.static.requests() if one.key} == wanted
                resumed += 1
        else:
            etag, size = origin.now[where.key], len(origin.bodies[where.key][origin.now[where.key]])
            origin.static.forget()
            assert cache.path(BUCKET, where.key, ttl=0).read_bytes() == origin.bodies[where.key][etag]
            if etag == partial.etag and (held is None or held.etag != etag):
                missing = {part for part in range(1, -(-size // PART)) if not partial.finished >> part & 1}
                asked = [one.range for one in origin.static.requests()]
                assert asked[0] == ""
                assert sorted(asked[1:]) == sorted(
                    f"bytes={part * PART}-{min((part + 1) * PART, size) - 1}" for part in missing
                )
                resumed += 1
        cache.release_all()
    return resumed


@pytest.mark.timeout(900)
def test_a_directory_survives_every_kill(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, part=PART, chunk=CHUNK)
    directory = tmp_path / "cache"
    chance = random.Random(20)
    kills = resumed = dangling = halved = 0
    with bound_by_modes(), StaticOrigin() as static, contextlib.closing(Parent(static.endpoint, directory)) as parent:
        origin, s3 = Origin(static), client(static.endpoint)
        whole = parent.run(0)
        steps, seconds = whole["steps"], whole["seconds"]
        assert steps
        for seed in range(1, 2 * KILLS):
            for key in chance.sample([*KEYS], 3):
                origin.overwrite(key)
            by_the_clock = chance.random() < 0.2
            ended = parent.run(
                seed,
                steps=0 if by_the_clock else chance.randrange(1, steps),
                seconds=chance.uniform(0, seconds) if by_the_clock else None,
            )
            kills += ended["code"] != 0
            steps = max(steps, ended["steps"])
            if (directory / "cache.db").exists():
                check_sealed(directory)
            events: list[Event] = []
            with contextlib.closing(a_cache(str(directory), s3, events.append)) as cache:
                stats = cache.stats()
                assert stats.disk_bytes <= stats.disk_budget == BUDGET
                found = orphans(directory)
                assert found.files == [], f"left by seed {seed}"
                dangling += len(found.missing)
                resumed += check_resumed(cache, origin, directory)
                check_served(cache, origin, chance)
                stats = cache.stats()
                assert stats.disk_errors == 0, f"after seed {seed}"
                assert stats.disk_bytes <= BUDGET
            # A tree of which some files were removed when the end came is dropped as damaged.
            assert {event.key for event in events if event.name == "corrupt"} <= set(TREES)
            halved += sum(event.name == "corrupt" for event in events)
            if kills == KILLS:
                break
        with contextlib.closing(a_cache(str(directory), s3)) as cache:
            cache.clear()
        assert [os.listdir(directory / folder) for folder in ("bodies", "staging")] == [[], []]
        s3.close()
    print(
        f"{kills} kills, {resumed} downloads resumed, {dangling} rows without a file, {halved} trees without some, {steps} steps at most"
    )
    assert kills == KILLS
    assert resumed >= KILLS // 10
    assert dangling <= kills
    note(
        "kills",
        f"{kills} SIGKILLs of a process at work on one directory",
        f"right bytes in the next process, no file without a row; {resumed} downloads went on where they were",
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("way", "key"), [("path", "model-2.bin"), ("get", "model-2.bin"), ("tree", "tree-0/")])
def test_what_is_fetched_anew_goes_on_from_every_step(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, way: str, key: str
) -> None:
    """One after the other, and what was handed out before stays as it is."""
    shrink(monkeypatch, part=PART, chunk=CHUNK)
    directory = tmp_path / "cache"
    with bound_by_modes(), StaticOrigin() as static, contextlib.closing(Parent(static.endpoint, directory)) as parent:
        origin, s3 = Origin(static), client(static.endpoint)

        def fetched(cache: Cache) -> tuple[pathlib.Path, dict[str, bytes]]:
            if way == "tree":
                folder = cache.tree(BUCKET, key, ttl=0)
                assert files_below(str(folder)) == origin.trees[key][-1]
                return folder, origin.trees[key][-1]
            body = origin.bodies[key][origin.now[key]]
            path = cache.path(BUCKET, key, ttl=0)
            assert path.read_bytes() == cache.get(BUCKET, key) == body
            return path, {"": body}

        step, steps = 1, 2
        while step < steps:
            with (
                contextlib.closing(a_cache(str(directory), s3)) as cache,
                contextlib.closing(a_cache(str(directory), s3)) as later,
            ):
                path, before = fetched(cache)
                origin.overwrite(f"{key}e" if way == "tree" else key)
                steps = max(steps, parent.run(0, way=way, key=key)["steps"]) if steps == 2 else steps
                origin.overwrite(f"{key}e" if way == "tree" else key)
                parent.run(0, steps=step, way=way, key=key)
                fetched(later)
                assert (files_below(str(path)) if way == "tree" else {"": path.read_bytes()}) == before, f"step {step}"
                assert later.stats().disk_errors == 0
            assert orphans(directory).files == [], f"step {step}"
            step += 1 if SOAK else 107
        s3.close()
    print(f"{steps} steps")
