"""What an attacker found of files, trees and streams, and what holds since."""

from __future__ import annotations

import contextlib
import os
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from s3warm import DiskUnavailableError, OriginUnavailableError
from s3warm.keys import ObjectKey
from s3warm.origin.base import TransportError
from s3warm.testing import FakeCache, FakeS3
from tests.support.entries import noise

if TYPE_CHECKING:
    from pathlib import Path

    from s3warm import Event
    from s3warm.origin.base import Request

URI = "s3://cfg/model.bin"


def test_a_file_that_may_not_be_kept_goes_with_its_last_use(tmp_path: Path) -> None:
    s3 = FakeS3()
    s3.put(URI, b"secret", cache_control="no-store")
    with FakeCache(s3, directory=tmp_path / "c") as cache:
        with cache.as_file(URI) as first, cache.as_file(URI) as second:
            assert first.read_bytes() == second.read_bytes() == b"secret"
        path = cache.path(URI)
        cache.release(URI)
        assert not path.exists()
        assert os.listdir(tmp_path / "c" / "bodies") == []


def test_a_file_and_a_tree_of_one_name_are_released_one_by_one(tmp_path: Path) -> None:
    s3 = FakeS3({"s3://b/m": b"file", "s3://b/m/1": b"member"})
    with FakeCache(s3, directory=tmp_path / "c") as cache:
        cache.path("b", "m")
        folder = cache.tree("b", "m")
        cache.release("b", "m")
        assert set(cache._pinned) == {ObjectKey("b", "m/", tree=True)}
        cache.clear()
        assert (folder / "1").read_bytes() == b"member"
        cache.release("b", "m")
        assert not cache._pinned


def test_a_stream_without_a_strong_etag_is_never_gone_on_with(tmp_path: Path) -> None:
    body, broken = noise(400_000), [True]
    s3 = FakeS3()
    s3.put(URI, body, etag='W/"1"')
    answers: list[Any] = []

    def get(request: Request) -> Any:
        answer = FakeS3.get(s3, request)
        readinto = answer.readinto

        def breaks(buffer: memoryview) -> int:
            if answer._position and broken:
                broken.clear()
                raise TransportError("cut off")
            return readinto(buffer)

        answer.readinto = breaks  # type: ignore[method-assign]
        answers.append(answer)
        return answer

    with FakeCache(s3, directory=tmp_path / "c", disk_budget="128KiB") as cache:
        cache._origin._exchange.requests = cast("Any", SimpleNamespace(get=get, retries=True, connections=64, close=s3.close))  # type: ignore[attr-defined]
        with cache.open(URI) as file:
            s3.put(URI, noise(400_000, 1), etag='W/"2"')
            with pytest.raises(OriginUnavailableError):
                file.read()
            with pytest.raises(OriginUnavailableError):
                file.read()
    assert all(answer.status == 200 for answer in answers)


def test_a_hook_that_hears_of_progress_hears_of_nothing_else_meanwhile(tmp_path: Path) -> None:
    told: list[tuple[str, bool]] = []
    s3 = FakeS3({URI: noise(17 * 2**20)})

    def hook(event: Event) -> None:
        told.append((event.name, bool(cache._flights._flights)))

    with FakeCache(s3, directory=tmp_path / "c", on_event=hook, memory_budget="1MiB", max_memory_object="1MiB") as cache:
        cache.path(URI)
    assert {name for name, in_flight in told if in_flight} == {"progress"}
    assert told[-1] == ("fetched", False)


def test_nothing_of_a_tree_is_written_through_a_link(tmp_path: Path) -> None:
    s3 = FakeS3({f"s3://b/t/sub/{number}": b"member" for number in range(3)})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "0").write_bytes(b"precious")
    options: dict[str, Any] = {"directory": tmp_path / "c", "namespace": "n"}
    with FakeCache(s3, **options) as cache:
        s3.before_answer = lambda request: setattr(s3, "down", request.object.key == "t/sub/2")
        with pytest.raises(OriginUnavailableError):
            cache.tree("b", "t")
    s3.before_answer, s3.down = None, False
    s3.advance(100)
    (staged,) = (tmp_path / "c" / "staging").glob("*.partial")
    shutil.rmtree(staged / "sub")
    (staged / "sub").symlink_to(outside)
    with FakeCache(s3, **options) as cache, contextlib.suppress(DiskUnavailableError):
        cache.tree("b", "t")
    assert (outside / "0").read_bytes() == b"precious"
    assert os.listdir(outside) == ["0"]


@pytest.mark.parametrize("damage", ["removed", "changed"])
def test_what_is_left_of_a_tree_is_looked_at_before_it_is_gone_on_with(tmp_path: Path, damage: str) -> None:
    s3 = FakeS3({f"s3://b/t/{number}": (b"%d" % number) * 1000 for number in range(4)})
    options: dict[str, Any] = {"directory": tmp_path / "c", "namespace": "n"}
    with FakeCache(s3, **options) as cache:
        s3.before_answer = lambda request: setattr(s3, "down", request.object.key == "t/3")
        with pytest.raises(OriginUnavailableError):
            cache.tree("b", "t")
    s3.before_answer, s3.down = None, False
    s3.advance(100)
    left = sorted((tmp_path / "c" / "staging").glob("*.partial/*"))
    assert left
    left[0].unlink()
    if damage == "changed":
        left[0].write_bytes(b"x" * 1000)
    with FakeCache(s3, **options) as cache:
        folder = cache.tree("b", "t")
        assert [(folder / str(number)).read_bytes() for number in range(4)] == [(b"%d" % number) * 1000 for number in range(4)]
