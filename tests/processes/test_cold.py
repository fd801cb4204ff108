"""Sixteen processes ask for the same large object, of which none has anything."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.processes.brood import Brood, at_once
from tests.processes.child import BUCKET
from tests.support.entries import noise
from tests.support.orphans import NOTHING, orphans
from tests.support.static_origin import Served, StaticOrigin

MIB = 2**20
SIZE = 64 * MIB
PROCESSES = 16
RATE = 40e6  # bytes a second and connection: all are at it before the first is through


class Outcome(NamedTuple):
    """What came of it."""

    sums: set[str]
    requests: list[Served]
    directory: Path


@pytest.fixture(scope="module", params=["path", "get"])
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    directory = tmp_path_factory.mktemp("cold") / "cache"
    with StaticOrigin(rate=RATE) as origin:
        origin.put(BUCKET, "cold", noise(SIZE))
        with Brood(origin.endpoint, directory, memory_budget=0) as brood:
            children = brood.hatch(PROCESSES)
            sums = set(at_once(children, request.param, key="cold"))
            at_once(children, "close")
        yield Outcome(sums, origin.requests(), directory)


def test_all_get_the_body(outcome: Outcome) -> None:
    assert outcome.sums == {hashlib.sha256(noise(SIZE)).hexdigest()}
    assert {served.status for served in outcome.requests} == {200, 206}


def test_nothing_is_left_beside_it(outcome: Outcome) -> None:
    assert orphans(outcome.directory) == NOTHING
    assert len(list((outcome.directory / "bodies").iterdir())) == 1
    assert list((outcome.directory / "staging").iterdir()) == []


def test_one_of_them_downloads_it(outcome: Outcome) -> None:
    asked = Counter((served.range, served.if_none_match) for served in outcome.requests)
    assert asked["", ""] == 1
    assert set(asked.values()) == {1}
    # The first answer is for the whole, and is closed after its part: more than that may be on its way by then.
    assert SIZE <= sum(served.sent for served in outcome.requests) < SIZE + SIZE // 4
