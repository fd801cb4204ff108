"""What writers say they are writing, and what is left of those that died."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from s3warm.tiers import intents
from s3warm.tiers.intents import declare, left_behind

NAME = "0123456789abcdef0123456789abcdef-0123456789abcdef"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "intents")


def said(path: str) -> list[str]:
    """What the dead have said; it is left as it is."""
    found = []
    for intent in left_behind(path):
        found.append(intent.text)
        intent.leave()
    return found


def test_nobody_has_said_anything(path: str) -> None:
    assert said(path) == []
    assert not os.path.exists(path), "looking makes nothing"


def test_a_writer_that_lives_is_none_of_the_dead(path: str) -> None:
    intent = declare(path, NAME)
    assert said(path) == []
    intent.leave()
    assert said(path) == [NAME]


def test_who_has_withdrawn_leaves_nothing(path: str) -> None:
    declare(path, NAME).withdraw()
    assert said(path) == []
    assert set(Path(path).read_bytes()) == {0}


def test_a_slot_is_used_again_but_not_that_of_the_dead(path: str) -> None:
    first = declare(path, "first")
    second = declare(path, "second")
    first.leave()
    third = declare(path, "third")
    assert said(path) == ["first"]
    second.withdraw()
    third.withdraw()
    for number in range(100):
        declare(path, str(number)).withdraw()
    assert said(path) == ["first"]
    assert os.path.getsize(path) == 3 * 256


def test_who_looks_after_the_dead_has_their_slot_until_it_is_done(path: str) -> None:
    declare(path, NAME).leave()
    (intent,) = left_behind(path)
    assert said(path) == [], "it is looked after"
    intent.withdraw()
    assert said(path) == []


def test_more_writers_than_slots_are_an_error(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intents, "_SLOTS", 2)
    held = [declare(path, "one"), declare(path, "two")]
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="no slot left"):
        declare(path, "three")
    assert len(os.listdir("/proc/self/fd")) == before
    for intent in held:
        intent.withdraw()


def test_a_link_is_not_followed(path: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"x" * 300)
    os.symlink(victim, path)
    with pytest.raises(OSError, match=r"symbolic|ELOOP|too many"):
        declare(path, NAME)
    assert victim.read_bytes() == b"x" * 300


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_that_lets_go_does_not_let_go_for_its_parent(path: str) -> None:
    intent = declare(path, NAME)
    child = os.fork()
    if not child:
        intent.leave()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert said(path) == [], "the parent is still at it"
    intent.withdraw()
