"""Keys as files and folders: what is listed, by how many requests, and what odd keys become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3warm import folders
from s3warm.metrics import Counters
from s3warm.origin.fetch import ConditionalFetch
from s3warm.testing import FakeS3

if TYPE_CHECKING:
    from collections.abc import Iterable

DIRECTORY_BUCKET = "models--euc1-az1--x-s3"


class Strict(FakeS3):
    """Refuses the prefixes that directory buckets refuse."""

    def list(self, bucket: str, prefix: str, *rest: Any, **more: Any) -> Any:
        assert not prefix or prefix.endswith("/")
        return super().list(bucket, prefix, *rest, **more)


def bucket_of(keys: Iterable[str], name: str = "b") -> tuple[FakeS3, folders.Pages]:
    s3 = (Strict if name == DIRECTORY_BUCKET else FakeS3)({f"s3://{name}/{key}": b"x" for key in keys})
    return s3, ConditionalFetch(s3, Counters()).pages


def names(entries: Iterable[dict[str, Any]] | None) -> list[str] | None:
    """What is listed, folders with a slash."""
    if entries is None:
        return None
    return [entry["name"] + "/" * (entry["type"] == "directory") for entry in entries]


KEYS = ["a", "a/", "a/1", "a//2", "a//x/3", "a/x/4", "b/5", "/lead", "//two"]


@pytest.mark.parametrize(
    ("prefix", "listed"),
    [
        ("", ["b///two", "b//lead", "b/a", "b/a/", "b/b/"]),
        ("a/", ["b/a//2", "b/a//x/", "b/a/1", "b/a/x/"]),
        ("a/x/", ["b/a/x/4"]),
        ("a//x/", ["b/a//x/3"]),
        ("b", ["b/b/"]),
        ("a/1/", None),
        ("c/", None),
    ],
)
def test_what_lies_in_a_folder(prefix: str, listed: list[str] | None) -> None:
    assert names(folders.in_folder(bucket_of(KEYS)[1], "b", prefix)) == listed


def test_a_folder_of_nothing_but_its_mark_is_there_and_empty() -> None:
    assert folders.in_folder(bucket_of(["a/"])[1], "b", "a/") == []


def test_a_folder_is_one_request_however_much_lies_below_it() -> None:
    s3, pages = bucket_of([f"{folder}/{number:04}" for folder in "abc" for number in range(1500)])
    assert names(folders.in_folder(pages, "b", "")) == ["b/a/", "b/b/", "b/c/"]
    assert len(s3.requests) == 1


def test_more_than_ten_thousand_are_listed_to_the_end() -> None:
    s3, pages = bucket_of([f"{number:05}" for number in range(12_001)])
    found = folders.in_folder(pages, "b", "")
    assert found is not None
    assert (len(found), len(s3.requests)) == (12_001, 13)
    assert len(folders.files_below(pages, "b", "")) == 12_001


@given(st.sets(st.text("ab/", min_size=1, max_size=6), min_size=1))
def test_folders_from_one_listing_are_those_that_are_listed_one_by_one(keys: set[str]) -> None:
    _, pages = bucket_of(keys)
    flat = folders.by_folder("b", folders.files_below(pages, "b", ""))
    assert sorted(entry["name"] for entries in flat.values() for entry in entries if entry["type"] == "file") == sorted(
        f"b/{key}" for key in keys if not key.endswith("/")
    )
    marks = {key.rstrip("/") for key in keys if key.endswith("/")}  # nothing but a mark need lie in these
    for path, entries in flat.items():
        one = folders.in_folder(pages, "b", f"{path[2:]}/" if path != "b" else "") or []
        beside = [entry for entry in one if entry["type"] == "directory" and entry["name"] not in flat]
        assert all(any(mark.startswith(entry["name"][2:]) for mark in marks) for entry in beside)
        assert [entry for entry in one if entry not in beside] == entries


@pytest.mark.parametrize(
    ("key", "kind", "requests"),
    [
        ("a", "file", 1),
        ("a/1", "file", 1),
        ("a//2", "file", 1),
        ("a//x", "directory", 1),
        ("a/x", "directory", 1),
        ("b", "directory", 1),
        ("", "directory", 1),
        ("c", None, 1),
        ("a/1/2", None, 1),
    ],
)
@pytest.mark.parametrize("name", ["b", DIRECTORY_BUCKET])
def test_one_path_is_looked_up(name: str, key: str, kind: str | None, requests: int) -> None:
    s3, pages = bucket_of(KEYS, name)
    found = folders.look_up(pages, name, key)
    assert (found and found["type"]) == kind
    assert found is None or found["name"] == f"{name}/{key}".rstrip("/")
    assert len(s3.requests) == requests


def test_a_folder_that_comes_after_more_than_a_page_takes_a_second_request() -> None:
    s3, pages = bucket_of([*(f"a-{number:04}" for number in range(1500)), "a/1", *(f"c-{number:04}" for number in range(1500))])
    assert folders.look_up(pages, "b", "a") == folders.folder("b/a")
    assert len(s3.requests) == 2
    assert folders.look_up(pages, "b", "c") is None
    assert len(s3.requests) == 4


def test_a_directory_bucket_is_listed_by_whole_folders() -> None:
    _, pages = bucket_of(["a/part-1", "a/part-2/3", "a/q"], DIRECTORY_BUCKET)
    assert names(folders.in_folder(pages, DIRECTORY_BUCKET, "a/part-")) == [
        f"{DIRECTORY_BUCKET}/a/part-1",
        f"{DIRECTORY_BUCKET}/a/part-2/",
    ]
    assert names(folders.files_below(pages, DIRECTORY_BUCKET, "a/p")) == [
        f"{DIRECTORY_BUCKET}/a/part-1",
        f"{DIRECTORY_BUCKET}/a/part-2/3",
    ]
