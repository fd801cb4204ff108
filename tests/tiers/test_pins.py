"""Who uses which file, across objects, threads and processes: a pin is there until it is taken back or its holder has died."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, TextIO

import pytest

from s3warm.tiers.pins import Pins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which Windows has not")

# Does what its standard input says, one command a line, and answers each with what it came to.
HOLDER = """
import os, sys
from s3warm.tiers.pins import Pins
pins = Pins(sys.argv[1])
for line in sys.stdin:
    command, name = line.split()
    if command == "alone":
        with pins.alone(name) as free:
            print(free, flush=True)
    else:
        print(getattr(pins, command)(name), flush=True)
"""

# Forks with two pins; parent and child answer in turn.
FORKED = """
import os, sys
from s3warm.tiers.pins import Pins

def is_free(name):
    other = Pins(sys.argv[1])
    with other.alone(name) as free:
        return free

pins = Pins(sys.argv[1])
assert pins.hold("shared") and pins.hold("shared") and pins.claim("download")
to_child, to_parent = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    pins.renew()
    ok = pins._held.get(next(iter(pins._held))) == 2  # its own count goes on
    pins.drop("download")  # the parent's business
    ok = ok and not is_free("download")
    if sys.argv[2] == "child first":
        pins.drop("shared")
        ok = ok and not is_free("shared")
        pins.drop("shared")
        pins.drop("shared")
        os.write(to_parent[1], b".")
        os._exit(0 if ok else 1)
    os.write(to_parent[1], b".")
    os.read(to_child[0], 1)
    ok = ok and not is_free("shared")
    pins.drop("shared")
    ok = ok and not is_free("shared")
    pins.drop("shared")
    ok = ok and is_free("shared")
    os._exit(0 if ok else 1)
os.read(to_parent[0], 1)
if sys.argv[2] == "child first":
    assert os.waitpid(child, 0)[1] == 0
    assert not is_free("shared"), "the child's release ended the parent's pins"
    pins.drop("shared")
    assert not is_free("shared")
    pins.drop("shared")
    assert is_free("shared")
else:
    assert not is_free("download"), "the child's renewal ended its parent's claim"
    pins.drop("shared")
    pins.drop("shared")
    assert not is_free("shared"), "the parent's release ended the child's pins"
    os.write(to_child[1], b".")
    assert os.waitpid(child, 0)[1] == 0
    assert is_free("shared")
assert not is_free("download")
pins.drop("download")
assert is_free("download")
"""

# Forks a child that lives on, and is killed itself.
ORPHANED = """
import os, sys
from s3warm.tiers.pins import Pins
pins = Pins(sys.argv[1])
assert pins.hold("held")
assert pins.claim("claimed")
if os.fork() == 0:
    pins.renew()
    print(os.getpid(), flush=True)
    sys.stdin.readline()
    os._exit(0)
sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "pins")


@pytest.fixture
def pins(path: str) -> Iterator[Pins]:
    made = Pins(path)
    yield made
    made.close()


@pytest.fixture
def other(path: str) -> Iterator[Pins]:
    """Those of another cache on the directory, in this process."""
    made = Pins(path)
    yield made
    made.close()


def is_free(pins: Pins, name: str) -> bool:
    with pins.alone(name) as free:
        return free


