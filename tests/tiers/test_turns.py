"""Turns to ask S3: who ends one tells the others, and whatever the disk says the lock is given back."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3warm.keys import locate
from s3warm.tiers.pins import Pins
from s3warm.tiers.turns import Turns

KEY = locate("s3://cfg/flags.json")
FRESH, STALE = (0.0, 10.0), (0.0, -1.0)


class Asked:
    """Whether it is there: never on the disk, and by its times if those are known."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float] | None] = []

    def __call__(self, times: tuple[float, float] | None) -> bool:
        self.times.append(times)
        return times is not None and times[1] > times[0]


@pytest.fixture
def pins(tmp_path: Path) -> Pins:
    return Pins(str(tmp_path / "pins"))


@pytest.mark.parametrize(("times", "counted"), [(FRESH, 0), (STALE, 1), (None, 1)])
def test_what_was_brought_is_not_looked_for_and_counts_if_others_may_not_use_it(
    pins: Pins, times: tuple[float, float] | None, counted: int
) -> None:
    turns, asked = Turns(pins), Asked()
    with turns.take(KEY, "name", asked, 1.0) as turn:
        assert not turn.found
        if times is not None:
            turns.brought(KEY, times)
    assert asked.times == [times]
    assert pins.count("turn name") == counted
    assert not turns._brought
    assert not turns._mine


def test_what_is_brought_outside_of_a_turn_is_not_remembered(pins: Pins) -> None:
    turns = Turns(pins)
    turns.brought(KEY, FRESH)
    assert not turns._brought


@pytest.mark.parametrize("failing", ["count_up", "found"])
def test_on_a_full_disk_the_turn_ends_all_the_same(
    pins: Pins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    turns, others = Turns(pins), Turns(Pins(str(tmp_path / "pins")))

    def full(*_: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pins, "count_up", full)
    with turns.take(KEY, "name", full if failing == "found" else Asked(), 1.0) as turn:
        assert not turn.found
    for each in (turns, others):
        with each.take(KEY, "name", Asked(), 0.0) as turn:
            assert not turn.found
            assert KEY in each._mine, "it has the turn"
