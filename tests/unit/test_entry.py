"""Entries: immutable values with the names that users read."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import pytest

from s3warm.entries import Entry, Metadata
from s3warm.keys import ObjectKey

FULL = Entry(
    ObjectKey("bucket", "a/key", "asked"),
    Metadata('"e"', 4, "served", 1_445_412_480.5, "text/plain", "gzip", "max-age=60", {"owner": "ops"}, "md5"),
    100.0,
    400.0,
    b"body",
)
BARE = Entry(ObjectKey("bucket", "key"), Metadata('"e"', 0), 100.0, 400.0, b"")


def test_an_entry_answers_with_what_s3_said() -> None:
    assert FULL[4:] == (b"body", False)
    assert (FULL.bucket, FULL.key, FULL.etag, FULL.size) == ("bucket", "a/key", '"e"', 4)
    assert (FULL.content_type, FULL.metadata, FULL.verified_by) == ("text/plain", {"owner": "ops"}, "md5")


def test_the_version_is_the_one_that_was_served() -> None:
    assert (FULL.version_id, BARE.version_id) == ("served", None)


def test_last_modified_is_a_time_in_utc_or_none() -> None:
    assert FULL.last_modified == datetime(2015, 10, 21, 7, 28, 0, 500_000, tzinfo=UTC)
    assert FULL.last_modified is not None
    assert FULL.last_modified.tzinfo is UTC
    assert BARE.last_modified is None


def test_what_s3_did_not_say_is_none_or_empty() -> None:
    assert (BARE.content_type, BARE.metadata, BARE.verified_by, BARE.stale) == (None, {}, "length", False)


def test_an_entry_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        FULL.body = b"other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        FULL.note = "mine"  # type: ignore[attr-defined]


def test_the_metadata_of_the_user_cannot_be_changed_through_the_entry() -> None:
    with pytest.raises(TypeError):
        FULL.metadata["owner"] = "me"  # type: ignore[index]
    assert FULL.info.user == {"owner": "ops"}


def test_the_repr_names_the_object_and_hides_the_body() -> None:
    assert repr(FULL) == "Entry('s3://bucket/a/key (version asked)', etag='\"e\"', size=4, stale=False)"
    assert "stale=True" in repr(BARE._replace(stale=True))


def test_a_stale_twin_shares_the_body() -> None:
    twin = FULL._replace(stale=True)
    assert twin.body is FULL.body
    assert (twin.stale, FULL.stale) == (True, False)


@pytest.mark.parametrize("entry", [FULL, BARE])
def test_an_entry_pickles(entry: Entry) -> None:
    again = pickle.loads(pickle.dumps(entry))
    assert type(again) is Entry
    assert again == entry
