"""What an attack on decoded values, writes and rules has found, each as it was met."""

from __future__ import annotations

import asyncio
import io
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

import s3warm
from s3warm import DiskUnavailableError, IntegrityError, ObjectNotFoundError, ObjectTooLargeError
from s3warm.crew import Crew
from s3warm.injection import Want
from s3warm.singleflight import SingleFlight
from s3warm.sizing import size_of
from s3warm.testing import FakeCache, FakeS3, fake_s3
from s3warm.tiers.decoded import Decoded
from tests.support.entries import noise
from tests.support.threads import wait

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s3warm.origin.base import Upload

URI = "s3://cfg/state.json"


# -- files of values -----------------------------------------------------------------------------------------------------------


class Model:
    """What a loader makes of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path


class Bare(FakeCache):
    """A fake that does not hold on to what was decoded."""

    def _made(self, *_: object) -> None: ...


@pytest.mark.parametrize("how", ["path", "open", "get"])
def test_a_file_whose_value_is_gone_takes_nobodys_room(how: str) -> None:
    size = 600_000
    s3 = FakeS3({"s3://m/a.bin": noise(size), "s3://m/b.bin": noise(size)})
    with Bare(s3, disk_budget=1_000_000) as cache:
        cache.load("m", "a.bin", loader=Model)
        cache.clear()  # the value goes, and with it all that needed the file
        with ExitStack() as used:
            if how == "path":
                cache.path("m", "b.bin")
            elif how == "open":
                used.enter_context(cache.open("m", "b.bin"))
            else:
                cache.get("m", "b.bin")
            assert "disk" in cache.explain("m", "b.bin").tiers


def test_while_the_value_lives_its_file_does_too() -> None:
    s3 = FakeS3({"s3://m/a.bin": noise(600_000), "s3://m/b.bin": noise(600_000)})
    with Bare(s3, disk_budget=1_000_000) as cache:
        model = cache.load("m", "a.bin", loader=Model)
        cache.clear()
        with pytest.raises(ObjectTooLargeError, match=r"beside the files that are in use: s3://m/a\.bin"):
            cache.path("m", "b.bin")
        assert model.path.exists()


@pytest.mark.parametrize("options", [{"version_id": "v1"}, {"request": {"RequestPayer": "requester"}}])
def test_what_a_tree_cannot_be_asked_for_is_refused_and_not_passed_over(options: Any) -> None:
    with fake_s3({"s3://m/bert/config.json": b"{}"}) as s3:
        with pytest.raises(ValueError, match="takes neither version_id nor request"):
            s3warm.load("m", "bert/", loader=Model, **options)
        assert s3.requests == []


# -- what values take ----------------------------------------------------------------------------------------------------------

_TABLE = [str(number) for number in range(50_000)]


def _looks_up(number: int) -> str:
    return _TABLE[number]


def test_a_function_in_a_value_does_not_weigh_what_its_module_holds() -> None:
    assert size_of(_TABLE) > 1_000_000
    assert size_of({"look up": _looks_up}) < 5_000


class Unbound:
    """A proxy for what is not there, like those of web frameworks outside of a request."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("working outside of a request")


def test_a_value_with_parts_that_raise_whatever_they_are_asked_is_weighed_and_kept() -> None:
    def made(_body: bytes) -> list[Unbound]:
        return [Unbound()]

    with Bare(FakeS3({URI: b"{}"})) as cache:
        assert cache.get(URI, transform=made) is cache.get(URI, transform=made)
        assert cache.stats().decoded == 1


