"""What is remembered of listings, and for whom."""

from __future__ import annotations

from typing import Any

import pytest

from s3warm import folders, listings
from s3warm.errors import ObjectNotFoundError
from s3warm.listings import Listings


class Source:
    """Who lists."""


@pytest.fixture
def remembered() -> tuple[Listings, Source]:
    found, source = Listings({}, {}), Source()
    found.come_from(source)
    return found, source


def files(*paths: str) -> list[dict[str, Any]]:
    return [folders.file(path, 1, '"e"', None) for path in paths]


def test_a_folder_tells_of_all_that_lies_in_it_and_of_nothing_else(remembered: tuple[Listings, Source]) -> None:
    found, _ = remembered
    entries = [*files("b/a", "b/c"), folders.folder("b/d")]
    found.keep_folders({"b": entries})
    assert [found.entry(path) for path in ("b/a", "b/c", "b/d")] == entries
    assert found.entry("b") == folders.folder("b")
    assert found.entry("b/d/e") is None
    assert found.folder("b") is entries
    assert found.folder("b/d") is None
    for path in ("b/b", "b/aa", "b/e"):
        with pytest.raises(ObjectNotFoundError, match=f"s3://{path}"):
            found.entry(path)


def test_a_single_path_tells_of_itself(remembered: tuple[Listings, Source]) -> None:
    found, _ = remembered
    (entry,) = files("b/a")
    found.keep(entry)
    assert found.entry("b/a") is entry
    assert found.entry("b/c") is None


def test_a_tree_is_remembered_where_each_folder_of_it_is(remembered: tuple[Listings, Source]) -> None:
    found, _ = remembered
    listed = {"b": [*files("b/a"), folders.folder("b/x")], "b/x": [folders.folder("b/x/y")], "b/x/y": files("b/x/y/1")}
    found.keep_folders({"b": listed["b"], "b/x": listed["b/x"]})
    assert found.tree("b") is None
    found.keep_folders({"b/x/y": listed["b/x/y"]})
    assert found.tree("b") == listed
    assert found.tree("b/x/y") == {"b/x/y": listed["b/x/y"]}


def test_a_listing_that_is_too_long_is_not_kept(remembered: tuple[Listings, Source], monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = remembered
    monkeypatch.setattr(listings, "_REMEMBERED", 2)
    found.keep_folders({"b": files("b/1", "b/2"), "b/x": files("b/x/3")})
    assert found.folder("b") is None
    found.keep_folders({"b": files("b/1"), "b/x": files("b/x/3")})
    assert found.folder("b/x") == files("b/x/3")


def test_what_tells_of_a_path_is_forgotten_with_it(remembered: tuple[Listings, Source]) -> None:
    found, _ = remembered
    folders_of = {name: files(f"{name}/1") for name in ("b", "b/x", "b/x/y", "b/xx", "c")}
    found.keep_folders(folders_of)
    found.forget("b/x")
    assert [name for name in folders_of if found.folder(name)] == ["b/xx", "c"]
    found.forget(None)
    assert found.folder("c") is None


def test_another_source_knows_nothing(remembered: tuple[Listings, Source]) -> None:
    found, source = remembered
    found.keep_folders({"b": files("b/1")})
    found.come_from(source)
    assert found.folder("b") is not None
    found.come_from(Source())
    assert found.folder("b") is None
