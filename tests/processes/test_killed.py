"""Half of sixteen processes that ask for the same large object are killed in the middle, the one that downloads it among them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.processes.brood import Brood, at_once, first_to_progress
from tests.processes.child import BUCKET
from tests.support.entries import noise
from tests.support.orphans import orphans
from tests.support.static_origin import Fault, Served, StaticOrigin

MIB = 2**20
SIZE = 64 * MIB
PROCESSES = 16
STALLS = 4

pytestmark = pytest.mark.faults


class Outcome(NamedTuple):
    """What came of it."""

    sums: set[str]
    before: list[Served]  # requests until the kill
    requests: list[Served]
    directory: Path


@pytest.fixture(scope="module", params=["path", "get"])
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    directory = tmp_path_factory.mktemp("killed") / "cache"
    with StaticOrigin(rate=80e6) as origin:
        origin.put(BUCKET, "cold", noise(SIZE))
        # The first answer comes, the parts that are asked for next do not: whoever downloads is in the middle until it is killed.
        origin.fault(Fault("late"), *[Fault("stall", MIB)] * STALLS)
        with Brood(origin.endpoint, directory, memory_budget=0) as brood:
            children = brood.hatch(PROCESSES)
            for child in children:
                child.order(request.param, key="cold")
            downloads = first_to_progress(children)
            others = [child for child in children if child is not downloads]
            killed = [downloads, *random.Random(1).sample(others, PROCESSES // 2 - 1)]
            before = origin.requests()
            for child in killed:
                child.kill()
            left = [child for child in children if child not in killed]
            sums = {child.answer() for child in left}
            at_once(left, "close")
        yield Outcome(sums, before, origin.requests(), directory)


def test_those_that_are_left_get_the_body(outcome: Outcome) -> None:
    assert outcome.sums == {hashlib.sha256(noise(SIZE)).hexdigest()}
    assert any(served.range for served in outcome.before)  # it was under way


def test_no_file_is_left_that_nothing_speaks_of(outcome: Outcome) -> None:
    assert orphans(outcome.directory).files == []
    assert len(list((outcome.directory / "bodies").iterdir())) == 1


def test_one_more_download_at_most(outcome: Outcome) -> None:
    downloads = [served for served in outcome.requests if not served.range and not served.if_none_match]
    assert len(downloads) == 2
    for part in {served.range for served in outcome.requests}:
        assert sum(served.range == part for served in outcome.requests) <= 2
