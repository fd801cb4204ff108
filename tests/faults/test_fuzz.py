"""Whatever is parsed, of users, servers and files, is parsed or refused: nothing else is raised, and what is taken keeps its promises."""

from __future__ import annotations

import logging
import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.faults.fuzz import Outcome, run
from tests.faults.fuzz_all import TARGETS
from tests.faults.tried import SOAK, note

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

INPUTS = 500_000 if SOAK else 10_000
SEED = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(2**32))
_WEIGHTS = sum(each.weight for each in TARGETS.values())


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """What came of the targets that have held so far."""
    return {}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A warning is a line for a person; here there are thousands of them."""
    logger = logging.getLogger("s3warm")
    before, logger.disabled = logger.disabled, True
    yield
    logger.disabled = before


@pytest.mark.parametrize("name", TARGETS)
def test_an_input_is_taken_or_refused_as_is_documented(name: str, outcomes: dict[str, Outcome]) -> None:
    print(f"FUZZ_SEED={SEED}")
    wanted = -(-INPUTS * TARGETS[name].weight // _WEIGHTS)
    outcome = run(name, wanted, SEED)
    print(f"{name}: {outcome.inputs:,} inputs, {outcome.taken:,} taken")
    assert outcome.inputs >= wanted
    # Were all of them refused, or none, the inputs would be no good.
    assert 0 < outcome.taken < outcome.inputs
    outcomes[name] = outcome


def test_so_many_inputs_were_tried(outcomes: dict[str, Outcome]) -> None:
    missing = [name for name in TARGETS if name not in outcomes]
    if missing:
        pytest.skip(f"no count without the targets {', '.join(missing)}")
    inputs = sum(outcome.inputs for outcome in outcomes.values())
    assert inputs >= INPUTS
    taken = sum(outcome.taken for outcome in outcomes.values())
    note(
        "fuzz",
        f"{inputs:,} inputs for {len(TARGETS)} parsers, {taken:,} of them taken as valid",
        "no exception but the documented ones; what was taken kept its promises",
    )
