"""Rows: what was packed comes back, and everything else is a BadRow."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3warm.codec import MAX_RATIO, RAW, ZSTD
from s3warm.entries import Entry, Metadata
from s3warm.keys import ObjectKey
from s3warm.tiers.row import FORMAT, OLDER, PARTIAL, WHOLE, BadRow, Row, Seal, digest, file_name, pack, readable, unpack

KEY = ObjectKey("bucket", "a/key", "v1")
INFO = Metadata('"e"', 4, "v1", 1e9, "text/plain", "gzip", "max-age=60", {"owner": "ops"}, "md5", "aws:kms")
ROW = Row("ns", KEY, INFO._replace(verified_by="sha1"), RAW, 4, 123, Seal(1, 4, 3), 100.0, 400.0)
NAMESPACE, OBJECT, INFORMATION, CODEC, STORED, CHECKSUM, SEAL, VALIDATED, EXPIRES, STATE, FINISHED = range(1, 12)

text = st.text()
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126))
maybe = st.none() | text
whole = st.integers(0, 2**63)
floats = st.floats(allow_nan=False)
infos = st.builds(
    Metadata,
    etag=printable,
    size=whole,
    version_id=maybe,
    last_modified=st.none() | st.floats(-62_135_596_800, 253_402_300_798),
    content_type=maybe,
    content_encoding=maybe,
    cache_control=maybe,
    user=st.none() | st.dictionaries(text, text, min_size=1),
    verified_by=st.sampled_from(["md5", "crc32", "sha1", "sha256", "length"]),
)
rows = st.builds(
    Row,
    namespace=text,
    object=st.builds(ObjectKey, text, text, maybe, st.booleans()),
    info=infos,
    codec=st.sampled_from([RAW, ZSTD]),
    stored_size=whole,
    checksum=st.none() | st.integers(0, 2**32 - 1),
    seal=st.none() | st.builds(Seal, whole, whole, whole),
    validated_at=st.floats(allow_nan=False, allow_infinity=False),
    expires_at=floats,
    state=st.sampled_from([WHOLE, OLDER, PARTIAL]),
    finished=st.just("") | st.integers(0, 2**2000).map("{:x}".format),
)


def plausible(row: Row) -> Row:
    """A raw body is stored in its own size, and a frame holds no more than frames can; what lies in its row has its checksum."""
    row = row._replace(codec=RAW if row.state == PARTIAL or row.object.tree else row.codec)
    if row.state != PARTIAL and row.seal is None:
        row = row._replace(checksum=row.checksum or 0)
    size = row.stored_size if row.codec == RAW else min(row.info.size, row.stored_size * MAX_RATIO)
    return row._replace(info=row.info._replace(size=size))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


def is_well_typed(row: Row) -> bool:
    """Whether every field is of the type that the rest of the code relies on."""
    info = row.info
    words = (info.version_id, info.content_type, info.content_encoding, info.cache_control, row.object.version_id)
    return (
        all(type(word) is str for word in (row.namespace, row.object.bucket, row.object.key, info.etag, info.verified_by))
        and all(word is None or type(word) is str for word in words)
        and all(type(number) is int and number >= 0 for number in (info.size, row.stored_size, row.checksum or 0))
        and (info.last_modified is None or (type(info.last_modified) in (int, float) and math.isfinite(info.last_modified)))
        and (
            info.user is None
            or (type(info.user) is dict and all(type(word) is str for pair in info.user.items() for word in pair))
        )
        and (row.seal is None or all(type(number) is int and number >= 0 for number in row.seal))
        and all(type(time) is float and not math.isnan(time) for time in (row.validated_at, row.expires_at))
        and math.isfinite(row.validated_at)
        and row.codec in (RAW, ZSTD)
        and row.state in (WHOLE, OLDER, PARTIAL)
        and type(row.finished) is str
        and int(row.finished or "0", 16) >= 0
    )


def never_anything_but_a_bad_row(text: object) -> None:
    """Unpack; what does not fail must be usable."""
    try:
        row = unpack(text)
    except BadRow:
        assert readable(text) is None
    else:
        assert is_well_typed(row)
        assert unpack(pack(row)) == row


@pytest.mark.parametrize(("codec", "size"), [(RAW, 9), (RAW, 11), (ZSTD, 10 * MAX_RATIO + 1), (ZSTD, 4 * 2**40)])
def test_a_size_that_cannot_be_is_refused(codec: str, size: int) -> None:
    with pytest.raises(BadRow):
        unpack(pack(ROW._replace(codec=codec, stored_size=10, info=ROW.info._replace(size=size))))


@given(rows.map(plausible))
def test_a_row_comes_back_as_it_was(row: Row) -> None:
    again = unpack(pack(row))
    assert again == row
    assert is_well_typed(again)
    assert (type(again.object), type(again.info), type(again.seal)) == (ObjectKey, Metadata, type(row.seal))


def test_a_pinned_version_that_never_expires_comes_back() -> None:
    row = ROW._replace(expires_at=float("inf"))
    assert unpack(pack(row)) == row


def test_a_row_makes_the_entry_it_was_made_of() -> None:
    assert unpack(pack(ROW)).entry(b"body") == Entry(KEY, ROW.info, 100.0, 400.0, b"body")


def test_a_packed_row_is_one_ascii_line_that_begins_with_its_format() -> None:
    packed = pack(ROW._replace(namespace="ü\n"))
    assert packed.isascii()
    assert "\n" not in packed
    assert packed.startswith(f"[{FORMAT}, ")


@pytest.mark.parametrize("text", [None, 5, 1.5, b"[]", pack(ROW).encode(), [], [FORMAT, *ROW], memoryview(b"x")])
def test_what_is_no_text_is_a_bad_row(text: object) -> None:
    with pytest.raises(BadRow, match="a row is text, not"):
        unpack(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "null",
        "[]",
        '"row"',
        "0123456789",
        '"0123456789"',
        "[1, 2",
        "[" * 100_000,
        "1" * 10_000,
        "\0",
        "\ud800",
        "__import__('os')",
        pack(ROW)[:-1],
        pack(ROW) + "x",
        pack(ROW) + pack(ROW),
    ],
)
def test_what_is_no_row_is_a_bad_row(text: str) -> None:
    with pytest.raises(BadRow):
        unpack(text)


def mutated(*path: int | str, value: object) -> str:
    """The text of ROW with one element replaced."""
    fields: Any = json.loads(pack(ROW))
    target = fields
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return json.dumps(fields)


def each(path: tuple[int, ...], *values: object) -> list[tuple[tuple[int, ...], object]]:
    """The path with each of the values."""
    return [(path, value) for value in values]


ETAG, SIZE, VERSION, MODIFIED, TYPE, ENCODING, CONTROL, USER, VERIFIED, ENCRYPTION = range(10)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *each((0,), 0, 1, 2, 3, 4, 6, None, "5", [5], -1),
        *each((CODEC,), "zip", "", None, 1, ["raw"], "RAW"),
        *each((STORED,), -1, 4.0, "4", None, True, []),
        *each((CHECKSUM,), -1, 1.5, "1", False),
        *each((SEAL,), [], [1, 2], [1, 2, 3, 4], [1, 2, -3], [1, 2.0, 3], [True, 2, 3], "abc", 0, {"a": 1}),
        *each((VALIDATED,), 100, "100", None, True, []),
        *each((EXPIRES,), 400, "400", None, True, []),
        *each((STATE,), "", "Whole", None, 1, ["whole"]),
        *each((FINISHED,), "x", "-1", None, 1, ["ff"]),
        *each((OBJECT,), [], ["b"], ["b", "k", None, 1], "b", None, {"bucket": 1}),
        *each((INFORMATION,), [], ["e"], "e4", None, ["e", 4] + [None] * 9, {}),
        *each((INFORMATION, ETAG), None, 5, [], True),
        *each((INFORMATION, SIZE), -1, 4.0, "4", None, True),
        *each((INFORMATION, VERSION), 5, [], True),
        *each((INFORMATION, MODIFIED), "x", [], True, {}),
        *each((INFORMATION, TYPE), 5, [], {}),
        *each((INFORMATION, ENCODING), 5, [], {}),
        *each((INFORMATION, CONTROL), 5, ["no-cache"], {}),
        *each((INFORMATION, USER), 5, "", "ab", [], [1], 0, False, {"a": 1}, {"a": None}, [["a", "b"]]),
        *each((INFORMATION, VERIFIED), None, 5, []),
        *each((INFORMATION, ENCRYPTION), 5, [], True),
        *each((NAMESPACE,), None, 5, []),
        *each((OBJECT, 0), None, 5, []),
        *each((OBJECT, 1), None, 5, []),
        *each((OBJECT, 2), 5, [], True),
    ],
)
def test_a_field_of_another_type_or_out_of_range_is_a_bad_row(path: tuple[int, ...], value: object) -> None:
    with pytest.raises(BadRow):
        unpack(mutated(*path, value=value))


@pytest.mark.parametrize("verified_by", ["md5", "length"])
def test_a_raw_body_is_proved_by_its_checksum_or_by_its_files_seal(verified_by: str) -> None:
    row = ROW._replace(info=ROW.info._replace(verified_by=verified_by), checksum=None)
    assert row.codec == RAW
    assert unpack(pack(row._replace(seal=Seal(1, row.stored_size, 3)))).checksum is None
    with pytest.raises(BadRow, match="no version of s3warm"):
        unpack(pack(row._replace(seal=None)))


@pytest.mark.parametrize("path", [(VALIDATED,), (EXPIRES,), (INFORMATION, MODIFIED)])
def test_a_time_that_is_no_number_is_a_bad_row(path: tuple[int, ...]) -> None:
    with pytest.raises(BadRow):
        unpack(mutated(*path, value=float("nan")))


def test_an_object_that_was_written_at_no_finite_time_is_a_bad_row() -> None:
    with pytest.raises(BadRow):
        unpack(mutated(INFORMATION, MODIFIED, value=float("inf")))


@pytest.mark.parametrize("moment", [-62_135_596_801, 253_402_300_799, 1e308])
def test_an_object_that_was_written_in_no_year_of_a_datetime_is_a_bad_row(moment: float) -> None:
    with pytest.raises(BadRow):
        unpack(mutated(INFORMATION, MODIFIED, value=moment))


@pytest.mark.parametrize("etag", ["\ud800", '"é"', '"a\r\nx: y"', "\0"])
def test_an_etag_that_no_request_can_carry_is_a_bad_row(etag: str) -> None:
    with pytest.raises(BadRow):
        unpack(mutated(INFORMATION, ETAG, value=etag))


def test_a_checksum_of_more_than_32_bits_is_a_bad_row() -> None:
    assert unpack(mutated(CHECKSUM, value=2**32 - 1)).checksum == 2**32 - 1
    with pytest.raises(BadRow):
        unpack(mutated(CHECKSUM, value=2**32))


@given(st.text() | json_values.map(json.dumps))
def test_any_text_is_a_usable_row_or_a_bad_one(text: str) -> None:
    never_anything_but_a_bad_row(text)


@given(st.integers(0, 11), json_values)
def test_any_value_in_any_field_is_a_usable_row_or_a_bad_one(field: int, value: object) -> None:
    never_anything_but_a_bad_row(mutated(field, value=value))


@given(st.integers(0, 8), json_values)
def test_any_value_in_any_field_of_the_metadata_is_a_usable_row_or_a_bad_one(field: int, value: object) -> None:
    never_anything_but_a_bad_row(mutated(INFORMATION, field, value=value))


@given(st.data())
def test_a_row_with_some_of_its_text_changed_is_a_usable_row_or_a_bad_one(data: st.DataObject) -> None:
    packed = pack(data.draw(rows))
    start = data.draw(st.integers(0, len(packed)))
    end = data.draw(st.integers(start, min(len(packed), start + 10)))
    never_anything_but_a_bad_row(packed[:start] + data.draw(st.text(max_size=5)) + packed[end:])


# -- the names of rows and files ------------------------------------------------------------------------------------------------


def test_a_row_key_is_sixteen_bytes_whatever_the_key() -> None:
    assert {len(digest("ns", ObjectKey("b", key))) for key in ("k", "k" * 1024, "ü\n\0🎈")} == {16}


def test_row_keys_stay_the_same_from_version_to_version() -> None:
    assert digest("ns", ObjectKey("b", "k")).hex() == digest("ns", ObjectKey("b", "k", None)).hex()
    assert digest("ns", ObjectKey("b", "k")) != digest("ns", ObjectKey("b", "k", "null"))


@given(st.lists(st.tuples(st.text(), st.text(), st.text(), maybe), unique=True, min_size=2, max_size=5))
def test_different_objects_have_different_row_keys(parts: list[tuple[str, str, str, str | None]]) -> None:
    assert len({digest(namespace, ObjectKey(*key)) for namespace, *key in parts}) == len(parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c", "d"), ("a", "bc", "d")),
        (("n", "b", "c/d"), ("n", "b/c", "d")),
        (("n", "b", "k', 'x"), ("n', 'b", "k", "x")),
    ],
)
def test_the_parts_of_a_row_key_do_not_run_into_each_other(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert digest(one[0], ObjectKey(*one[1:])) != digest(other[0], ObjectKey(*other[1:]))


def named(etag: str = '"e"', key: str = "k", codec: str = RAW) -> str:
    """The name of the file of a row."""
    return file_name(ROW._replace(object=KEY._replace(key=key), info=ROW.info._replace(etag=etag), codec=codec))


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_a_file_name_is_flat_whatever_the_etag_and_the_key(etag: str, key: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}-[0-9a-f]{16}(\.[0-9A-Za-z_.-]{1,31})?", named(etag, key))
    assert re.fullmatch(r"[0-9a-f]{32}-[0-9a-f]{16}\+zstd", named(etag, key, ZSTD))


@pytest.mark.parametrize(
    ("key", "suffix"),
    [
        ("net.onnx", ".onnx"),
        ("a.b/net", ""),
        ("day.csv.gz", ".csv.gz"),
        ("v1.2.tar.zst", ".tar.zst"),
        (".gz", ""),
        ("a.gz", ".gz"),
        (".hidden", ""),
        ("dot.", ""),
        ("x." + "y" * 31, "." + "y" * 31),
        ("x." + "y" * 32, ""),
        ("x.sh;rm", ""),
        ("x.ü", ""),
        ("dir/..", ""),
    ],
)
def test_a_raw_file_has_the_suffix_of_its_key(key: str, suffix: str) -> None:
    assert named(key=key)[49:] == suffix


def test_each_etag_has_a_file_of_its_own_that_begins_with_the_row_key() -> None:
    key = digest(ROW.namespace, KEY._replace(key="k"))
    names = {named(etag) for etag in ('"a"', '"b"', "", "../victim")}
    assert len(names) == 4
    assert all(name.startswith(key.hex() + "-") for name in names)
