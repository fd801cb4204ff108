"""A server that has used its cache, forks its workers, and goes on itself, as gunicorn does with `--preload`."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from tests.processes.brood import Brood, at_once
from tests.processes.child import BUCKET
from tests.processes.relay import Relay
from tests.soak.test_sigkill import partials
from tests.support.entries import noise, text
from tests.support.orphans import NOTHING, orphans
from tests.support.static_origin import Fault, StaticOrigin
from tests.support.threads import until

MIB = 2**20
PART = 4 * MIB
WORKERS = 8
STALLS = 3  # parts that do not come, so that a download is in the middle
BODIES = {
    "small": text(900),
    "middle": text(200_000),
    "raw": noise(300_000),
    "large": noise(12 * MIB),
    **{f"own-{number}": noise(50_000 + number, seed=number) for number in range(WORKERS + 1)},
    "cold": noise(9 * MIB, seed=9),
}


def work(number: int) -> list[tuple[str, str, float | None]]:
    """What a process asks for: way, key and ttl."""
    return [
        *(("get", key, None) for key in ("small", "large")),
        *(("get", key, 0) for key in ("small", "raw")),
        *(("path", key, None) for key in ("raw", f"own-{number}", "cold", "large")),
        *((way, key, 0) for way, key in (("path", "middle"), ("get", "middle"), ("path", "raw"))),
    ]


def test_workers_and_their_parent_share_nothing_but_the_directory(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    with StaticOrigin() as origin, Relay(origin.endpoint) as relay, Brood(relay.endpoint, directory) as brood:
        for key, body in BODIES.items():
            origin.put(BUCKET, key, body)
        (parent,) = brood.hatch(1)
        for key in ("small", "middle", "raw", "large"):
            parent.ask("get", key=key)
        parent.ask("path", key="raw")
        workers = brood.fork(parent, WORKERS)
        everyone = [parent, *workers]
        sent: dict[int, int] = {}
        for number, child in enumerate(everyone):
            for way, key, ttl in work(number):
                child.order(way, key=key, ttl=ttl)
        for number, child in enumerate(everyone):
            for _, key, _ in work(number):
                assert child.answer() == hashlib.sha256(BODIES[key]).hexdigest(), key
        for child in everyone:
            stats = child.ask("stats")
            sent[child.pid] = stats["origin_requests"]  # a child counts from its fork on
            assert (stats["errors"], stats["disk_errors"], stats["corrupt"], stats["stale_served"]) == (0, 0, 0, 0)
        at_once(everyone, "close")
        senders = relay.senders()
        downloads = Counter(served.key for served in origin.requests() if not served.range and not served.if_none_match)
    assert all(len(set(connection)) <= 1 for connection in senders), senders
    seen = [name for connection in senders for name in connection]
    assert {name: seen.count(name) for name in set(seen)} == {f"pid-{pid}": count for pid, count in sent.items()}
    assert len(sent) == WORKERS + 1
    assert downloads == dict.fromkeys(BODIES, 1)
    assert _integrity(directory) == "ok"
    assert orphans(directory) == NOTHING


@pytest.mark.parametrize("who", ["the child", "another process"])
def test_a_parent_that_died_has_released_its_download_though_it_had_forked(tmp_path: Path, who: str) -> None:
    """It goes on with what the parent had finished, and writes where the parent wrote."""
    directory = tmp_path / "cache"
    body = noise(64 * MIB)
    with StaticOrigin() as origin, Brood(origin.endpoint, directory, memory_budget=0) as brood:
        origin.put(BUCKET, "model", body)
        (parent, other) = brood.hatch(2)
        origin.fault(Fault("late"), *[Fault("stall", MIB)] * STALLS)
        parent.ask("begin", key="model")
        until(lambda: _finished(directory).bit_count() == len(body) // PART - STALLS)  # and there it stays
        (child,) = brood.fork(parent, 1)
        parent.kill()
        missing = [part for part in range(len(body) // PART) if not _finished(directory) >> part & 1]
        assert len(missing) == STALLS
        origin.forget()
        left = child if who == "the child" else other
        assert left.ask("path", key="model") == hashlib.sha256(body).hexdigest()
        (whole, *parts) = [served.range for served in origin.requests()]
        assert whole == ""
        assert sorted(parts) == sorted(f"bytes={part * PART}-{(part + 1) * PART - 1}" for part in missing)
        at_once([child, other], "close")
    assert orphans(directory) == NOTHING
    assert _integrity(directory) == "ok"


def _finished(directory: Path) -> int:
    """The parts of a download under way that are done, a bit for each."""
    with contextlib.suppress(sqlite3.OperationalError):  # there is no table yet
        for partial in partials(directory).values():
            return partial.finished
    return 0


def _integrity(directory: Path) -> str:
    with contextlib.closing(sqlite3.connect(directory / "cache.db")) as connection:
        (found,) = connection.execute("PRAGMA integrity_check").fetchone()
        return str(found)
