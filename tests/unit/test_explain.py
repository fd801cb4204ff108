"""Answers to "why?", made to be printed."""

from __future__ import annotations

import pytest

from s3warm.explanation import Budgets, Explanation, explain
from s3warm.keys import ObjectKey
from s3warm.rules.budget import Budget
from s3warm.tiers.base import Held

MIB = 2**20
NOW = 1000.0
KEY = ObjectKey("bucket", "key")
MEMORY = Held("memory", "raw", 9000, '"e"', 9000, "md5", 990.0, 1290.0)
DISK = Held("disk", "zstd", 1234, '"e"', 9000, "md5", 980.0, 1280.0)


def test_nothing_held_says_what_happens_next() -> None:
    explanation = explain(KEY, [], NOW)
    assert explanation == Explanation("bucket", "key", None, ())
    assert not explanation.fresh
    assert str(explanation) == "s3://bucket/key\n  not held; the next call fetches it"


def test_what_is_held_in_both_tiers_is_explained_by_the_later_validation() -> None:
    explanation = explain(KEY, [MEMORY, DISK], NOW)
    assert explanation == Explanation("bucket", "key", None, ("memory", "disk"), '"e"', 9000, 1234, "zstd", 10.0, 290.0, "md5")
    assert explanation.fresh
    assert str(explanation).splitlines() == [
        "s3://bucket/key",
        "  held in   memory, disk",
        '  etag      "e"',
        "  size      9,000 bytes, 1,234 in /tmp as zstd",
        "  validated 10.0 s ago, fresh for 290.0 s",
        "  verified  by md5",
    ]


def test_a_later_validation_on_disk_wins_over_memory() -> None:
    later = DISK._replace(etag='"new"', size=7, validated_at=999.0, expires_at=1299.0)
    explanation = explain(KEY, [MEMORY, later], NOW)
    assert (explanation.etag, explanation.size, explanation.age) == ('"new"', 7, 1.0)


def test_memory_alone_has_no_stored_form() -> None:
    explanation = explain(KEY, [MEMORY], NOW)
    assert (explanation.tiers, explanation.stored_size, explanation.codec) == (("memory",), None, None)
    assert "  size      9,000 bytes\n" in str(explanation)


def test_an_empty_body_is_held_as_much_as_any_other() -> None:
    empty = MEMORY._replace(size=0, stored_size=0)
    assert "  size      0 bytes\n" in str(explain(KEY, [empty], NOW))


@pytest.mark.parametrize(
    ("now", "fresh"),
    [(990.0, True), (1289.9, True), (1290.0, False), (2000.0, False), (989.0, False)],
    ids=["at once", "just before", "at the end", "long after", "clock set back"],
)
def test_fresh_is_what_the_next_call_finds(now: float, fresh: bool) -> None:
    explanation = explain(KEY, [MEMORY], now)
    assert explanation.fresh is fresh
    assert ("expired: the next call revalidates it" in str(explanation)) is not fresh


def test_a_version_is_named() -> None:
    assert str(explain(KEY._replace(version_id="v1"), [], NOW)).startswith("s3://bucket/key (version v1)\n")


def test_budgets_print_what_was_chosen_and_from_what() -> None:
    budgets = Budgets(Budget(128 * MIB, "25% of 512 MB"), Budget(400 * MIB, "80% of 500 MiB"), 64 * MIB, "/tmp/s3warm")
    assert str(budgets).splitlines() == [
        "memory  128.0 MiB: 25% of 512 MB; bodies up to 64.0 MiB",
        "disk    400.0 MiB: 80% of 500 MiB (in /tmp/s3warm)",
    ]


def test_a_disk_tier_that_is_off_says_so() -> None:
    budgets = Budgets(Budget(5000 * MIB, "as set"), None, 0, None)
    assert str(budgets).splitlines() == ["memory  5,000.0 MiB: as set; bodies up to 0.0 MiB", "disk    off"]
