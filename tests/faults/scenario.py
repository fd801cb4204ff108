"""One random scenario: a cache, an S3 that changes and breaks, and calls whose results are held against the model. All follows from the seed."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from s3warm import Cache, DiskUnavailableError, ObjectTooLargeError, S3WarmError
from s3warm.filing import PinnedFile
from tests.faults.scenario_model import Call, Model
from tests.faults.scenario_site import ORIGINS
from tests.support.orphans import NOTHING, orphans

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.scenario_site import Site

__all__ = ["CHUNK", "PART", "Scenario", "Totals"]

PART, CHUNK = 64 * 1024, 8 * 1024
SIZES = (0, 1, 2, 100, 5_000, 40_000, PART, PART + 1, 3 * PART + 77, 5 * PART)
ODD = ("ключ/☃.json", "a/../b", "with space+plus", "100%", "%2F%20", "trail/", "q?x#y&z", "//lead")
TREE = "tree/"
IN_TREE = ("tree/a", "tree/b/ç c.bin", "tree/d%.txt")
CONTROLS = (None, None, None, None, "max-age=5", "max-age=600", "no-cache", "no-store", "must-revalidate", "max-age=0")
KINDS = ("503", "500", "reset", "truncate", "refuse", "flip", "flip", "late")
SHARES = (0.1, 0.3, 0.6, 0.8)
CLOCK = (0.5, 5.0, 29.0, 31.0, 61.0, 400.0, 4000.0, -1.0, -45.0, -5000.0)
TTLS = (None, None, None, None, None, 0, 10, 1000)
ROOMY = 64 * 2**20
DIRECT = 4  # threads of a burst
STEPS = {  # by weight
    "get": 12,
    "entry": 12,
    "get_many": 5,
    "path": 8,
    "as_file": 5,
    "open": 6,
    "tree": 5,
    "burst": 5,
    "turning": 10,
    "faults": 9,
    "calm": 4,
    "outage": 4,
    "put": 14,
    "delete": 3,
    "restart": 3,
    "clock": 14,
    "invalidate": 3,
    "clear": 1,
    "release": 3,
}


@dataclass
class Totals:
    """What was tried in all scenarios of a run."""

    scenarios: int = 0
    calls: int = 0
    requests: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    def tried(self, met: Counter[str]) -> str:
        faults = ", ".join(f"{count:,} {kind}" for kind, count in sorted(met.items(), key=lambda item: -item[1]))
        return f"{self.scenarios:,} scenarios, {self.calls:,} calls, {self.requests:,} requests; faults: {faults}"

    def outcome(self) -> str:
        """What came of the calls, each of them; of a burst's streams nothing tells whether they are right."""
        errors = {name: count for name, count in self.outcomes.items() if name.endswith("Error")}
        told = ", ".join(f"{count:,} {name}" for name, count in sorted(errors.items(), key=lambda item: -item[1]))
        right, streamed = self.outcomes["right"], self.outcomes["streamed"]
        return (
            f"{right:,} calls right, {streamed:,} streams that nothing verifies, errors only where they may be ({told}); "
            "no file or row left behind"
        )