class Sum:
    """A number that is no `int`, as numpy and pandas sum."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __index__(self) -> int:
        return self._number


def _summed(_value: object) -> Any:
    return Sum(100_000)


def test_size_of_may_give_numpys_numbers() -> None:
    with fake_s3({URI: b"{}"}, memory_budget="1MiB"):
        s3warm.get(URI, transform="json", size_of=_summed)
        assert 100_000 < s3warm.stats().memory_bytes < 110_000


@pytest.mark.parametrize("options", [{"memory_budget": 0}, {"memory_budget": 0, "disk_budget": 0}])
def test_who_wants_no_memory_is_not_told_to_give_more(options: Any, caplog: pytest.LogCaptureFixture) -> None:
    with fake_s3({URI: b'{"n": 1}'}, **options):
        assert s3warm.get(URI, transform="json") == {"n": 1}
    assert caplog.records == []


def test_a_value_costs_no_look_at_the_tables_of_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Counted:
        @staticmethod
        def getsizeof(table: object) -> int:
            seen.append(id(table))
            return sys.getsizeof(table)

    with fake_s3({f"s3://cfg/{number}": b"{}" for number in range(50)}, disk_budget=0):
        for number in range(50):  # each by a function of its own
            s3warm.get("cfg", str(number), transform=lambda body: body[:1])
        decoded = s3warm.default_cache()._memory._decoded  # type: ignore[attr-defined]
        assert isinstance(decoded, Decoded)
        inner = [*decoded.tables.values()] + [each for table in decoded.tables.values() for each in table.values()]
        all_of_it = sum(map(sys.getsizeof, [decoded.tables, decoded._by_object, *inner]))
        monkeypatch.setattr("s3warm.tiers.decoded.sys", Counted)
        assert (decoded.size(), len(seen)) == (all_of_it, 2)
        monkeypatch.undo()
        s3warm.clear()
        assert decoded.size() == sum(map(sys.getsizeof, [decoded.tables, decoded._by_object]))


# -- writes --------------------------------------------------------------------------------------------------------------------


class SlowAnswer(FakeS3):
    """Whoever writes `b"first"` has its answer later than all others."""

    __slots__ = ("go_on", "written")

    def __init__(self) -> None:
        super().__init__({URI: b"old"})
        self.written, self.go_on = threading.Event(), threading.Event()

    def write(self, upload: Upload) -> Any:
        answer = super().write(upload)
        if upload.body == b"first":
            self.written.set()
            wait(self.go_on)
        return answer


@pytest.mark.parametrize("disk_budget", [None, 0])
def test_of_two_writes_at_once_s3_is_asked_which_came_last(disk_budget: int | None) -> None:
    s3 = SlowAnswer()
    with FakeCache(s3, disk_budget=disk_budget) as cache:
        first = threading.Thread(target=lambda: cache.put(URI, b"first"))
        first.start()
        wait(s3.written)
        cache.put(URI, b"second")
        s3.go_on.set()
        first.join()
        assert cache.get(URI) == s3[URI] == b"second"
        assert cache.put(URI, b"third").body == cache.get(URI) == b"third"
        assert [request.method for request in s3.requests] == ["PUT", "PUT", "GET", "PUT"]  # one alone is kept, as ever


class Garbling(FakeS3):
    """Stores something else than was sent."""

    __slots__ = ()

    def write(self, upload: Upload) -> Any:
        return super().write(upload._replace(body=b"garbled"))


class Interrupting(FakeS3):
    """Whoever writes is interrupted before the answer."""

    __slots__ = ()

    def write(self, upload: Upload) -> Any:
        super().write(upload)
        raise KeyboardInterrupt


@pytest.mark.parametrize(("kind", "error"), [(Garbling, IntegrityError), (Interrupting, KeyboardInterrupt)])
def test_whatever_was_written_perhaps_the_copy_is_not_trusted(kind: type[FakeS3], error: type[BaseException]) -> None:
    s3 = kind({URI: b"old"})
    with FakeCache(s3) as cache:
        assert cache.get(URI) == b"old"
        with pytest.raises(error):
            cache.put(URI, b"new")
        assert cache.get(URI) == s3[URI] != b"old"


@pytest.mark.parametrize("name", ["content_type", "content_encoding", "cache_control"])
def test_metadata_of_the_same_name_hides_no_header(name: str) -> None:
    with fake_s3() as s3:
        options: dict[str, Any] = {name: "text/plain\r\nx-amz-acl: public-read", "metadata": {name: "fine"}}
        with pytest.raises(ValueError, match="cannot be sent in a header"):
            s3warm.put(URI, b"{}", **options)
        assert s3.requests == []


def test_the_fake_keeps_names_of_metadata_as_they_are() -> None:
    with fake_s3():
        written = s3warm.put(URI, b"{}", metadata={"my_owner": "ops"})
        s3warm.clear()
        assert s3warm.entry(URI).metadata == written.metadata == {"my_owner": "ops"}


# -- what may not lie on disk --------------------------------------------------------------------------------------------------


def _anywhere(directory: Path, text: bytes) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and text in path.read_bytes()]


@pytest.mark.parametrize("forbidden", ["s3://cfg/", "s3://cfg/live/", "s3://cfg/live/secret/", "s3://cfg/live/secret/key.pem"])
def test_a_tree_brings_nothing_onto_the_disk_that_a_rule_keeps_off_it(tmp_path: Path, forbidden: str) -> None:
    objects = {
        "s3://cfg/live/secret/key.pem": b"SECRET" + noise(5_000),
        "s3://cfg/live/a.json": b"{}",
        "s3://cfg/other/a": b"1",
    }
    with fake_s3(objects, directory=str(tmp_path), rules={forbidden: {"disk": False}}):
        with pytest.raises(DiskUnavailableError, match="says disk=False"):
            s3warm.tree("s3://cfg/live/")
        assert _anywhere(tmp_path, b"SECRET") == []


@pytest.mark.parametrize("how", ["path", "open", "get"])
def test_a_file_from_before_the_rule_goes_when_it_is_asked_for(tmp_path: Path, how: str) -> None:
    objects, options = {URI: b"SECRET" + noise(100_000)}, {"directory": str(tmp_path), "namespace": "one"}
    with FakeCache(FakeS3(objects), **options) as cache:  # type: ignore[arg-type]
        cache.path(URI)
    assert len(_anywhere(tmp_path, b"SECRET")) == 1
    with FakeCache(FakeS3(objects), rules={"s3://cfg/": {"disk": False}}, **options) as cache:  # type: ignore[arg-type]
        if how == "path":
            with pytest.raises(DiskUnavailableError):
                cache.path(URI)
        elif how == "open":
            cache.open(URI).close()
        else:
            cache.get(URI)
        assert _anywhere(tmp_path, b"SECRET") == []


def test_a_tree_beside_what_a_rule_forbids_is_one(tmp_path: Path) -> None:
    objects = {"s3://cfg/live/a.json": b"{}", "s3://cfg/live-secret/key.pem": b"SECRET"}
    with fake_s3(objects, directory=str(tmp_path), rules={"s3://cfg/live-secret/": {"disk": False}}):
        assert (s3warm.tree("s3://cfg/live/") / "a.json").read_bytes() == b"{}"


def test_an_entry_that_is_pickled_takes_no_key_along() -> None:
    key = b"0123456789abcdef" * 2
    with fake_s3({URI: b"{}"}):
        entry = s3warm.entry(URI, request={"SSECustomerKey": key, "RequestPayer": "requester"})
    pickled = pickle.dumps(entry)
    again = pickle.loads(pickled)
    assert (key in pickled, again.object.request.customer_key) == (False, None)
    assert (again, again.object.request.payer) == (entry, "requester")


# -- threads and standard output -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_a_thread_goes_on_after_work_that_raises(error: type[BaseException]) -> None:
    def fails() -> None:
        raise error

    crew, done = Crew(1), threading.Event()
    for work in (fails, fails, done.set):
        crew.do(work)
    wait(done)


def _closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


class Broken(io.StringIO):
    """Nobody reads any more."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("standard_output", [_closed, lambda: None, Broken])
