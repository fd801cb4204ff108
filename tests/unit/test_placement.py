"""Placement: where a body lies and whether it is compressed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3warm.rules.placement import INLINE_LIMIT, SAMPLE_SIZE, SAMPLES, in_one_piece, is_inline, must_pay, sample_offsets

KIB, MIB = 1024, 1024 * 1024


@pytest.mark.parametrize(("size", "inline"), [(0, True), (1, True), (32 * KIB, True), (32 * KIB + 1, False), (2**40, False)])
def test_small_bodies_lie_in_their_row(size: int, inline: bool) -> None:
    assert is_inline(size) is inline
    assert INLINE_LIMIT == 32 * KIB


@pytest.mark.parametrize(
    ("size", "offsets"),
    [
        (0, None),
        (255, None),
        (256, []),
        (64 * KIB, []),
        (64 * KIB + 3, [0, 16 * KIB + 1, 32 * KIB + 2, 48 * KIB + 3]),
        (160 * KIB, [0, 48 * KIB, 96 * KIB, 144 * KIB]),
    ],
)
def test_samples_are_taken_of_what_is_too_large_to_try(size: int, offsets: list[int] | None) -> None:
    assert sample_offsets(size) == offsets


@pytest.mark.parametrize(
    ("size", "estimated", "whole"),
    [
        (MIB, MIB, True),
        (4 * MIB, 4 * MIB, True),
        (4 * MIB + 1, 4 * MIB + 1, False),
        (16 * MIB, 4 * MIB, True),
        (16 * MIB + 1, MIB, False),
    ],
)
def test_what_makes_a_small_frame_is_compressed_in_one_piece(size: int, estimated: int, whole: bool) -> None:
    assert in_one_piece(size, estimated) is whole


@given(st.integers(SAMPLES * SAMPLE_SIZE + 1, 2**50))
def test_samples_do_not_overlap_and_reach_from_the_beginning_to_the_end(size: int) -> None:
    offsets = sample_offsets(size)
    assert offsets is not None
    assert (len(offsets), offsets[0]) == (SAMPLES, 0)
    assert all(after - before >= SAMPLE_SIZE for before, after in pairwise(offsets))
    assert size - SAMPLES < offsets[-1] + SAMPLE_SIZE <= size


@pytest.mark.parametrize(
    ("raw", "compressed", "pays"), [(1000, 850, True), (1000, 851, False), (1000, 10, True), (1000, 1010, False)]
)
def test_compression_must_save_fifteen_percent(raw: int, compressed: int, pays: bool) -> None:
    assert must_pay(raw, compressed) is pays