class Scenario:
    """Made and run once. `steps` tells what has happened, for people."""

    def __init__(self, seed: int, site: Site, directory: Path, totals: Totals) -> None:
        self.steps: list[str] = []
        self.site, self.totals, self.directory = site, totals, directory / f"cache-{seed}"
        self.chance = random.Random(seed)
        site.jitter = random.Random(seed)
        self.now = 1_700_000_000.0
        self.bucket = f"scenario-{seed}"
        draw = self.chance.choice
        odd = [key for key in ODD if site.name != "embedded" or key != "//lead"]  # moto's server folds a leading slash
        self.objects = ["plain.json", draw(odd)]
        self.keys = [*self.objects, *IN_TREE]
        self.controls = {key: None if key in IN_TREE else draw(CONTROLS) for key in self.keys}
        self.origin = draw(ORIGINS)
        self.options: dict[str, Any] = {
            "directory": self.directory,
            "namespace": "scenarios",
            "ttl": draw((0, 5, 60, 60, 300)),
            "ttl_jitter": draw((0.0, 0.1, 0.9)),
            "stale_if_error": draw((0, 30, 300, 3600)),
            "memory_budget": draw((0, 20_000, 300_000, ROOMY)),
            "disk_budget": draw((0, 600_000, 1_200_000, ROOMY, ROOMY)),
            "compression_level": draw((0, 1, 1)),
            "cache_control": draw(("respect", "respect", "trust", "ignore")),
        }
        self.model = Model(self.keys, **self._times())
        self.caches: list[Cache] = []
        self.handed: dict[str, tuple[Path, bytes]] = {}
        self.handed_trees: list[tuple[Path, dict[str, bytes]]] = []
        self._say(f"{self.origin}, {self.options}, {self.controls}")
        site.direct.create_bucket(Bucket=self.bucket)
        self.cache = self._new_cache()

    def run(self) -> None:
        try:
            for key in self.keys:
                if self.chance.random() < 0.9:
                    self.put(key)
            names, weights = zip(*STEPS.items(), strict=True)
            for name in self.chance.choices(names, weights, k=self.chance.randint(12, 20)):
                getattr(self, name)()
                self._check_always()
            self._finish()
        finally:
            self.site.calm()
            for cache in self.caches:
                cache.close()
        self._check_at_rest()
        self.totals.scenarios += 1

    # -- what happens at S3, to the network and to the clock ----------------------------------------------------------------

    def put(self, key: str = "") -> None:
        key = key or self.chance.choice(self.keys)
        size, version = self.chance.choice(SIZES), len(self.model.versions[key])
        if self.chance.random() < 0.5 or size < 100:
            body, kind = self.chance.randbytes(size), "noise"
        else:
            body, kind = (f"{key} {version} ".encode() * (size // 8 + 1))[:size], "text"
        control = self.controls[key]
        extra = {} if control is None else {"CacheControl": control}
        if size and self.chance.random() < 0.2:
            kind += " in parts"
            self._upload(key, body, extra)
        else:
            self.site.direct.put_object(Bucket=self.bucket, Key=key, Body=body, **extra)
        self.model.put(key, body)
        self._say(f"put {key!r} version {version}, {size} bytes of {kind}")
        self.model.see(self.now)

    def delete(self) -> None:
        key = self.chance.choice(self.keys)
        self.site.direct.delete_object(Bucket=self.bucket, Key=key)
        self.model.current[key] = None
        self._say(f"delete {key!r}")
        self.model.see(self.now)

    def clock(self, seconds: float = 0.0) -> None:
        seconds = seconds or self.chance.choice(CLOCK)
        self.now += seconds
        self._say(f"clock {seconds:+}")
        self.model.see(self.now)

    def faults(self) -> None:
        kinds = self.chance.sample(KINDS, self.chance.randint(1, 4))
        if self.chance.random() < 0.15:
            kinds.append("stall")
        share, seed = self.chance.choice(SHARES), self.chance.randrange(10**9)
        self.site.hasty = "stall" in kinds
        self.site.proxy.chaos(seed, share, kinds)
        self._say(f"faults: {share} of {kinds}")

    def calm(self) -> None:
        self.site.calm()
        self._say("faults end")

    def outage(self) -> None:
        self.site.proxy.down = True
        self._say("S3 is down")

    # -- what happens to the cache -----------------------------------------------------------------------------------------

    def restart(self) -> None:
        """With `close` or, as after a crash, without: all that the operating system does then is to end locks."""
        close = self.chance.random() < 0.5
        if close:
            self.cache.close()
        else:
            self.cache.release_all()
        self._forget_handed()
        self.model.restarted()
        if not self.options["disk_budget"]:
            self.model.dropped()
        self.cache = self._new_cache()
        self._say(f"restart {'with' if close else 'without'} close")

    def invalidate(self) -> None:
        key = self.chance.choice([*self.objects, TREE])
        self.cache.invalidate(self.bucket, key)
        self.model.invalidated(key)
        self._say(f"invalidate {key!r}")

    def clear(self) -> None:
        self.cache.clear()
        self.model.dropped()
        self._say("clear")

    def release(self) -> None:
        self.cache.release_all()
        self._forget_handed()
        self._say("release all")

    # -- calls -------------------------------------------------------------------------------------------------------------

    def get(self) -> None:
        key, ttl = self._one()
        body, call = self._call("get", key, ttl, lambda: self.cache.get(self.bucket, key, ttl=ttl))
        if body is not None:
            self.model.check(key, body, call, self.now)

    def entry(self, key: str = "") -> None:
        """As `get`, and it says whether it is a copy that stands in."""
        key, ttl = self._one(key)
        entry, call = self._call("get entry", key, ttl, lambda: self.cache.entry(self.bucket, key, ttl=ttl))
        if entry is not None:
            self.model.check(key, entry.body, call, self.now, stale=entry.stale)
            self.totals.outcomes["stale"] += entry.stale

    def get_many(self) -> None:
        keys, ttl = self.chance.sample([*self.objects, IN_TREE[0]], self.chance.randint(1, 3)), self.chance.choice(TTLS)
        sources = [(self.bucket, key) for key in keys]
        bodies, call = self._call("get_many", keys[0], ttl, lambda: self.cache.get_many(sources, ttl=ttl))
        for key, body in zip(keys, (bodies or {}).values(), strict=False):
            self.model.check(key, body, call, self.now)

    def path(self, key: str = "") -> None:
        key, ttl = self._one(key)
        path, call = self._call("path", key, ttl, lambda: self.cache.path(self.bucket, key, ttl=ttl))
        if path is not None:
            self.handed[key] = path, path.read_bytes()
            self.model.check(key, self.handed[key][1], call, self.now)
            if self.chance.random() < 0.3:
                self.cache.release(self.bucket, key)
                del self.handed[key]
                self._say("  and released")

    def as_file(self, key: str = "") -> None:
        key, ttl = self._one(key)

        def read() -> bytes:
            with self.cache.as_file(self.bucket, key, ttl=ttl) as path:
                return path.read_bytes()

        body, call = self._call("as_file", key, ttl, read)
        if body is not None:
            self.model.check(key, body, call, self.now)

    def open(self) -> None:
        key, ttl = self._one()
        at = self.chance.choice([0, 0, 50, PART + 5])
        streamed = False

        def read() -> bytes:
            nonlocal streamed
            with self.cache.open(self.bucket, key, ttl=ttl) as file:
                streamed = not isinstance(getattr(file, "raw", None), PinnedFile)
                if at:
                    file.seek(at)
                    tail = file.read()
                    file.seek(0)
                    return file.read(at) + tail
                return file.read()

        body, call = self._call(f"open (from {at})", key, ttl, read)
        if body is not None and not (streamed and call.flipped):  # there is nothing to verify a stream by
            self.model.check(key, body, call, self.now, keeps=not streamed)

    def tree(self) -> None:
        ttl = self.chance.choice(TTLS)
        folder, call = self._call("tree", TREE, ttl, lambda: self.cache.tree(self.bucket, TREE, ttl=ttl))
        if folder is not None:
            files = _files(folder)
            self.model.check_tree(TREE, files, call, self.now)
            self.handed_trees = [(folder, files)]

    def burst(self) -> None:
        """Several threads that want the same at once."""
        key, ttl = self._one()
        ways = [self.chance.choice(["get", "get", "as_file", "open"]) for _ in range(DIRECT)]
        if self.chance.random() < 0.5:
            ways = ["get"] * DIRECT
        barrier = threading.Barrier(DIRECT)
        got: list[Any] = [None] * DIRECT

        def one(number: int) -> None:
            try:
                barrier.wait()
                got[number] = self._way(ways[number], key, ttl)
            except BaseException as error:  # noqa: BLE001 - looked at below
                got[number] = error

        before, asked = self.site.proxy.met.copy(), self._asked()
        threads = [threading.Thread(target=one, args=(number,)) for number in range(DIRECT)]
        self._say(f"burst {ways} of {key!r}, ttl={ttl}")
        self.model.see(self.now)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        call = self._circumstances(ttl, before, asked)
        self.totals.calls += DIRECT
        for body in got:
            if isinstance(body, BaseException):
                self._look_at("burst", key, body, call)
                continue
            if body is not None:
                self.model.check(key, body, call, self.now)
            self.totals.outcomes["streamed" if body is None else "right"] += 1
        at = self.model.current[key]
        kept = self.options["memory_budget"] == ROOMY and self.options["ttl"] and not self.controls[key]
        if kept and not call.troubled and set(ways) == {"get"} and ttl != 0 and at is not None:
            parts = -(-len(self.model.versions[key][at]) // PART)
            assert self._asked() - asked <= max(1, parts), "threads that want the same share one transfer"

    def turning(self) -> None:
        """The moment in which a copy turns old, where S3 may be well or not."""
        key = self.chance.choice(self.objects)
        way = self.chance.choice([self.entry, self.entry, self.path, self.as_file])
        way(key)
        if self.chance.random() < 0.6:
            self.put(key)
        self.chance.choice([self.outage, self.outage, self.faults, self.calm])()
        self.clock(self.chance.choice([seconds for seconds in CLOCK if seconds > 1]))
        way(key)

    # -- the machinery -----------------------------------------------------------------------------------------------------

    def _way(self, way: str, key: str, ttl: float | None) -> bytes | None:
        """The body by a way that leaves nothing in use; None if it is of a stream, which nothing verifies."""
        if way == "get":
            return self.cache.get(self.bucket, key, ttl=ttl)
        if way == "as_file":
            with self.cache.as_file(self.bucket, key, ttl=ttl) as path:
                return path.read_bytes()
        with self.cache.open(self.bucket, key, ttl=ttl) as file:
            body = file.read()
            return body if isinstance(getattr(file, "raw", None), PinnedFile) else None

    def _call(self, way: str, key: str, ttl: float | None, action: Callable[[], Any]) -> tuple[Any, Call]:
        """What a call gives, None if it is an error that it may give."""
        before, asked = self.site.proxy.met.copy(), self._asked()
        self.model.see(self.now)
        self._say(f"{way} {key!r}, ttl={ttl}")
        self.totals.calls += 1
        try:
            given = action()
        except Exception as error:  # noqa: BLE001 - looked at below
            call = self._circumstances(ttl, before, asked)
            self.steps[-1] += f": {type(error).__name__}"
            self._look_at(way, key, error, call)
            return None, call
        call = self._circumstances(ttl, before, asked)
        self.steps[-1] += f": {self._asked() - asked} requests" + (f", {self.site.proxy.met - before}" if call.troubled else "")
        at = self.model.current.get(key)
        if way in ("get", "get entry") and not call.troubled and (at is None or len(self.model.versions[key][at]) <= PART):
            assert self._asked() - asked <= 1, "one request at most"
        self.totals.outcomes["right"] += 1
        return given, call

    def _look_at(self, way: str, key: str, error: BaseException, call: Call) -> None:
        """Is it an error that may be?"""
        self.totals.outcomes[type(error).__name__] += 1
        if not isinstance(error, S3WarmError):
            raise error
        if isinstance(error, DiskUnavailableError):
            assert not self.options["disk_budget"], error
        elif isinstance(error, ObjectTooLargeError):
            assert self.options["disk_budget"] != ROOMY, error
            assert not way.startswith("get"), error
        else:
            self.model.check_error(key if error.key is None else error.key, error, call, self.now)

    def _circumstances(self, ttl: float | None, before: Counter[str], asked: int) -> Call:
        met = self.site.proxy.met - before
        troubled = bool(met) or self.site.proxy.down or self.site.hasty
        return Call(ttl, self._asked() > asked, troubled, bool(met["flip"]))

    def _check_always(self) -> None:
        for key, (path, body) in self.handed.items():
            assert path.read_bytes() == body, f"the file of {key!r} that was handed out has changed"
        for folder, files in self.handed_trees:
            assert _files(folder) == files, "the directory that was handed out has changed"
        stats = self.cache.stats()
        assert stats.memory_bytes <= stats.memory_budget or not stats.memory_entries, (
            stats
        )  # an empty tier has some bytes of its own
        assert stats.disk_bytes <= stats.disk_budget, stats
        assert (stats.corrupt, stats.disk_errors) == (0, 0), stats
        left = _threads()
        assert not left, left
        assert set(self.site.proxy.methods) <= {"GET"}, self.site.proxy.methods

    def _finish(self) -> None:
        """Faults end, and time passes: everything is as S3 has it."""
        self.calm()
        self.now += 61.0
        later = max(self.model.lifetimes.values()) + 1.0
        for ttl, seconds, keys in ((0, 0.0, self.keys), (None, later, self.objects)):
            self.now += seconds
            for key in keys:
                body, call = self._call("get", key, ttl, partial(self.cache.get, self.bucket, key, ttl=ttl))
                assert not call.troubled
                at = self.model.current[key]
                assert body == (None if at is None else self.model.versions[key][at]), f"{key!r} is not what S3 has"
        self._check_always()

    def _check_at_rest(self) -> None:
        left = _threads()
        assert not left, left
        if (self.directory / "cache.db").exists():
            found = orphans(self.directory)
            assert found == NOTHING, found

    def _new_cache(self) -> Cache:
        self.caches.append(self.site.cache(self.origin, clock=lambda: self.now, **self.options))
        return self.caches[-1]

    def _one(self, key: str = "") -> tuple[str, float | None]:
        return key or self.chance.choice([*self.objects, *self.objects, IN_TREE[0]]), self.chance.choice(TTLS)

    def _forget_handed(self) -> None:
        self.handed, self.handed_trees = {}, []

    def _asked(self) -> int:
        return sum(self.site.proxy.methods.values())

    def _say(self, step: str) -> None:
        self.steps.append(f"{self.now - 1_700_000_000:+10.1f}  {step}")

    def _times(self) -> dict[str, Any]:
        """For how long an object is fresh at most, and for how long after that it may stand in."""
        ttl, mode = self.options["ttl"], self.options["cache_control"]
        lifetimes: dict[str, float] = {TREE: ttl}
        beyond: dict[str, float | None] = {TREE: self.options["stale_if_error"]}
        for key, control in self.controls.items():
            lifetimes[key], beyond[key] = ttl, self.options["stale_if_error"]
            if control == "no-store":
                lifetimes[key], beyond[key] = -1.0, None
            elif control is None or mode == "ignore":
                continue
            elif control == "must-revalidate":
                beyond[key] = None
            elif control == "no-cache":
                lifetimes[key], beyond[key] = -1.0, None
            else:
                age = float(control.removeprefix("max-age="))
                lifetimes[key] = age if mode == "trust" else min(ttl, age)
        return {"lifetimes": lifetimes, "may_stand_in": beyond}

    def _upload(self, key: str, body: bytes, extra: dict[str, str]) -> None:
        """In one part: its ETag is no MD5."""
        direct, where = self.site.direct, {"Bucket": self.bucket, "Key": key}
        upload = direct.create_multipart_upload(**where, **extra)["UploadId"]
        etag = direct.upload_part(**where, UploadId=upload, PartNumber=1, Body=body)["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        direct.complete_multipart_upload(**where, UploadId=upload, MultipartUpload=parts)


def _files(folder: Path) -> dict[str, bytes]:
    """What lies below a directory that `tree` gave, by key."""
    return {f"{TREE}{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("s3warm")]
