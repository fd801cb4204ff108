"""Errors that processes tell each other: those of S3, whole, and never another object's."""

from __future__ import annotations

import pytest

from s3warm.errors import (
    AccessDeniedError,
    IntegrityError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    OriginUnavailableError,
    S3WarmError,
    late,
)
from s3warm.keys import locate
from s3warm.tiers.told import LENGTH, pack, unpack

KEY = locate("s3://cfg/flags.json")


def unavailable(*, outage: bool) -> OriginUnavailableError:
    error = OriginUnavailableError(f"{KEY} could not be fetched: S3 answered 503", bucket="cfg", key="flags.json")
    error.outage = outage
    return error


ERRORS: list[S3WarmError] = [
    ObjectNotFoundError(f"{KEY} does not exist", bucket="cfg", key="flags.json"),
    AccessDeniedError(f"access to {KEY} is denied", bucket="cfg", key="flags.json"),
    IntegrityError(f"{KEY} arrived damaged", bucket="cfg", key="flags.json"),
    unavailable(outage=True),
    unavailable(outage=False),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__} {getattr(error, 'outage', '')}")
def test_an_error_comes_over_as_it_is(error: S3WarmError) -> None:
    told = unpack(pack("turn x", 7, error), "turn x", 7, KEY)
    assert type(told) is type(error)
    assert (str(told), told.bucket, told.key) == (str(error), "cfg", "flags.json")
    assert getattr(told, "outage", None) == getattr(error, "outage", None)


@pytest.mark.parametrize("error", [late(KEY, "no time"), ObjectTooLargeError.of(KEY, 2, 1), S3WarmError("odd")], ids=repr)
def test_what_is_a_process_own_affair_stays_its_own(error: S3WarmError) -> None:
    assert pack("turn x", 7, error) == b""


def test_a_long_message_is_cut_and_anything_can_be_said() -> None:
    note = pack("turn x", 7, ObjectNotFoundError("é" * 600 + "\udcff"))
    assert len(note) == LENGTH
    told = unpack(note, "turn x", 7, KEY)
    assert told is not None
    assert str(told).startswith("é" * 230)


@pytest.mark.parametrize(
    ("name", "count"), [("turn y", 7), ("turn x", 6), ("turn x", 8)], ids=["another turn's", "older", "newer"]
)
def test_what_is_not_meant_is_not_told(name: str, count: int) -> None:
    assert unpack(pack("turn x", 7, ERRORS[0]), name, count, KEY) is None


def test_no_damaged_note_is_told() -> None:
    note = pack("turn x", 7, ERRORS[0])
    for length in range(len(note)):
        assert unpack(note[:length], "turn x", 7, KEY) is None
    for position in range(len(note)):
        damaged = bytearray(note)
        damaged[position] ^= 1
        assert unpack(bytes(damaged), "turn x", 7, KEY) is None
    assert unpack(note + bytes(LENGTH - len(note)), "turn x", 7, KEY) is not None, "a place has an end that was another's"
