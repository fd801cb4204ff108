"""Targets: what lies in files, of which anybody may have been the writer: rows, frames, intents and traces."""

from __future__ import annotations

import csv
import functools
import gzip
import io
import json
import math
import os
import shutil
import tempfile
import tracemalloc
import weakref
from typing import Any, Literal

import zstandard

from s3warm.codec import (
    MAX_RATIO,
    RAW,
    ZSTD,
    CorruptFrame,
    compressed_chunks,
    decompress,
    decompressed_chunks,
    decompressed_file,
)
from s3warm.entries import Metadata
from s3warm.keys import ObjectKey
from s3warm.simulation.trace import Trace, TraceError, read
from s3warm.tiers.directory import _is_stem
from s3warm.tiers.intents import left_behind
from s3warm.tiers.row import (
    FORMAT,
    OLDER,
    PARTIAL,
    WHOLE,
    BadRow,
    Row,
    Seal,
    body_name,
    digest,
    key_of_name,
    pack,
    readable,
    unpack,
)
from tests.faults.fuzz import Choices, target
from tests.unit.test_row import is_well_typed, plausible

MIB = 2**20


class Scratch:
    """A directory for files that have to have a name; it goes with the process."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix="s3warm-fuzz-")
        self._finalizer = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def write(self, name: str, data: bytes) -> str:
        path = os.path.join(self.path, name)
        with open(path, "wb") as file:
            file.write(data)
        return path


@functools.cache
def scratch() -> Scratch:
    return Scratch()


# -- rows ------------------------------------------------------------------------------------------------------------------------


def _row(choices: Choices) -> Row:
    size = abs(choices.number()) % 2**63
    info = Metadata(
        choices.one(('"e"', "", '"0123-2"')),
        size,
        choices.one((None, "v1")),
        choices.one((None, 1e9, 1_500_000_000, 0.0)),
        choices.one((None, "text/plain")),
        None,
        choices.one((None, "no-cache")),
        choices.one((None, {"owner": "é"})),
        choices.one(("md5", "length")),
    )
    seal = choices.one((None, Seal(1, size, 3)))
    key = ObjectKey(choices.word(6) or "b", choices.text(8) or "k", choices.one((None, "v1")), choices.sometimes(8))
    row = Row(choices.word(4), key, info, choices.one((RAW, ZSTD)), size, choices.one((None, 123)), seal, 1e9, 1e9 + choices.below(500),
              choices.one((WHOLE, OLDER, PARTIAL)), choices.one(("", "ff")))  # fmt: skip
    return plausible(row)


_ODD_FIELDS: tuple[Any, ...] = (None, True, False, 0, -1, 1.0, 1e308, -1e308, math.inf, -math.inf, math.nan, 2**63, 10**300, "", "x", "\ud800", "a\r\nb",
                                "é", "../../x", "raw", "zstd", [], [1, 2, 3], {}, {"a": 1}, "0x1f", "1_f", "-0", " 1 ", "\0")  # fmt: skip


def _replaced(choices: Choices, fields: list[Any]) -> list[Any]:
    """The fields with one of them, at any depth, another one, gone, or there twice."""
    at = choices.below(len(fields))
    inner = fields[at]
    if isinstance(inner, list) and inner and choices.sometimes(2):
        return [*fields[:at], _replaced(choices, inner), *fields[at + 1 :]]
    return [
        *fields[:at],
        *choices.one(([choices.one(_ODD_FIELDS)], [choices.one(_ODD_FIELDS)], [], [inner, inner])),
        *fields[at + 1 :],
    ]


@target("rows", 120)
def rows(choices: Choices) -> bool:
    """`unpack` raises BadRow."""
    row = _row(choices)
    text = pack(row)
    kind = choices.below(4)
    if kind == 1:
        fields = json.loads(text)
        for _ in range(choices.below(2) + 1):
            fields = _replaced(choices, fields) if fields else []
        text = json.dumps(fields)
    elif kind == 2:
        text = choices.damaged_text(text, surrogates=True)
    elif kind == 3 and choices.sometimes(4):
        text = choices.one((choices.text(60, surrogates=True), "[" * 60_000, "[" * 500 + "]" * 500, f"[{FORMAT}," + "[]," * 20))
    choices.given = text
    try:
        found = unpack(text)
    except BadRow:
        assert kind, "it was well formed"
        assert readable(text) is None
        return False
    assert kind or found == row
    assert is_well_typed(found)
    assert unpack(pack(found)) == found
    assert "".join((found.namespace, str(found.object), *(found.info.user or {}).values())).encode(), (
        "what is no text ends in an error wherever it is written"
    )
    name = body_name(found)
    if name is not None:
        assert "/" not in name
        assert "\0" not in name
        assert name not in (".", "..")
        assert len(os.fsencode(name)) <= 255, "no file can have such a name"
        assert key_of_name(name) == digest(found.namespace, found.object)
    entry = found.entry(b"")
    assert entry.last_modified is None or entry.last_modified.year
    assert found.info.etag.isascii(), "no request can carry it"
    assert found.info.etag.isprintable(), "it could be taken for another header"
    return True


# -- frames ----------------------------------------------------------------------------------------------------------------------


def _claiming(size: int, choices: Choices) -> bytes:
    """A head (RFC 8878, section 3.1.1.1) that says that so many bytes follow, with or without a window of its own."""
    if choices.sometimes(2):
        return b"\x28\xb5\x2f\xfd" + bytes([0b1100_0000, choices.below(256)]) + size.to_bytes(8, "little")
    return b"\x28\xb5\x2f\xfd" + bytes([0b1110_0000]) + size.to_bytes(8, "little")


@functools.cache
def _frame(size: int, kind: int) -> bytes:
    body = (b"ab" * size)[:size] if kind else bytes((number * number) % 251 for number in range(size))
    return b"".join(compressed_chunks(body, 1))


_SIZES = (0, 1, 5, 300, 5000, 140_000)


def _whole_frame(choices: Choices) -> tuple[int, bytes]:
    size = choices.one(_SIZES)
    return size, _frame(size, choices.below(2))


def _other_frame(choices: Choices) -> tuple[int, bytes]:
    """A size, and bytes that may not be the frame of so many."""
    size, frame = _whole_frame(choices)
    kind = choices.below(5)
    if kind == 0:
        return choices.one((size, abs(choices.number()) % 2**40)), frame
    if kind == 1:
        claimed = choices.one((2**62, 2**40, 2**32, 2**23, size))
        rest = choices.one((b"", b"\x01\x00\x00", frame[6:], choices.data(30)))
        return choices.one((claimed, 300)) % 2**23, _claiming(claimed, choices) + rest
    if kind == 2:
        return size, choices.data(60)
    if kind == 3:
        skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
        return size, choices.one((frame + frame, skippable + frame, frame + b"x", _frame(300, 0) + frame))
    return size, choices.damaged(frame)


@target("frames", 80)
def frames(choices: Choices) -> bool:
    """All three ways to unpack a frame raise CorruptFrame, and allocate no more than the size that the row says, beside their buffers."""
    whole = choices.sometimes(2)
    size, frame = _whole_frame(choices) if whole else _other_frame(choices)
    choices.given = (size, frame)
    way = choices.below(3) if size <= len(frame) * MAX_RATIO else 0  # of a row that says more the file is not read
    # A piece, and what streaming reads of the frame; the pieces are put together here.
    most = 2 * size + 3 * MIB if way == 2 else size + MIB
    descriptor = os.memfd_create("frame")
    tracemalloc.start()
    try:
        os.write(descriptor, frame)
        if way == 0:
            body: bytes | bytearray = decompress(frame, size)
        elif way == 1:
            body = decompressed_file(descriptor, size)
        else:
            body = bytearray()
            for piece in decompressed_chunks(descriptor, size):
                body += piece
        assert len(body) == size
    except CorruptFrame:
        assert not whole, "it was well formed"
        return False
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        os.close(descriptor)
        assert peak <= most, f"{peak:,} bytes for a body of {size:,}"
    if whole:
        assert body == zstandard.ZstdDecompressor().decompress(frame)
    return True


# -- intents ---------------------------------------------------------------------------------------------------------------------

_STEM = "0123456789abcdef0123456789abcdef-0123456789abcdef-77-1"


@target("intents", 30)
def intents(choices: Choices) -> bool:
    """`left_behind` raises nothing for whatever the file says; what is believed of it is the name of a file of ours."""
    slots = [choices.one((_STEM, "", "../" + _STEM, _STEM + "/../../x", choices.text(40), choices.damaged_text(_STEM))) for _ in range(choices.below(4) + 1)]  # fmt: skip
    data = b"".join(slot.encode("utf-8", "replace")[:256].ljust(256, b"\0") for slot in slots)
    data = choices.damaged(data) if choices.sometimes(3) else data
    choices.given = data
    path = scratch().write("intents", data)
    found = []
    for intent in left_behind(path):
        found.append(intent.text)
        assert 0 < len(intent.text) <= 256
        (intent.withdraw if choices.sometimes(2) else intent.leave)()
    again = []
    for intent in left_behind(path):
        again.append(intent.text)
        intent.withdraw()
    assert set(again) <= set(found), "who has withdrawn leaves nothing"
    assert not list(left_behind(path))
    stems = [text for text in found if _is_stem(text)]
    for stem in stems:
        assert os.path.basename(stem) == stem
        assert key_of_name(stem) is not None
        assert len(os.fsencode(stem)) <= 255
    return bool(stems)


# -- traces ----------------------------------------------------------------------------------------------------------------------


def _read(path: str) -> Trace | None:
    try:
        return read(path)
    except TraceError as error:
        assert path in str(error)  # noqa: PT017 - it is one of two good ends
        return None


@target("traces", 60)
def traces(choices: Choices) -> bool:
    """`read` raises TraceError, and a trace says the same gzipped."""
    lines = [
        [
            choices.one(("1", "0.5", "1e3", "-1", str(choices.number()))),
            choices.text(6),
            str(min(10**12, abs(choices.number()))),
        ]
        for _ in range(choices.below(4) + 1)
    ]
    out = io.StringIO()
    # Of line ends in a cell the writer minds its own alone.
    quoting: Literal[0, 1] = csv.QUOTE_ALL if any("\r" in key for _, key, _ in lines) else csv.QUOTE_MINIMAL
    writer = csv.writer(out, lineterminator=choices.one(("\n", "\r\n")), quoting=quoting)
    if choices.sometimes(2):
        writer.writerow(["time", "key", "size"])
    writer.writerows(lines)
    text = choices.one(("", "", "\ufeff")) + out.getvalue()
    whole = choices.sometimes(2) and "\0" not in text
    data = text.encode() if whole else choices.damaged(text.encode())
    if not whole and choices.sometimes(8):
        data = choices.data(60)
    choices.given = data
    found = _read(scratch().write("trace.csv", data))
    if found is not None:
        assert 0 < len(found.requests) <= data.count(b"\n") + data.count(b"\r") + 1
        assert all(0 <= number < found.objects and 0 <= size <= 50 * 10**12 for number, size in found.requests)
    if whole and all(math.isfinite(float(time)) for time, _, _ in lines):
        assert found is not None
        assert [size for _, size in found.requests] == [int(size) for _, _, size in lines]
    if not data.startswith(b"\x1f\x8b") and choices.sometimes(3):
        packed = gzip.compress(data, 1)
        again = _read(scratch().write("trace.csv.gz", packed))
        assert (again is None) == (found is None)
        assert again is None or found is None or again.requests == found.requests
        broken = _read(scratch().write("trace.csv.gz", choices.damaged(packed)))
        assert broken is None or broken.requests
    return found is not None