class Process:
    """Pins of another process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def do(self, command: str, name: str) -> str:
        into, out = self._pipes()
        into.write(f"{command} {name}\n")
        into.flush()
        return out.readline().strip()

    def _pipes(self) -> tuple[TextIO, TextIO]:
        assert isinstance(self.process.stdin, TextIO) or self.process.stdin is not None
        assert self.process.stdout is not None
        return self.process.stdin, self.process.stdout  # type: ignore[return-value]


@contextlib.contextmanager
def a_process(path: str) -> Iterator[Process]:
    command = [sys.executable, "-c", HOLDER, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Process(process)
        process.kill()


# -- one directory, one process ------------------------------------------------------------------------------------------------


def test_a_pin_is_there_until_it_was_taken_back_as_often_as_it_was_given(pins: Pins, other: Pins) -> None:
    for _ in range(3):
        assert pins.hold("model")
    for _ in range(3):
        assert (is_free(other, "model"), is_free(pins, "model")) == (False, False)
        pins.drop("model")
    assert (is_free(other, "model"), is_free(pins, "model")) == (True, True)


def test_dropping_once_too_often_does_no_harm(pins: Pins, other: Pins) -> None:
    pins.drop("model")
    assert pins.hold("model")
    pins.drop("model")
    pins.drop("model")
    assert pins.hold("model")
    assert not is_free(other, "model"), "the surplus was not carried over"


def test_files_are_pinned_each_for_itself(pins: Pins, other: Pins) -> None:
    assert pins.hold("one")
    assert other.hold("two")
    assert (is_free(other, "one"), is_free(other, "two"), is_free(other, "three")) == (False, False, True)
    assert (is_free(pins, "one"), is_free(pins, "two"), is_free(pins, "three")) == (False, False, True)


def test_many_use_one_file_and_each_of_them_keeps_it(pins: Pins, other: Pins) -> None:
    assert pins.hold("model")
    assert other.hold("model")
    pins.drop("model")
    assert not is_free(pins, "model")
    other.drop("model")
    assert is_free(pins, "model")


@pytest.mark.parametrize("mine", [True, False], ids=["of this one", "of another"])
def test_what_is_claimed_nobody_else_claims_holds_or_removes(pins: Pins, other: Pins, mine: bool) -> None:
    asked = pins if mine else other
    assert pins.claim("download")
    assert not asked.claim("download")
    assert not asked.hold("download")
    assert not is_free(asked, "download")
    pins.drop("download")
    assert is_free(asked, "download")
    assert asked.claim("download")


@pytest.mark.parametrize("mine", [True, False], ids=["of this one", "of another"])
def test_what_is_held_nobody_claims(pins: Pins, other: Pins, mine: bool) -> None:
    asked = pins if mine else other
    assert pins.hold("model")
    assert not asked.claim("model")
    assert asked.hold("model"), "a claim that failed left nothing behind"


@pytest.mark.parametrize("mine", [True, False], ids=["of this one", "of another"])
def test_what_is_being_removed_is_neither_held_nor_claimed_until_that_is_over(pins: Pins, other: Pins, mine: bool) -> None:
    asked = pins if mine else other
    with pins.alone("model") as free:
        assert free
        assert not asked.hold("model")
        assert not asked.claim("model")
        assert asked.hold("another")
    assert asked.hold("model")
    assert not is_free(pins, "model")


def test_alone_lets_go_when_its_block_raises(pins: Pins, other: Pins) -> None:
    with pytest.raises(KeyError), pins.alone("model"):
        raise KeyError
    assert other.hold("model")


def test_one_that_is_alone_in_vain_takes_nothing_from_those_who_hold(pins: Pins, other: Pins) -> None:
    assert pins.hold("model")
    assert not is_free(pins, "model")
    assert not is_free(pins, "model")
    assert not is_free(other, "model")


def test_close_lets_go_of_everything_and_pins_that_are_dropped_later_do_no_harm(pins: Pins, other: Pins) -> None:
    assert pins.hold("model")
    assert pins.claim("download")
    pins.close()
    pins.close()
    pins.drop("model")
    pins.drop("download")
    assert is_free(other, "model")
    assert is_free(other, "download")


def test_pins_that_are_forgotten_are_let_go(path: str, other: Pins) -> None:
    forgotten = Pins(path)
    assert forgotten.hold("model")
    del forgotten
    assert is_free(other, "model")


def test_a_thousand_pins_take_two_descriptors(path: str, other: Pins) -> None:
    before = set(os.listdir("/dev/fd"))
    pins = Pins(path)
    names = [f"file {number}" for number in range(1000)]
    assert len(set(os.listdir("/dev/fd"))) == len(before), "none before they are needed"
    for name in names:
        assert pins.hold(name)
        assert pins.hold(name)
        assert not is_free(pins, name)
    assert len(set(os.listdir("/dev/fd"))) == len(before) + 2
    assert not any(is_free(other, name) for name in names)
    pins.close()
    assert all(is_free(other, name) for name in names)
    other.close()
    assert set(os.listdir("/dev/fd")) == before
    assert os.stat(path).st_size == 0


def test_the_file_is_private_and_a_link_is_refused(path: str, pins: Pins, tmp_path: Path) -> None:
    assert pins.hold("model")
    assert os.stat(path).st_mode & 0o777 == 0o600
    os.symlink(tmp_path / "victim", tmp_path / "link")
    with pytest.raises(OSError, match="link"):
        Pins(str(tmp_path / "link")).hold("model")
    assert not (tmp_path / "victim").exists()


def test_threads_count_together(pins: Pins, other: Pins) -> None:
    start = threading.Barrier(8)
    refused: list[str] = []

    def use(number: int) -> None:
        start.wait()
        for step in range(200):
            name = f"file {(number + step) % 3}"
            if not pins.hold(name):
                refused.append(name)
            elif is_free(other, name):
                refused.append(f"{name} was free")
            else:
                pins.drop(name)

    # `alone` is for one thread at a time, so only one of them looks; the others hold and drop.
    looker = threading.Thread(target=use, args=(0,))
    others = [threading.Thread(target=_hold_and_drop, args=(pins, start, number)) for number in range(1, 8)]
    for thread in (looker, *others):
        thread.start()
    for thread in (looker, *others):
        thread.join()
    assert refused == []
    assert all(is_free(other, f"file {number}") for number in range(3))


def _hold_and_drop(pins: Pins, start: threading.Barrier, number: int) -> None:
    start.wait()
    for step in range(200):
        while not pins.hold(f"file {(number + step) % 3}"):
            pass  # the looker is just looking
        pins.drop(f"file {(number + step) % 3}")


# -- many processes ------------------------------------------------------------------------------------------------------------


def test_processes_see_each_others_pins(path: str, pins: Pins) -> None:
    with a_process(path) as process:
        assert process.do("hold", "model") == "True"
        assert not is_free(pins, "model")
        assert pins.hold("model")
        process.do("drop", "model")
        assert process.do("alone", "model") == "False"
        pins.drop("model")
        assert process.do("alone", "model") == "True"
        assert process.do("claim", "download") == "True"
        assert not pins.claim("download")
        with pins.alone("removed") as free:
            assert free
            assert process.do("hold", "removed") == "False"


def test_a_killed_holder_lets_go_of_all_it_had(path: str, pins: Pins) -> None:
    with a_process(path) as process:
        for name in ("one", "two"):
            assert process.do("hold", name) == "True"
        assert process.do("claim", "download") == "True"
        assert pins.hold("one")
        process.process.kill()
        process.process.wait()
        assert not is_free(pins, "one"), "it is held by this process as well"
        assert is_free(pins, "two")
        assert pins.claim("download")


@needs_fork
@pytest.mark.parametrize("order", ["child first", "parent first"])
def test_a_forked_child_has_pins_of_its_own(path: str, order: str) -> None:
    """In a process of its own: forking one that has threads is nobody's idea of a good time."""
    subprocess.run([sys.executable, "-c", FORKED, path, order], check=True, timeout=60)


