"""Sixteen processes ask for the same object, which all of them have and which has expired."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.processes.brood import Brood, at_once
from tests.processes.child import BUCKET
from tests.support.entries import noise
from tests.support.static_origin import Served, StaticOrigin

PROCESSES = 16
TTL = 60
LATENCY = 1.0  # seconds: all have asked before the first has its answer


class Outcome(NamedTuple):
    """What came of it."""

    sums: set[str]
    requests: list[Served]
    later: list[Served]


@pytest.fixture(scope="module", params=["path", "get"])
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    way = request.param
    with StaticOrigin() as origin:
        origin.put(BUCKET, "key", noise(200_000))
        with Brood(origin.endpoint, tmp_path_factory.mktemp("expired") / "cache", ttl=TTL) as brood:
            children = brood.hatch(PROCESSES)
            children[0].ask(way, key="key")
            at_once(children, way, key="key")
            assert len(origin.requests()) == 1
            for number, child in enumerate(children):  # each has a client from now on
                origin.put(BUCKET, f"own-{number}", b"own")
                child.order("get", key=f"own-{number}")
            for child in children:
                child.answer()
            at_once(children, "clock", seconds=TTL + 1)
            origin.pace(latency=LATENCY, rate=None)
            origin.forget()
            sums = set(at_once(children, way, key="key"))
            requests = origin.requests()
            origin.forget()
            sums.update(at_once(children, way, key="key"))
        yield Outcome(sums, requests, origin.requests())


def test_all_get_the_body_and_it_is_fresh_again(outcome: Outcome) -> None:
    assert outcome.sums == {hashlib.sha256(noise(200_000)).hexdigest()}
    assert {served.status for served in outcome.requests} == {304}
    assert outcome.later == []


def test_one_of_them_asks(outcome: Outcome) -> None:
    assert len(outcome.requests) == 1
