"""The fleet's lease on an object, on a real server: whose holder is killed, and one that has run out while its holder was at it."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s3warm.tiers.dialing import dial
from s3warm.tiers.leases import LONGEST, Leases
from s3warm.tiers.sealed import Sealer
from s3warm.tiers.server import Server
from tests.processes.brood import Brood
from tests.processes.child import BUCKET
from tests.support.entries import NOW, an_entry, noise
from tests.support.static_origin import Fault, StaticOrigin
from tests.support.threads import PATIENCE, until
from tests.support.valkey import ValkeyServer, missing

pytestmark = pytest.mark.e2e

SECRET = "the secret that these tests share"
BODY = noise(100_000)
WHERE = an_entry().object


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    absent = missing()
    if absent is not None:
        pytest.skip(f"no Valkey or Redis server here: {absent}")
    with ValkeyServer(tmp_path / "server") as server:
        yield server


def calls(server: ValkeyServer, command: str) -> int:
    """How often a command was given."""
    found = re.search(rf"cmdstat_{command}:calls=(\d+)", server.ask("INFO", "commandstats"))
    return 0 if found is None else int(found[1])


def the_lease(server: ValkeyServer) -> str:
    """Its name."""
    (name,) = server.ask("KEYS", "*:lease").split()
    return name


def test_a_holder_that_is_killed_strands_nobody(server: ValkeyServer, tmp_path: Path) -> None:
    fleet = {"shared_url": server.url, "shared_secret": SECRET, "shared_timeout": PATIENCE, "shared_connect_timeout": PATIENCE}
    with StaticOrigin() as origin:
        origin.put(BUCKET, "cold", BODY)
        origin.fault(Fault("stall"))
        # Without a directory that they share: each is an environment of its own.
        with Brood(origin.endpoint, tmp_path / "cache", disk_budget=0, **fleet) as brood:
            holder, *others = brood.hatch(4)
            holder.order("get", key="cold")
            until(lambda: len(origin.requests()) == 1)
            holder.kill()
            name = the_lease(server)
            assert 0 < int(server.ask("PTTL", name)) <= 1000 * LONGEST, "it ends by itself"
            for other in others:
                other.order("get", key="cold")
            until(lambda: calls(server, "set") == 4)
            assert len(origin.requests()) == 1, "they wait, as nobody can know that the holder is dead"
            server.ask("PEXPIRE", name, "1")  # as time would have it
            assert {other.answer() for other in others} == {hashlib.sha256(BODY).hexdigest()}
            assert len(origin.requests()) == 2, "one of them has asked for all"
            stats = [other.ask("stats") for other in others]
    assert sorted((each["misses"], each["shared_hits"]) for each in stats) == [(0, 1), (0, 1), (1, 0)]
    assert [each["shared_errors"] for each in stats] == [0, 0, 0]
    assert server.ask("EXISTS", name).strip() == "0"


@contextlib.contextmanager
def leases(server: ValkeyServer) -> Iterator[Leases]:
    """Those of an environment."""
    told: list[Exception | None] = []
    client: Any = dial(server.url, connect_timeout=PATIENCE, timeout=PATIENCE, largest=2**20)
    reached = Server(lambda: client, lambda _: None, clock=lambda: NOW, failed=lambda _, error: told.append(error))
    try:
        yield Leases(reached, Sealer("test", SECRET.encode()))
    finally:
        reached.close()
    assert told == []


@pytest.mark.parametrize("brought", [True, False])
def test_a_lease_that_has_run_out_is_not_the_first_holders_to_end(server: ValkeyServer, brought: bool) -> None:
    def found(_: object) -> bool:
        return False

    with leases(server) as one, leases(server) as another, contextlib.ExitStack() as second:
        with one.take(WHERE, found, 0.0) as lease:
            lease.brought = brought
            name = the_lease(server)
            first = server.ask("GET", name)
            server.ask("PEXPIRE", name, "1")
            until(lambda: server.ask("EXISTS", name).strip() == "0")
            late = second.enter_context(another.take(WHERE, found, 0.0))
            assert (late.found, late.taken) == (False, False)
            token = server.ask("GET", name)
            assert token.strip() not in ("", first.strip())
        assert server.ask("GET", name) == token, "the other's is still there"
        assert 0 < int(server.ask("PTTL", name)) <= 1000 * LONGEST
        with one.take(WHERE, found, 0.0) as third:
            assert third.taken
        assert server.ask("GET", name) == token, "nor is it for one to end that has none"
        late.brought = True
        second.close()
        assert server.ask("EXISTS", name).strip() == "0"
