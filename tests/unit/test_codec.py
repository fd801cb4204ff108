"""The stored forms of a body: nothing but the body ever comes out of a frame."""

from __future__ import annotations

import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from s3warm import codec
from s3warm.codec import CorruptFrame, compress, compressed_chunks, decompress, estimate
from tests.support.entries import noise, text

KIB = 1024
MAGIC = 0xFD2FB528


def frame_of(body: bytes, level: int = 1) -> bytes:
    return b"".join(compressed_chunks(body, level))


def claiming(size: int) -> bytes:
    """The header of a frame (RFC 8878, section 3.1.1.1) that says that `size` bytes follow."""
    return struct.pack("<IBQ", MAGIC, 0b1110_0100, size) + b"\x01\x00\x00"


@pytest.mark.parametrize("level", [1, 3, 22])
@pytest.mark.parametrize("size", [0, 1, 255, 256, 64 * KIB, 1024 * KIB, 1024 * KIB + 1, 3 * 1024 * KIB])
def test_a_body_comes_back_from_its_chunks(size: int, level: int) -> None:
    if size > 1024 * KIB and level == 22:
        size //= 8  # the strongest level is slow, and has no path of its own
    body = text(size)
    assert decompress(frame_of(body, level), size) == body


@given(st.binary(max_size=5000), st.integers(1, 5))
def test_any_body_comes_back(body: bytes, level: int) -> None:
    assert decompress(frame_of(body, level), len(body)) == body
    frame = compress(body, level)
    assert frame is None or decompress(frame, len(body)) == body


def test_a_frame_is_smaller_and_carries_its_size_and_no_checksum() -> None:
    frame = compress(text(10_000), 1)
    assert frame is not None
    assert len(frame) < 1000
    parameters = zstandard.get_frame_parameters(frame)
    assert (parameters.content_size, parameters.has_checksum) == (10_000, False)
    assert not zstandard.get_frame_parameters(frame_of(text(3_000_000))).has_checksum


@pytest.mark.parametrize(
    ("body", "level", "paying"),
    [
        (text(255), 1, False),
        (text(256), 1, True),
        (text(10_000), 1, True),
        (text(10_000), 0, False),
        (text(1_000_000), 1, True),
        (text(1_000_000), 0, False),
        (noise(1_000_000), 1, False),
        (noise(500_000) + text(500_000), 1, True),  # two of four samples compress
    ],
    ids=["tiny", "small", "text", "level 0", "large", "large, level 0", "noise", "half noise"],
)
def test_samples_tell_whether_compression_pays(body: bytes, level: int, paying: bool) -> None:
    estimated = estimate(body, level)
    assert (estimated is not None) is paying
    if estimated is not None and len(body) > 64 * 1024:
        frame = compress(body, level)
        assert frame is not None
        assert len(frame) < estimated * 1.5, "a body that repeats itself takes less"


def test_what_does_not_compress_is_given_up() -> None:
    assert compress(noise(10_000), 1) is None


@pytest.mark.parametrize("claimed", [4 << 40, 2**63, 2**40, 64 << 20])
def test_a_frame_that_claims_more_than_it_can_hold_is_refused_before_anything_is_allocated(
    claimed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_decompressor() -> zstandard.ZstdDecompressor:
        raise AssertionError("it was about to allocate")

    monkeypatch.setattr(codec, "_decompressor", no_decompressor)
    frame = claiming(claimed)
    assert zstandard.frame_content_size(frame) == claimed
    with pytest.raises(CorruptFrame, match="claims"):
        decompress(frame, claimed)  # the row says so too
    with pytest.raises(CorruptFrame, match="claims"):
        decompress(frame, 100)


def test_the_best_frame_there_can_be_is_not_refused() -> None:
    body = bytes(16 << 20)
    assert decompress(frame_of(body, 22), len(body)) == body


@pytest.mark.parametrize("size", [0, 9_999, 10_001, 2**40, -1])
def test_another_size_than_the_expected_one_is_corrupt(size: int) -> None:
    with pytest.raises(CorruptFrame, match="claims 10000 instead of"):
        decompress(frame_of(text(10_000)), size)


def test_a_frame_that_does_not_tell_its_size_is_corrupt() -> None:
    streamed = zstandard.ZstdCompressor().compressobj()
    frame = streamed.compress(text(10_000)) + streamed.flush()
    with pytest.raises(CorruptFrame):
        decompress(frame, 10_000)


@pytest.mark.parametrize(
    "frame", [b"", b"x", b"not a frame at all", text(100), claiming(10), b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip"]
)
def test_what_is_no_frame_is_corrupt(frame: bytes) -> None:
    with pytest.raises(CorruptFrame):
        decompress(frame, 10)


def test_a_frame_that_was_cut_off_is_corrupt_wherever_it_was_cut() -> None:
    frame = frame_of(text(2000))
    for length in range(len(frame)):
        with pytest.raises(CorruptFrame):
            decompress(frame[:length], 2000)


def test_a_flipped_bit_brings_as_many_bytes_or_a_corrupt_frame_and_no_other_error() -> None:
    """Whether they are the right ones is for the checksum of the row, or the seal of the file."""
    body = noise(300) + text(300)
    frame = frame_of(body)
    caught = 0
    for position in range(len(frame)):
        for bit in range(8):
            damaged = bytearray(frame)
            damaged[position] ^= 1 << bit
            try:
                assert len(decompress(bytes(damaged), len(body))) == len(body)
            except CorruptFrame:
                caught += 1
    assert 0 < caught < 8 * len(frame)


def test_many_threads_at_once_get_their_own_bodies() -> None:
    bodies = [text(5000 + number) + noise(100, number) for number in range(8)]
    start = threading.Barrier(8)

    def work(number: int) -> bool:
        start.wait()
        return all(decompress(frame_of(bodies[number], level), len(bodies[number])) == bodies[number] for level in (1, 3) * 20)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_a_level_that_is_not_the_one_before_is_obeyed() -> None:
    body = b"".join(b"%d;" % (number * number) for number in range(20_000))
    fast, strong, again = compress(body, 1), compress(body, 19), compress(body, 1)
    assert fast is not None
    assert strong is not None
    assert len(strong) < len(fast)
    assert fast == again
