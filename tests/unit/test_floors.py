"""Since when what is known of objects counts."""

from __future__ import annotations

from s3warm.keys import ObjectKey
from s3warm.tiers import floors
from s3warm.tiers.floors import Floors

A, B = ObjectKey("b", "a"), ObjectKey("b", "b")


def test_each_object_has_its_own() -> None:
    kept = Floors()
    kept.lift(A, 10.0)
    kept.lift(B, 20.0)
    assert [kept.of(where) for where in (A, B, A._replace(version_id="v"))] == [10.0, 20.0, float("-inf")]


def test_all_are_lifted_together() -> None:
    kept = Floors()
    kept.lift(A, 30.0)
    kept.lift_all(20.0)
    assert (kept.of(A), kept.of(B)) == (20.0, 20.0), "a clock that was set back does not keep what comes now out"
    kept.lift(A, 25.0)
    assert (kept.of(A), kept.of(B)) == (25.0, 20.0)
    kept.lift(B, 15.0)
    assert kept.of(B) == 20.0


def test_there_are_never_too_many() -> None:
    kept, most = Floors(), floors._MOST
    for number in range(most):
        kept.lift(ObjectKey("b", str(number)), float(number))
    assert kept.of(A) == float("-inf")
    kept.lift(ObjectKey("b", "7"), 5000.0)
    assert kept.of(A) == float("-inf"), "one that was there takes no more room"
    kept.lift(A, 6000.0)
    assert len(kept._own) == 1
    assert {kept.of(ObjectKey("b", str(number))) for number in range(most)} == {6000.0}, "too high rather than too low"
