"""What comes from the disk is what was written, or an error."""

from __future__ import annotations

import os
from pathlib import Path
from zlib import crc32

import pytest

from s3warm import codec
from s3warm.codec import CorruptFrame
from s3warm.tiers.directory import open_body
from s3warm.tiers.row import Row, Seal
from s3warm.tiers.verified import pieces, whole_file, whole_inline
from tests.support.entries import an_entry, noise, text

BODIES = {"raw": noise(700), "zstd": noise(300) + text(400)}


def a_row(kind: str, stored: bytes, *, seal: Seal | None = None, verified_by: str = "md5") -> Row:
    entry = an_entry(BODIES[kind])
    checksum = crc32(stored) if seal is None else None
    info = entry.info._replace(verified_by=verified_by)
    return Row("n", entry.object, info, kind, len(stored), checksum, seal, 0.0, 1.0)


def stored_form(kind: str) -> bytes:
    frame = codec.compress(BODIES[kind], 1) if kind == "zstd" else BODIES[kind]
    assert frame is not None
    return frame


@pytest.mark.parametrize("kind", BODIES)
def test_each_flipped_bit_of_an_inline_body_is_seen(kind: str) -> None:
    stored = stored_form(kind)
    row = a_row(kind, stored)
    assert whole_inline(row, stored) == BODIES[kind]
    for position in range(len(stored)):
        damaged = bytearray(stored)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(CorruptFrame, match="checksum"):
            whole_inline(row, bytes(damaged))


@pytest.mark.parametrize("verified_by", ["md5", "length"])
@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("how", ["not at all", "touched", "damaged"])
def test_a_file_that_somebody_has_touched_is_summed_where_its_etag_is_a_sum(
    tmp_path: Path, kind: str, verified_by: str, how: str
) -> None:
    path, stored = tmp_path / "file", stored_form(kind)
    path.write_bytes(stored)
    descriptor, seal = open_body(str(path))
    os.close(descriptor)
    row = a_row(kind, stored, seal=seal, verified_by=verified_by)
    if how == "touched":
        os.utime(path, ns=(1, 1))
    elif how == "damaged":
        path.write_bytes(stored[:-1] + bytes([stored[-1] ^ 1]))
    descriptor, seal_now = open_body(str(path))
    try:
        if how == "not at all" or (how == "touched" and verified_by == "md5"):
            assert whole_file(row, descriptor, seal_now) == BODIES[kind]
            assert b"".join(bytes(piece) for piece in pieces(row, descriptor)) == BODIES[kind], "and once more"
        else:
            with pytest.raises(CorruptFrame):
                whole_file(row, descriptor, seal_now)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("limit", [0, 2**30])
def test_a_touched_frame_is_read_from_its_begin_again_after_it_was_summed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr("s3warm.tiers.verified.WHOLE_FRAME", limit)
    path, stored = tmp_path / "file", stored_form("zstd")
    path.write_bytes(stored)
    row = a_row("zstd", stored, seal=Seal(1, len(stored), 1))
    descriptor, seal = open_body(str(path))
    try:
        assert whole_file(row, descriptor, seal) == BODIES["zstd"]
    finally:
        os.close(descriptor)
