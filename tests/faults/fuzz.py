"""Inputs for whatever is parsed, made of Hypothesis's choices, and the targets that take them.

Hypothesis chooses bytes, which it can shrink; all that is built of them follows from them. One input is repeated with
`python -m tests.faults.fuzz TARGET CHOICES`, as a failure says.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["TARGETS", "Choices", "Outcome", "run", "target"]

T = TypeVar("T")
_LENGTH = 96  # bytes of choices for one input; after them all choices are 0
_AT_ONCE = 10  # inputs of one of Hypothesis's examples
_ODD_NUMBERS = (
    0,
    1,
    -1,
    127,
    255,
    256,
    2**16,
    2**31 - 1,
    2**31,
    2**32,
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**64,
    10**18,
    10**19,
    10**400,
)
_ODD_TEXTS = ("\0", "\r\n", "\n", "\r", "\t", " ", "\x7f", "\x85", "\xa0", "é", "٣", "²", "Ⅷ", "\u2028", "\ufeff", "İ", "🪣", "\ud800",
              "\udc80", "%", "%00", "+", "..", "/", "//", "\\", '"', "'", ",", ";", "=", "-", "_", "[", "]", "*", "?", "{", "}", "<", ">",
              "&", ":", "@", "#", "0x", "1_0", "1e9", "nan", "inf", "-1", "9" * 20, "9" * 4400)  # fmt: skip
_ODD_BYTES = (
    *(text.encode("utf-8", "surrogatepass") for text in _ODD_TEXTS),
    b"\xff",
    b"\x80",
    b"\xc0\x80",
    b"\x1f\x8b",
    b"\r\n\r\n",
)


class Choices:
    """Choices for one input, each of them made of the next bytes; `given` is the input, for those who look at a failure."""

    def __init__(self, data: bytes) -> None:
        self.given: object = None
        self._data = data
        self._next = 0

    def __str__(self) -> str:
        try:
            return f"input: {self.given!r:.2000}"
        except ValueError:  # a whole number of more than 4,300 digits
            return "input: it does not print"

    def below(self, bound: int) -> int:
        """A number from 0 up to, but not including, the bound, which is 2^16 at most."""
        step = 1 if bound <= 256 else 2
        taken = self._data[self._next : self._next + step]
        self._next += step
        return int.from_bytes(taken, "big") % bound

    def sometimes(self, once_in: int) -> bool:
        """Whether this is the one time among so many."""
        return self.below(once_in) == once_in - 1

    def one(self, among: Sequence[T]) -> T:
        """One of them."""
        return among[self.below(len(among))]

    def some(self, among: Sequence[T], most: int) -> list[T]:
        """Up to so many of them, in any order, some perhaps twice."""
        return [self.one(among) for _ in range(self.below(most + 1))]

    def number(self) -> int:
        """A small number, or one at which something ends."""
        odd = self.below(256)
        return self.one(_ODD_NUMBERS) + self.below(3) - 1 if odd > 128 else odd

    def data(self, most: int) -> bytes:
        """Any bytes."""
        length = self.below(most + 1)
        taken = self._data[self._next : self._next + length]
        self._next += length
        return taken

    def text(self, most: int, *, surrogates: bool = False) -> str:
        """Any characters, the odd ones often; most of what is parsed was UTF-8 or Latin-1 once, and has no surrogates."""
        made = "".join(chr(byte) if byte < 200 else _ODD_TEXTS[byte % len(_ODD_TEXTS)] for byte in self.data(most))
        return made if surrogates else made.encode("utf-8", "replace").decode()

    def word(self, most: int) -> str:
        """Letters, digits and what stands between them in names."""
        return "".join("abcdefghijklmnopqrstuvwxyz0123456789-./_ABC"[byte % 43] for byte in self.data(most))

    def damaged(self, whole: bytes) -> bytes:
        """The bytes after up to four accidents: bits flip, pieces go, come twice, change places or are another's."""
        for _ in range(self.below(4) + 1):
            start = self.below(min(len(whole), 65_535) + 1)
            end = min(len(whole), start + self.below(9))
            accident = self.below(7)
            if accident == 0 and start < len(whole):
                whole = whole[:start] + bytes([whole[start] ^ 1 << self.below(8)]) + whole[start + 1 :]
            elif accident == 1:
                whole = whole[:start]
            elif accident == 2:
                whole = whole[:start] + self.one(_ODD_BYTES) + whole[start:]
            elif accident == 3:
                whole = whole[:end] + whole[start:end] * (1 + self.below(3)) + whole[end:]
            elif accident == 4:
                whole = whole[:start] + whole[end:]
            elif accident == 5:
                whole = whole[:start] + self.one(_ODD_BYTES) + whole[end:]
            else:
                whole = whole[start:] + whole[:start]
        return whole

    def damaged_text(self, whole: str, *, surrogates: bool = False) -> str:
        """The same for text."""
        broken = self.damaged(whole.encode("utf-8", "surrogatepass"))
        made = (
            broken.decode("utf-8", "surrogatepass" if surrogates and self.sometimes(4) else "replace")
            if _is_text(broken)
            else ""
        )
        return made or broken.decode("latin-1")

    def maybe_damaged(self, whole: str) -> str:
        """The text as it is, or damaged, each half of the time."""
        return self.damaged_text(whole) if self.sometimes(2) else whole


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


class Target(NamedTuple):
    """What takes an input: it says whether the parser took it for one of its own, and raises for whatever should not be."""

    take: Callable[[Choices], bool]
    weight: int  # inputs of a thousand


class Outcome(NamedTuple):
    """How many inputs there were, and how many of them the parser took."""

    inputs: int
    taken: int


TARGETS: dict[str, Target] = {}


def target(name: str, weight: int) -> Callable[[Callable[[Choices], bool]], Callable[[Choices], bool]]:
    """Register a target."""

    def register(take: Callable[[Choices], bool]) -> Callable[[Choices], bool]:
        assert name not in TARGETS, name
        TARGETS[name] = Target(take, weight)
        return take

    return register


def run(name: str, wanted: int, seed: int) -> Outcome:
    """Give a target as many inputs as are wanted, and count them."""
    inputs = taken = 0
    for tries in range(10):
        # Hypothesis ends early if it finds nothing new: the rest is made of longer choices.
        outcome = _tried(name, wanted - inputs, seed + tries, _LENGTH * (tries + 1))
        inputs, taken = inputs + outcome.inputs, taken + outcome.taken
        if inputs >= wanted:
            break
    return Outcome(inputs, taken)


def _tried(name: str, wanted: int, seed: int, length: int) -> Outcome:
    inputs = taken = 0
    take = TARGETS[name].take

    # Most of the time would be Hypothesis's, were each input an example of its own.
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=-(-wanted // _AT_ONCE),
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(st.binary(min_size=length * _AT_ONCE, max_size=length * _AT_ONCE))
    def each(several: bytes) -> None:
        nonlocal inputs, taken
        for start in range(0, len(several), length):
            data = several[start : start + length]
            choices = Choices(data)
            try:
                took = take(choices)
            except BaseException:
                hypothesis.note(str(choices))
                hypothesis.note(f"repeat it: python -m tests.faults.fuzz {name!r} {data.hex()}")
                raise
            inputs += 1
            taken += took

    each()
    return Outcome(inputs, taken)


if __name__ == "__main__":
    from tests.faults import fuzz_all

    chosen = Choices(bytes.fromhex(sys.argv[2]))
    try:
        print("taken" if fuzz_all.TARGETS[sys.argv[1]].take(chosen) else "refused")
    finally:
        print(chosen)