def test_a_handler_does_not_fail_for_want_of_a_standard_output(
    standard_output: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    @s3warm.emf.metrics("shop", dimensions={"service": "orders"})
    def handler() -> bytes:
        return s3warm.get(URI)

    with fake_s3({URI: b"{}"}), monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", standard_output())
        assert handler() == b"{}"


def test_what_is_evicted_before_it_is_taken_does_not_hold_up_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_in: list[int] = []

    @s3warm.inject(state=URI, ttl=60)
    async def handler(state: bytes) -> bytes:
        return state

    monkeypatch.setattr(Want, "is_at_hand", lambda _: True)
    with fake_s3({URI: b"{}"}) as s3:
        s3.before_answer = lambda _: asked_in.append(threading.get_ident())
        assert asyncio.run(handler()) == b"{}"
    assert len(asked_in) == 1
    assert asked_in[0] != threading.get_ident()


@pytest.mark.parametrize("how", ["invalidate", "clear", "a 404"])
def test_what_a_call_found_in_the_midst_of_it_does_not_come_back(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flight that begins once others are forgotten, and finds on disk what one of them has stored, must not bring that into memory."""
    s3 = FakeS3({URI: b"old"})
    found, go_on = threading.Event(), threading.Event()
    readers: list[Any] = []
    armed: list[Any] = []

    def in_the_midst(forget: Any) -> Any:
        def forgetting(*arguments: Any) -> None:
            now = armed.pop() if armed else None
            if now is not None:
                cache, old, _ = now  # one that began before stores what it has found
                cache._disk.put(old)
                cache._memory.clear()
            forget(*arguments)
            if now is not None:
                readers.append(now[2].submit(now[0].get, URI))
                wait(found)

        return forgetting

    for name in ("forget", "forget_all"):
        monkeypatch.setattr(SingleFlight, name, in_the_midst(getattr(SingleFlight, name)))
    with FakeCache(s3, ttl=60) as cache, ThreadPoolExecutor(1) as pool:
        old, promoted = cache.entry(URI), cache._promoted

        def slowly(*arguments: Any) -> Any:
            found.set()
            wait(go_on)
            return promoted(*arguments)

        monkeypatch.setattr(cache, "_promoted", slowly)
        if how == "a 404":
            del s3[URI]
            s3.before_answer = lambda _: armed.append((cache, old, pool)) if not readers else None
            with pytest.raises(ObjectNotFoundError):
                cache.get(URI, ttl=0)
        else:
            armed.append((cache, old, pool))
            cache.clear() if how == "clear" else cache.invalidate(URI)
        s3[URI] = b"new"
        go_on.set()
        assert readers[0].result(30) == b"old", "it was found before"
        assert cache.get(URI) == b"new"
