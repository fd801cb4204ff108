"""Eight processes, two hundred threads in each, and one object that all of them want at the same moment: S3 is asked once."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.tried import note
from tests.processes.brood import Brood, Child, at_once
from tests.processes.child import BUCKET
from tests.support.entries import noise
from tests.support.environs import unconfigure
from tests.support.static_origin import StaticOrigin

PROCESSES, THREADS = 8, 200
TTL = 60
LATENCY = 0.5  # seconds: most have asked before the first has its answer
BODY = noise(20_000)
SUM = hashlib.sha256(BODY).hexdigest()


def answers(children: list[Child], key: str) -> Counter[str]:
    return Counter(answer for each in at_once(children, "get_by_many", key=key, threads=THREADS) for answer in each)


@pytest.mark.faults
def test_a_stampede(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unconfigure(monkeypatch)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    for origin in ("boto3", "lean"):
        stampede(tmp_path / origin, origin)
    note(
        "stampede",
        f"{PROCESSES} processes with {THREADS} threads each, at once, through boto3 and through the small client",
        "one GET while the object was cold, one conditional GET when it had expired, right bytes for all",
    )


def stampede(directory: Path, origin: str) -> None:
    with StaticOrigin() as server, Brood(server.endpoint, directory, ttl=TTL, origin=origin) as brood:
        server.put(BUCKET, "key", BODY)
        children = brood.hatch(PROCESSES)
        for number, child in enumerate(children):  # each has a client from now on
            server.put(BUCKET, f"own-{number}", b"own")
            child.order("get", key=f"own-{number}")
        for child in children:
            child.answer()
        server.pace(latency=LATENCY, rate=None)
        everybody = PROCESSES * THREADS

        server.forget()
        assert answers(children, "key") == {SUM: everybody}
        assert [(seen.status, seen.if_none_match) for seen in server.requests()] == [(200, "")], "cold: one GET"

        at_once(children, "clock", seconds=TTL + 1)
        server.forget()
        assert answers(children, "key") == {SUM: everybody}
        assert [(seen.status, bool(seen.if_none_match)) for seen in server.requests()] == [(304, True)], (
            "expired: one conditional GET"
        )


@pytest.mark.faults
def test_a_stampede_on_what_is_not_there(tmp_path: Path) -> None:
    with StaticOrigin() as server, Brood(server.endpoint, tmp_path / "cache", ttl=TTL, negative_ttl=TTL) as brood:
        children = brood.hatch(PROCESSES)
        server.put(BUCKET, "own", b"own")
        at_once(children, "get", key="own")
        server.pace(latency=LATENCY, rate=None)
        server.forget()
        said = f"ObjectNotFoundError: s3://{BUCKET}/missing does not exist; check the key"
        assert all(answer.startswith(said) for answer in answers(children, "missing"))
        requests = len(server.requests())
        # Who comes when the one that asked is through has not waited, and asks; then it knows for `negative_ttl`.
        assert 1 <= requests <= PROCESSES
        assert all("negative_ttl" in answer for answer in answers(children, "missing"))
        assert len(server.requests()) == requests