@needs_fork
def test_a_child_that_outlives_its_killed_parent_keeps_its_pins_and_not_its_parents_claims(path: str, pins: Pins) -> None:
    command = [sys.executable, "-c", ORPHANED, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert int(process.stdout.readline()) != process.pid
        process.kill()
        process.wait()
        assert not is_free(pins, "held")
        assert is_free(pins, "claimed")
        process.stdin.close()
        assert process.stdout.read() == "", "its output ends with the child"
    assert is_free(pins, "held")


def test_renewing_without_pins_opens_nothing(path: str, pins: Pins) -> None:
    pins.renew()
    assert not os.path.exists(path)
    assert pins.hold("model")


def test_a_pin_that_cannot_be_had_again_after_a_fork_is_none(pins: Pins, other: Pins) -> None:
    """The parent has let go meanwhile, and somebody is removing the file."""
    assert pins.hold("going")
    assert pins.hold("staying")
    os.close(pins._mine)  # what the parent's release comes to
    pins._mine = -1
    with other.alone("going") as free:
        assert free
        pins.renew()
    assert is_free(other, "going")
    assert not is_free(other, "staying")


def test_where_there_is_no_room_for_what_is_said_it_is_counted_all_the_same(
    pins: Pins, other: Pins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notes lie in the file's holes, and a full disk fills none."""
    write = os.pwrite

    def full(descriptor: int, data: bytes, place: int) -> int:
        if len(data) > 6:
            raise OSError(28, "No space left on device")
        return write(descriptor, data, place)

    monkeypatch.setattr(os, "pwrite", full)
    pins.count_up("model.onnx", lambda _: b"S3 is out of reach")
    assert other.count("model.onnx") == 1
    assert not other.said("model.onnx").strip(b"\0")
