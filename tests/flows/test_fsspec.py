"""`s3warm://`: what is read and listed, what it costs in requests, and what is refused."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import subprocess
import sys
import textwrap
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from fsspec.callbacks import Callback

from s3warm import AccessDeniedError, ObjectNotFoundError, ObjectTooLargeError, OriginUnavailableError, default_cache
from s3warm.fsspec import SMALL, S3WarmFileSystem
from s3warm.testing import FakeCache, FakeS3, fake_s3
from tests.support.entries import noise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TREE = {
    "s3://data/top": b"top",
    "s3://data/2026/a.csv": b"a,b",
    "s3://data/2026/b.csv": b"b,c,d",
    "s3://data/2026/raw/c.json": b"{}",
    "s3://other/x": b"x",
}


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    S3WarmFileSystem.clear_instance_cache()
    with fake_s3(TREE, ttl=60) as fake:
        yield fake


@pytest.fixture
def fs(s3: FakeS3) -> S3WarmFileSystem:
    return S3WarmFileSystem()


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass for listings; that of the cache is the fake's."""
    import fsspec.dircache

    now = [1000.0]

    class Clock:
        time = staticmethod(lambda: now[0])

    def advance(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(fsspec.dircache, "time", Clock)
    return advance


def asked(s3: FakeS3) -> list[str]:
    """What S3 was asked for since the last time."""
    uris = [request.uri for request in s3.requests]
    s3.requests.clear()
    return uris


# -- reading ---------------------------------------------------------------------------------------------------------------------


def test_a_url_is_read_once_within_the_ttl_and_anew_after_it(s3: FakeS3) -> None:
    def read() -> bytes:
        with fsspec.open("s3warm://data/2026/a.csv") as file:
            return bytes(file.read())

    assert [read(), read()] == [b"a,b", b"a,b"]
    assert [request.status for request in s3.requests] == [200]
    s3["s3://data/2026/a.csv"] = b"newer"
    assert read() == b"a,b"
    s3.advance(61)
    assert [read(), read()] == [b"newer", b"newer"]
    s3.advance(61)
    assert read() == b"newer"
    assert [request.status for request in s3.requests] == [200, 200, 304]


def test_the_ttl_of_the_file_system_is_that_of_its_reads(s3: FakeS3) -> None:
    hasty = fsspec.filesystem("s3warm", ttl=10)
    assert hasty.cat_file("data/top") == b"top"
    s3["s3://data/top"] = b"new"
    s3.advance(11)
    assert S3WarmFileSystem().cat_file("data/top") == b"top", "the default cache's own is 60 s"
    assert hasty.info("data/top")["size"] == 3
    assert len(s3.requests) == 2, "what is older than that is not described as it is held"
    assert hasty.cat_file("data/top") == b"new"
    assert hasty.info("data/top")["ETag"] == default_cache().entry("data", "top").etag
    with hasty.open("data/top") as file:
        assert file.read() == b"new"
    assert len(s3.requests) == 3


@pytest.mark.parametrize(
    ("start", "end"), [(None, None), (0, 3), (2, None), (None, 4), (-3, None), (-3, -1), (3, 1), (99, None), (2, 99), (-99, 2)]
)
@pytest.mark.parametrize("size", [10, SMALL + 10])
def test_a_slice_is_that_of_the_body(s3: FakeS3, fs: S3WarmFileSystem, size: int, start: int | None, end: int | None) -> None:
    body = noise(size)
    s3["s3://data/body"] = body
    assert fs.cat_file("data/body", start, end) == body[start:end]
    assert fs.cat_file("s3warm://data/body", start=start, end=end) == body[start:end]
    s3.requests.clear()
    assert fs.cat_ranges(["data/body"] * 2, [0, 5], [5, 9]) == [body[:5], body[5:9]]
    assert s3.requests == []


def test_cat_takes_several_and_patterns(s3: FakeS3, fs: S3WarmFileSystem) -> None:
    assert fs.cat("data/top") == b"top"
    assert fs.cat(["data/top", "data/2026/a.csv"]) == {"data/top": b"top", "data/2026/a.csv": b"a,b"}
    assert fs.cat("data/2026/*.csv") == {"data/2026/a.csv": b"a,b", "data/2026/b.csv": b"b,c,d"}
    assert (fs.head("data/top", 2), fs.tail("data/top", 2)) == (b"to", b"op")


def test_a_small_object_that_is_held_costs_neither_a_request_nor_a_file(
    s3: FakeS3, fs: S3WarmFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs.cat_file("data/top")
    s3.requests.clear()

    def no_file(*_: object, **__: object) -> None:
        raise AssertionError("a file was asked for")

    monkeypatch.setattr(FakeCache, "open", no_file)
    for _ in range(2):
        with fs.open("data/top") as file:
            assert (file.seekable(), file.readable(), file.writable()) == (True, True, False)
            assert (file.seek(1), file.size, file.read(), file.tell()) == (1, 3, b"op", 3)
    assert s3.requests == []


def test_what_a_listing_has_told_to_be_small_comes_without_a_file(
    s3: FakeS3, fs: S3WarmFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs.ls("data")
    monkeypatch.setattr(FakeCache, "open", None)
    with fs.open("data/top") as file:
        assert file.read() == b"top"
    assert asked(s3) == ["s3://data/", "s3://data/top"]


def test_what_is_large_comes_as_a_file_and_is_read_from_it(s3: FakeS3, fs: S3WarmFileSystem) -> None:
    body = noise(SMALL + 1)
    s3["s3://data/large"] = body
    with fs.open("data/large") as file:
        os.fstat(file.fileno())
        assert (file.seek(-2, os.SEEK_END), file.read()) == (SMALL - 1, body[-2:])
    requests = len(s3.requests)
    with fs.open("data/large") as file:
        os.fstat(file.fileno())
    assert len(s3.requests) == requests
    assert default_cache().explain("data", "large").tiers == ("disk",)


def test_without_a_disk_bodies_are_held_in_memory_and_what_is_too_large_is_streamed() -> None:
    large = noise(3 * 2**20)
    s3 = FakeS3({"s3://data/small": b"small", "s3://data/large": large})
    with FakeCache(s3, disk_budget=0, memory_budget="2MiB") as cache:
        fs = S3WarmFileSystem(cache=cache)
        for _ in range(2):
            with fs.open("data/small") as file:
                assert file.read() == b"small"
        assert len(s3.requests) == 1
        fs.ls("data")
        with fs.open("data/large") as file:
            assert (file.seek(-5, os.SEEK_END), file.read()) == (len(large) - 5, large[-5:])
        assert s3.requests[-1].bytes == 5
        assert cache.explain("data", "large").tiers == ()


def test_what_is_in_memory_is_read_from_there_whatever_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    body = noise(SMALL + 10)
    with FakeCache(FakeS3({"s3://data/large": body}), memory_budget="32MiB") as cache:
        cache.get("data", "large")
        monkeypatch.setattr(cache, "open", None)
        with S3WarmFileSystem(cache=cache).open("data/large") as file:
            assert file.read() == body


def test_text_and_compression_are_fsspecs(s3: FakeS3, fs: S3WarmFileSystem) -> None:
    import gzip

    s3["s3://data/lines.gz"] = gzip.compress("eins\nzwö\n".encode())
    with fs.open("data/lines.gz", "rt", compression="infer", encoding="utf-8") as file:
        assert file.read().splitlines() == ["eins", "zwö"]
    assert fs.read_text("data/top") == "top"


def test_a_zip_in_a_bucket_is_a_chain(s3: FakeS3) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("x.csv", "1,2")
    s3["s3://data/a.zip"] = archive.getvalue()
    for _ in range(2):
        with fsspec.open("zip://x.csv::s3warm://data/a.zip", "rt", s3warm={"ttl": 60}) as file:
            assert file.read() == "1,2"
    assert [request.status for request in s3.requests] == [200]


@pytest.mark.parametrize(
    "key", ["a b", "a%20b", "a+b", "é/漢", "a//b", "/lead", "x?y=1#z", "a\\b", "..", "a/../b", "~", "[x]*"]
)
def test_keys_are_literal(s3: FakeS3, fs: S3WarmFileSystem, key: str) -> None:
    s3[f"s3://odd/{key}"] = key.encode()
    s3[f"s3://odd/{key}.bak"] = b"another"
    path = f"odd/{key}"
    assert fs.find("odd") == [path, f"{path}.bak"]
    assert fs.info(path)["size"] == len(key.encode())
    assert fs.cat_file(f"s3warm://{path}") == key.encode()
    with fsspec.open(f"s3warm://{path}") as file:
        assert file.read() == key.encode()
    assert fs.unstrip_protocol(path) == f"s3warm://{path}"
    walked = [name for _, _, files in fs.walk("odd", detail=True) for name in (entry["name"] for entry in files.values())]
    assert sorted(walked) == [path, f"{path}.bak"]


def test_an_object_that_is_missing_is_not_found(s3: FakeS3, fs: S3WarmFileSystem) -> None:
    for read in (fs.cat_file, fs.open, fs.info, fs.ls, fs.size, fs.ukey, fs.modified):
        with pytest.raises(FileNotFoundError, match="s3://data/nothing") as caught:
            read("data/nothing")
        assert isinstance(caught.value, ObjectNotFoundError)
        assert (caught.value.bucket, caught.value.key) == ("data", "nothing")
    assert not fs.exists("data/nothing")
    assert (
        fs.find("data/nothing") == fs.glob("data/nothing/*") == fs.glob("data/nothing") == list(fs.walk("data/nothing")) == []
    )


def test_a_bucket_is_no_file(fs: S3WarmFileSystem) -> None:
    for read in (fs.cat_file, fs.open):
        with pytest.raises(IsADirectoryError, match="it is a bucket"):
            read("s3warm://data")
    with pytest.raises(ValueError, match="bucket"):
        fs.cat_file("s3warm://")


def test_the_body_must_fit_into_memory_where_all_of_it_is_asked_for(s3: FakeS3, fs: S3WarmFileSystem) -> None:
    body = noise(SMALL + 10)
    s3["s3://data/large"] = body
    cache = default_cache()
    cache._ledger._share = 2**20
    with pytest.raises(ObjectTooLargeError, match="use path"):
        fs.cat_file("data/large")
    assert fs.cat_file("data/large", -5) == body[-5:]


# -- files to this machine -------------------------------------------------------------------------------------------------------


def test_a_file_is_copied(s3: FakeS3, fs: S3WarmFileSystem, tmp_path: Path) -> None:
    class Progress(Callback):  # type: ignore[misc]  # fsspec has no types
        pass

    body = noise(2 * SMALL + 5)
    s3["s3://data/large"] = body
    told = Progress()
    fs.get_file("data/large", str(tmp_path / "deep" / "copy"), callback=told)
    assert (tmp_path / "deep" / "copy").read_bytes() == body
    assert (told.size, told.value) == (len(body), len(body))
    s3.requests.clear()
    into = io.BytesIO()
    fs.get_file("data/large", into)
    assert into.getvalue() == body
    assert s3.requests == []
    fs.get_file("data/top", str(tmp_path / "top"))
    assert (tmp_path / "top").read_bytes() == b"top"
    assert asked(s3) == ["s3://data/top"], "a GET and nothing else"
    with pytest.raises(FileNotFoundError):
        fs.get_file("data/nothing", str(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_a_folder_is_copied_by_one_listing_and_one_get_for_each_file(s3: FakeS3, fs: S3WarmFileSystem, tmp_path: Path) -> None:
    fs.get("s3warm://data/2026/", str(tmp_path / "copy"), recursive=True)
    found = {str(path.relative_to(tmp_path / "copy")): path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert found == {"a.csv": b"a,b", "b.csv": b"b,c,d", "raw/c.json": b"{}"}
    assert asked(s3) == ["s3://data/2026/", "s3://data/2026/a.csv", "s3://data/2026/b.csv", "s3://data/2026/raw/c.json"]
    fs.get_file("data/2026/raw", str(tmp_path / "folder"))
    assert (tmp_path / "folder").is_dir()


# -- one path --------------------------------------------------------------------------------------------------------------------


def test_a_file_is_described(s3: FakeS3, fs: S3WarmFileSystem) -> None:
    entry = fs.info("s3warm://data/2026/a.csv")
    etag = default_cache().entry("data", "2026/a.csv").etag
    written = datetime.fromtimestamp(s3.now, UTC)
    assert entry == {"name": "data/2026/a.csv", "size": 3, "type": "file", "ETag": etag, "LastModified": written}
    assert fs.info("data/2026/a.csv") == entry, "as it is held now"
    assert (fs.size("data/top"), fs.isfile("data/top"), fs.isdir("data/top"), fs.exists("data/top")) == (3, True, False, True)
    assert fs.modified("data/top") == fs.created("data/top") == written
    assert fs.sizes(["data/top", "data/2026/b.csv"]) == [3, 5]
    assert fs.ls("data/top") == [fs.info("data/top")]
    assert fs.find("data/top") == ["data/top"]


@pytest.mark.parametrize("path", ["data", "data/", "s3warm://data/2026/", "data/2026/raw", ""])
def test_a_folder_is_described(fs: S3WarmFileSystem, path: str) -> None:
    bare = path.removeprefix("s3warm://").rstrip("/")
    assert fs.info(path) == {"name": bare, "size": 0, "type": "directory"}
    assert (fs.isdir(path), fs.isfile(path), fs.exists(path)) == (True, False, True)
    with pytest.raises(IsADirectoryError, match="folder"):
        fs.modified(path)


def test_a_key_changes_with_the_object_and_not_otherwise(s3: FakeS3, fs: S3WarmFileSystem) -> None:
    keys = [(fs.ukey("data/top"), fs.checksum("data/top"))]
    fs.cat_file("data/top")
    keys.append((fs.ukey("data/top"), fs.checksum("data/top")))
    s3["s3://data/top"] = b"new"
    s3.advance(61)
    fs.invalidate_cache()
    keys.append((fs.ukey("data/top"), fs.checksum("data/top")))
    assert keys[0] == keys[1]
    assert keys[1][0] != keys[2][0]
    assert keys[1][1] != keys[2][1]
    assert fs.ukey("data") != fs.ukey("data/2026")


def test_looking_then_reading_is_one_listing_and_one_get_and_then_nothing(
    s3: FakeS3, fs: S3WarmFileSystem, wait: Callable[[float], None]
) -> None:
    """As pyarrow does it."""
    for _ in range(2):
        fs.info("data/2026/a.csv")
        assert fs.isfile("data/2026/a.csv")
        with fs.open("data/2026/a.csv") as file:
            file.read()
        wait(100)
    assert asked(s3) == ["s3://data/2026/a.csv"] * 2


def test_what_is_held_is_described_as_it_is_read(s3: FakeS3, fs: S3WarmFileSystem) -> None:
    fs.cat_file("data/top")
    s3["s3://data/top"] = b"longer"
    assert (fs.size("data/top"), len(fs.cat_file("data/top"))) == (3, 3)
    default_cache().invalidate("data", "top")
    assert (fs.size("data/top"), len(fs.cat_file("data/top"))) == (6, 6)
    hasty = S3WarmFileSystem(ttl=1000)
    s3["s3://data/top"] = b"even longer"
    default_cache().invalidate("data", "top")
    assert hasty.size("data/top") == 11, "whatever age is accepted: it is invalidated"


class Unlistable(FakeS3):
    """A bucket of which the role may read objects, and nothing else."""

    def list(self, bucket: str, prefix: str, *rest: Any, **more: Any) -> Any:
        self.denied.add(f"s3://{bucket}/{prefix}")
        try:
            return super().list(bucket, prefix, *rest, **more)
        finally:
            self.denied.clear()


def test_without_the_right_to_list_a_file_is_described_by_reading_it() -> None:
    s3 = Unlistable({"s3://data/top": b"top", "s3://data/now": b"not kept"})
    s3.put("s3://data/now", b"not kept", cache_control="no-store")
    with FakeCache(s3) as cache:
        fs = S3WarmFileSystem(cache=cache)
        assert fs.isfile("data/top")
        assert fs.info("data/top")["ETag"] == cache.entry("data", "top").etag
        assert fs.cat_file("data/top") == b"top"
        assert [request.status for request in s3.requests] == [403, 200]
        assert fs.info("data/now")["size"] == 8
        with pytest.raises(FileNotFoundError):
            fs.info("data/nothing")
        listings: list[Callable[[str], Any]] = [fs.ls, fs.find, fs.info, lambda path: list(fs.walk(path))]
        for listing in listings:
            with pytest.raises(AccessDeniedError, match="s3:ListBucket"):
                listing("data")


def test_an_outage_is_never_an_empty_folder_or_a_missing_file(s3: FakeS3, fs: S3WarmFileSystem) -> None:
    s3.down = True
    asking: list[Callable[[str], Any]] = [fs.exists, fs.isfile, fs.isdir, fs.ls, fs.find, fs.info, fs.cat_file]
    asking += [lambda path: fs.glob(f"{path}/*"), lambda path: list(fs.walk(path))]
    for ask in asking:
        with pytest.raises(OriginUnavailableError):
            ask("data/2026")
    assert list(fs.walk("data/2026", on_error=lambda _: None)) == []
    with pytest.raises(ConnectionError):
        list(fs.walk("data/2026", on_error="raise"))


# -- listings --------------------------------------------------------------------------------------------------------------------


def test_a_folder_is_listed(s3: FakeS3, fs: S3WarmFileSystem) -> None:
    entries = fs.ls("s3warm://data/2026")
    assert [(entry["name"], entry["type"], entry["size"]) for entry in entries] == [
        ("data/2026/a.csv", "file", 3),
        ("data/2026/b.csv", "file", 5),
        ("data/2026/raw", "directory", 0),
    ]
    assert fs.ls("data", detail=False) == ["data/2026", "data/top"]
    assert asked(s3) == ["s3://data/2026/", "s3://data/"]


def test_listings_are_remembered_for_a_few_seconds(s3: FakeS3, fs: S3WarmFileSystem, wait: Callable[[float], None]) -> None:
    fs.ls("data/2026")
    s3["s3://data/2026/new"] = b""
    wait(4.9)
    entries = fs.ls("data/2026")
    entries.clear()
    assert len(fs.ls("data/2026")) == 3, "what was given out is the caller's"
    assert not fs.exists("data/2026/new")
    assert fs.isfile("data/2026/b.csv")
    assert fs.isdir("data/2026")
    assert len(asked(s3)) == 1
    assert fs.cat_file("data/2026/new") == b"", "reading asks for the object itself"
    wait(0.2)
    assert len(fs.ls("data/2026")) == 4
    assert len(asked(s3)) == 2


def test_what_has_expired_does_not_stay_in_memory(fs: S3WarmFileSystem, wait: Callable[[float], None]) -> None:
    fs.ls("data/2026")
    fs.info("data/top")
    wait(6)
    fs.ls("data")
    assert (list(fs.dircache._cache), list(fs._listings._paths)) == (["data"], [])


def test_a_listing_is_made_anew_where_that_is_asked_for(s3: FakeS3, fs: S3WarmFileSystem) -> None:
    def count(**options: Any) -> tuple[int, int, bool]:
        return len(fs.ls("data", **options)), len(fs.find("data", **options)), fs.exists("data/new", **options)

    assert count() == (2, 4, False)
    s3["s3://data/new"] = b""
    assert count() == (2, 4, False)
    s3["s3://data/newer"] = b""
    assert count(refresh=True) == (4, 6, True)
    assert count() == (4, 6, True)
    s3["s3://data/newest"] = b""
    for path in ("data/newest", "data", "s3warm://data/", None):
        fs.ls("data", refresh=True)
        del s3["s3://data/newest"]
        assert fs.exists("data/newest")
        fs.invalidate_cache(path)
        assert not fs.exists("data/newest")
        s3["s3://data/newest"] = b""
    fs.ls("data", refresh=True)
    s3.requests.clear()
    fs.invalidate_cache("data/2026")
    fs.invalidate_cache("other")
    fs.ls("data/top")
    assert len(s3.requests) == 2, "the listing of the folder above tells of the one below it, too"


def test_listings_need_not_be_remembered(s3: FakeS3) -> None:
    fs = S3WarmFileSystem(use_listings_cache=False)
    for _ in range(2):
        fs.ls("data")
        fs.info("data/top")
    assert len(s3.requests) == 4


def test_all_below_a_folder_is_one_listing_after_which_all_is_known(s3: FakeS3, fs: S3WarmFileSystem) -> None:
    assert fs.find("data") == ["data/2026/a.csv", "data/2026/b.csv", "data/2026/raw/c.json", "data/top"]
    assert fs.find("data/2026", withdirs=True) == [
        *("data/2026", "data/2026/a.csv", "data/2026/b.csv", "data/2026/raw", "data/2026/raw/c.json")
    ]
    assert fs.find("data", maxdepth=2) == ["data/2026/a.csv", "data/2026/b.csv", "data/top"]
    assert fs.find("data", maxdepth=1, withdirs=True) == ["data", "data/2026", "data/top"]
    assert fs.du("data") == 13
    assert fs.du("data/2026", total=False, maxdepth=1) == {"data/2026/a.csv": 3, "data/2026/b.csv": 5}
    assert all(map(fs.isfile, fs.find("data")))
    assert [path for path, _, _ in fs.walk("data")] == ["data", "data/2026", "data/2026/raw"]
    assert asked(s3) == ["s3://data/"]
    with pytest.raises(ValueError, match="maxdepth"):
        fs.find("data", maxdepth=0)


def test_of_a_file_and_a_folder_of_one_name_the_file_is_meant(s3: FakeS3, fs: S3WarmFileSystem) -> None:
    s3["s3://both/a"] = b"file"
    s3["s3://both/a/b"] = b"in the folder"
    for _ in range(2):  # asked for, and remembered
        assert fs.info("both/a")["size"] == 4
        assert fs.find("both", withdirs=True, detail=True)["both/a"]["type"] == "file"
        assert [(entry["name"], entry["type"]) for entry in fs.ls("both")] == [("both/a", "file"), ("both/a", "directory")]
    assert fs.find("both") == ["both/a", "both/a/b"]


def test_a_prefix_of_names_narrows_what_is_listed(s3: FakeS3, fs: S3WarmFileSystem) -> None:
    assert fs.find("data", prefix="t", withdirs=True) == ["data/top"]
    assert fs.find("data", prefix="20", withdirs=True, maxdepth=1) == ["data/2026"]
    assert asked(s3) == ["s3://data/t", "s3://data/20"]


@pytest.mark.parametrize(
    ("pattern", "found", "listed"),
    [
        ("data/2026/*.csv", ["data/2026/a.csv", "data/2026/b.csv"], ["s3://data/2026/"]),
        ("s3warm://data/2026/b*", ["data/2026/b.csv"], ["s3://data/2026/b"]),
        ("data/**/*.json", ["data/2026/raw/c.json"], ["s3://data/"]),
        ("data/20*/raw/*", ["data/2026/raw/c.json"], ["s3://data/20"]),
        ("data/*", ["data/2026", "data/top"], ["s3://data/"]),
        ("data/*/", ["data/2026"], ["s3://data/"]),
        ("data/t[no]p", ["data/top"], ["s3://data/t"]),
        ("data/2026/?.csv", ["data/2026/a.csv", "data/2026/b.csv"], ["s3://data/2026/"]),
        ("data/2026/**", ["data/2026", "data/2026/a.csv", "data/2026/b.csv", "data/2026/raw", "data/2026/raw/c.json"], ["s3://data/2026/"]),
        ("data/top", ["data/top"], ["s3://data/top"]),
        ("data/nothing/*", [], ["s3://data/nothing/", "s3://data/nothing"]),
    ],
)  # fmt: skip
def test_a_pattern_is_one_listing_of_what_is_before_its_first_wildcard(
    s3: FakeS3, fs: S3WarmFileSystem, pattern: str, found: list[str], listed: list[str]
) -> None:
    assert [path.rstrip("/") for path in fs.glob(pattern)] == found
    assert asked(s3) == listed
    assert [entry["name"] for entry in fs.glob(pattern, detail=True).values()] == found


def test_a_million_keys_in_folders_are_one_request_and_more_than_a_page_come_to_the_end(
    fs: S3WarmFileSystem, s3: FakeS3
) -> None:
    for number in range(12_001):
        s3[f"s3://many/{number % 3}/{number:05}"] = b"x"
    assert fs.ls("many", detail=False) == ["many/0", "many/1", "many/2"]
    assert len(asked(s3)) == 1
    assert len(fs.find("many")) == 12_001
    assert len(asked(s3)) == 13
    assert fs.du("many") == 12_001
    assert len(fs._listings._folders) == 1, "a listing that long is not kept"


def test_buckets_are_not_listed(fs: S3WarmFileSystem) -> None:
    for listing in (fs.ls, fs.find, fs.glob):
        with pytest.raises(NotImplementedError, match="lists no buckets"):
            listing("" if listing != fs.glob else "dat*/top")


# -- the file system itself ------------------------------------------------------------------------------------------------------


def test_it_is_found_by_its_protocol_and_one_for_equal_options(s3: FakeS3) -> None:
    one, same, other = (fsspec.filesystem("s3warm", **options) for options in ({"ttl": 5}, {"ttl": 5}, {"ttl": 6}))
    assert type(one) is S3WarmFileSystem
    assert one is same
    assert (one == other, hash(one) == hash(other)) == (False, False)
    assert fsspec.url_to_fs("s3warm://data/top", ttl=5) == (one, "data/top")


def test_it_is_pickled_by_its_options(s3: FakeS3) -> None:
    fs = fsspec.filesystem("s3warm", ttl=5, listings_expiry_time=1)
    copy = pickle.loads(pickle.dumps(fs))
    assert copy == fs
    assert copy.cat_file("data/top") == b"top"
    opened = pickle.loads(pickle.dumps(fsspec.open("s3warm://data/top", "rb", ttl=5)))
    with opened as file:
        assert file.read() == b"top"


def test_a_cache_of_ones_own_is_read_through_and_not_pickled(s3: FakeS3) -> None:
    with FakeCache(FakeS3({"s3://data/top": b"mine"})) as cache:
        fs = fsspec.filesystem("s3warm", cache=cache)
        assert fs.cat_file("data/top") == b"mine"
        assert fsspec.filesystem("s3warm").cat_file("data/top") == b"top"
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(fs)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"cache": "mine"}, TypeError, "cache must be an s3warm.Cache or None, not str"),
        ({"ttl": -1}, ValueError, "0 or more"),
        ({"ttl": "1h"}, TypeError, "seconds or a timedelta"),
        ({"memory_budget": "8MiB"}, TypeError, "memory_budget"),
    ],
)
def test_options_that_are_none_are_errors_before_anything_is_read(
    s3: FakeS3, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        fsspec.filesystem("s3warm", **options)
    assert s3.requests == []


def test_another_default_cache_has_listings_of_its_own() -> None:
    fs = S3WarmFileSystem()
    for body in (b"1", b"22"):
        with fake_s3({"s3://data/top": body}):
            assert fs.ls("data")[0]["size"] == len(body)
            assert fs.size("data/top") == len(body)


def test_while_aws_is_mocked_nothing_is_remembered(s3: FakeS3, fs: S3WarmFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3warm.listings.is_mocked", lambda: True)
    fs.ls("data")
    fs.ls("data")
    assert len(s3.requests) == 2


WRITING: dict[str, Callable[[S3WarmFileSystem], object]] = {
    "open": lambda fs: fs.open("data/new", "wb"),
    "open text": lambda fs: fs.open("data/new", "w"),
    "append": lambda fs: fs.open("data/top", "ab"),
    "exclusive": lambda fs: fs.open("data/new", "xb"),
    "update": lambda fs: fs.open("data/top", "r+b"),
    "touch": lambda fs: fs.touch("data/new"),
    "pipe": lambda fs: fs.pipe("data/new", b""),
    "pipes": lambda fs: fs.pipe({"data/new": b""}),
    "pipe_file": lambda fs: fs.pipe_file("data/new", b""),
    "write_bytes": lambda fs: fs.write_bytes("data/new", b""),
    "write_text": lambda fs: fs.write_text("data/new", ""),
    "put": lambda fs: fs.put(__file__, "data/new"),
    "put_file": lambda fs: fs.put_file(__file__, "data/new"),
    "upload": lambda fs: fs.upload(__file__, "data/new"),
    "mkdir": lambda fs: fs.mkdir("data/new"),
    "makedirs": lambda fs: fs.makedirs("data/new", exist_ok=True),
    "mkdirs": lambda fs: fs.mkdirs("data/new"),
    "rmdir": lambda fs: fs.rmdir("data/2026"),
    "rm": lambda fs: fs.rm("data/top"),
    "rm recursive": lambda fs: fs.rm("data", recursive=True),
    "rm_file": lambda fs: fs.rm_file("data/top"),
    "delete": lambda fs: fs.delete("data/top"),
    "cp_file": lambda fs: fs.cp_file("data/top", "data/new"),
    "copy": lambda fs: fs.copy("data", "data/new", recursive=True),
    "mv": lambda fs: fs.mv("data/top", "data/new"),
    "rename": lambda fs: fs.rename("data/top", "data/new"),
    "transaction": lambda fs: fs.start_transaction(),
}


@pytest.mark.parametrize("name", WRITING)
def test_whatever_writes_is_refused_before_anything_is_sent(s3: FakeS3, fs: S3WarmFileSystem, name: str) -> None:
    with pytest.raises(OSError, match="only reads") as caught:
        WRITING[name](fs)
    assert caught.value.errno == errno.EROFS
    assert s3.requests == []


IMPORTS = """
    import json, sys
    from s3warm.testing import fake_s3
    import s3warm
    with fake_s3({"s3://b/k": b"body"}):
        for _ in range(3):
            s3warm.get("b", "k")
    print(json.dumps(sorted(name for name in sys.modules if name.partition(".")[0] == "fsspec" or name == "s3warm.fsspec")))
    import fsspec
    print(json.dumps([fsspec.get_filesystem_class("s3warm").__module__]))
"""


def test_a_handler_does_not_import_fsspec() -> None:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(IMPORTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stderr) == (0, "")
    before, by_protocol = map(json.loads, done.stdout.splitlines())
    assert (before, by_protocol) == ([], ["s3warm.fsspec"])
