"""What could go wrong between environments: races, clocks that differ, other settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from s3warm import ObjectNotFoundError
from s3warm.keys import locate
from tests.support.counted import CountedFleet
from tests.support.fleets import FleetCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

URI = "s3://b/k"
WHERE = locate(URI)
OLD, NEW = b'"old"', b'"new"'


@pytest.fixture
def fleet() -> Iterator[CountedFleet]:
    fleet = CountedFleet({URI: OLD}, ttl=600.0, disk_budget=0)
    yield fleet
    fleet.close()


class Skewed:
    """The fake S3, as an environment sees it whose clock is off by so many seconds."""

    def __init__(self, s3: Any, ahead: float) -> None:
        self._s3, self._ahead = s3, ahead

    def clock(self) -> float:
        return float(self._s3.now + self._ahead)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)


def skewed(fleet: CountedFleet, ahead: float) -> FleetCache:
    fleet.caches.append(FleetCache(Skewed(fleet.s3, ahead), fleet.counted, **{"ttl": 60.0, **fleet.options}))  # type: ignore[arg-type]
    return fleet.caches[-1]


def change(fleet: CountedFleet, teller: Any) -> None:
    """The object changes, and everybody is told."""
    fleet.s3.advance(0.2)
    fleet.s3[URI] = NEW
    fleet.s3.advance(0.2)
    teller.invalidate(URI, everywhere=True)


def once(fleet: CountedFleet, at: str, happens: Callable[[], object]) -> None:
    """Something happens just before the server gets a command."""

    def instead(name: str, answer: Callable[[], Any]) -> Any:
        if name == at:
            fleet.counted.instead = None
            happens()
        return answer()

    fleet.counted.instead = instead


def _read_open(cache: Any) -> bytes:
    with cache.open(URI) as file:
        return bytes(file.read())


WAYS: dict[str, Callable[[Any], Any]] = {
    "get": lambda cache: cache.get(URI),
    "entry": lambda cache: cache.entry(URI).body,
    "get with a ttl": lambda cache: cache.get(URI, ttl=500),
    "get_many": lambda cache: cache.get_many([URI])[URI],
    "transform": lambda cache: json.dumps(cache.get(URI, transform="json")).encode(),
    "transform with a ttl": lambda cache: json.dumps(cache.get(URI, transform="json", ttl=500)).encode(),
    "path": lambda cache: cache.path(URI).read_bytes(),
    "open": _read_open,
    "load": lambda cache: cache.load(URI, loader=_read),
    "load with a ttl": lambda cache: cache.load(URI, loader=_read, ttl=500),
}


def _read(path: Any) -> bytes:
    return bytes(path.read_bytes())


@pytest.mark.parametrize("way", WAYS)
def test_whatever_is_asked_for_others_are_heard(fleet: CountedFleet, way: str, tmp_path: Any) -> None:
    ask, cache = WAYS[way], fleet.cache(directory=str(tmp_path), disk_budget=None)
    assert ask(cache) == OLD
    change(fleet, fleet.cache())
    fleet.s3.advance(1)
    assert ask(cache) == NEW


@pytest.mark.parametrize("ahead", [-0.9, 0.0, 0.9])
@pytest.mark.parametrize("tellers", [-0.9, 0.0, 0.9])
def test_others_are_heard_by_clocks_that_differ_by_up_to_a_second(fleet: CountedFleet, ahead: float, tellers: float) -> None:
    if abs(ahead - tellers) > 1:
        ahead /= 3
        tellers /= 3
    cache, teller = skewed(fleet, ahead), skewed(fleet, tellers)
    assert cache.get(URI) == OLD
    change(fleet, teller)
    fleet.s3.advance(1)
    assert cache.get(URI) == NEW


def test_what_is_told_is_not_there_is_forgotten_when_others_have_written_it(fleet: CountedFleet) -> None:
    cache, writer = fleet.cache(negative_ttl=300), fleet.cache()
    with pytest.raises(ObjectNotFoundError):
        cache.get("b", "later")
    fleet.s3["s3://b/later"] = NEW
    fleet.s3.advance(2)
    with pytest.raises(ObjectNotFoundError):
        cache.get("b", "later")
    writer.invalidate("b", "later", everywhere=True)
    fleet.s3.advance(1)
    assert cache.get("b", "later") == NEW


def test_where_some_of_it_is_not_known_absences_are_forgotten_too(fleet: CountedFleet) -> None:
    cache, teller = fleet.cache(negative_ttl=300), fleet.cache()
    teller.invalidate("b", "another", everywhere=True)
    with pytest.raises(ObjectNotFoundError):
        cache.get("b", "later")
    cache.get(URI)
    fleet.s3["s3://b/later"] = fleet.s3[URI] = NEW
    fleet.counted.flushall()
    fleet.s3.advance(1)
    assert (cache.get("b", "later"), cache.get(URI)) == (NEW, NEW)


def test_a_fetch_that_was_under_way_does_not_bring_the_older_body_back(fleet: CountedFleet) -> None:
    cache, teller, third = fleet.cache(), fleet.cache(), fleet.cache()
    once(fleet, "PUT", lambda: change(fleet, teller))
    assert cache.get(URI) == OLD, "that is what it asked for"
    assert third.get(URI) == NEW
    fleet.s3.advance(1)
    assert cache.get(URI) == NEW


def test_a_304_that_was_under_way_does_not_confirm_the_older_body(fleet: CountedFleet) -> None:
    cache, teller, third = fleet.cache(), fleet.cache(), fleet.cache()
    cache.get(URI)
    fleet.s3.advance(600)
    once(fleet, "SWAP", lambda: change(fleet, teller))
    assert cache.get(URI) == OLD
    assert third.get(URI) == NEW


def test_a_fetch_that_was_under_way_does_not_undo_a_put(fleet: CountedFleet) -> None:
    def written() -> None:
        fleet.s3.advance(0.2)
        writer.put(URI, NEW)

    cache, writer, third = fleet.cache(), fleet.cache(), fleet.cache()
    once(fleet, "PUT", written)
    assert cache.get(URI) == OLD
    assert third.get(URI) == NEW


@pytest.mark.parametrize("method", ["invalidate", "clear"])
def test_what_comes_up_in_the_middle_of_an_invalidation_is_looked_at_anew(
    fleet: CountedFleet, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = fleet.cache()
    cache.get(URI)
    fleet.s3.advance(1)
    fleet.s3[URI] = NEW
    beyond = "expire" if method == "invalidate" else "clear"
    plainly = getattr(cache._beyond, beyond)

    def meanwhile(*where: Any) -> None:
        cache.get(URI)  # another thread, at the worst moment
        plainly(*where)

    monkeypatch.setattr(cache._beyond, beyond, meanwhile)
    cache.invalidate(URI) if method == "invalidate" else cache.clear()
    assert cache.get(URI) == NEW


def test_a_lease_that_ran_out_is_anothers_and_the_later_answer_stays(fleet: CountedFleet) -> None:
    slow, other = fleet.cache(), fleet.cache()
    name = slow._beyond.shared._sealer.name(WHERE)  # type: ignore[attr-defined]

    def late(_request: object) -> None:
        fleet.s3.before_answer = None
        fleet.s3.advance(6)
        fleet.counted.delete(f"{name}:lease")
        other.get(URI)
        fleet.counted.set(f"{name}:lease", b"a third one's")

    fleet.s3.before_answer = late
    slow.get(URI)
    assert fleet.counted.get(f"{name}:lease") == b"a third one's"
    assert fleet.counted.hget(name, "t") == repr(fleet.s3.now).encode()


@pytest.mark.parametrize(("writers", "readers"), [(600.0, 10.0), (10.0, 600.0)])
def test_each_has_its_own_ttl_and_none_a_longer_one(fleet: CountedFleet, writers: float, readers: float) -> None:
    writer, reader = fleet.cache(ttl=writers), fleet.cache(ttl=readers)
    writer.get(URI)
    fleet.s3[URI] = NEW
    fleet.s3.advance(9)
    assert reader.get(URI) == OLD
    fleet.s3.advance(1)
    assert reader.get(URI) == NEW, "ten seconds after S3 was asked, whoever asked"


@pytest.mark.parametrize("control", ["no-cache", "no-store", "max-age=5"])
def test_who_ignores_cache_control_decides_nothing_for_the_others(fleet: CountedFleet, control: str) -> None:
    fleet.s3.put(URI, OLD, cache_control=control)
    fleet.cache(cache_control="ignore").get(URI)
    obedient = fleet.cache()
    fleet.s3.advance(5)
    fleet.s3.put(URI, NEW, cache_control=control)
    assert obedient.get(URI) == NEW


def test_a_pinned_version_is_the_fleets_for_good(fleet: CountedFleet) -> None:
    fleet.cache().get("b", "k", version_id="v1")
    fleet.statuses()
    fleet.s3.advance(10**6)
    cache = fleet.cache()
    assert cache.get("b", "k", version_id="v1") == OLD
    fleet.s3.advance(10**6)
    assert cache.get("b", "k", version_id="v1") == OLD
    assert fleet.statuses() == []


def test_after_a_snapshot_the_fleet_tells_what_is_current(fleet: CountedFleet) -> None:
    cache, other = fleet.cache(), fleet.cache()
    cache.get(URI)
    fleet.statuses()
    cache.suspend()
    fleet.s3.advance(5)
    change(fleet, other)
    other.get(URI)
    fleet.statuses()
    cache.resume()
    assert cache.get(URI) == NEW
    assert fleet.statuses() == []


def test_while_another_asks_a_stale_copy_is_served_at_once(fleet: CountedFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = fleet.cache(stale_while_revalidate=60)
    monkeypatch.setattr(cache._beyond.leases, "_sleep", lambda _: pytest.fail("somebody waits"))  # type: ignore[attr-defined]
    cache.get(URI)
    fleet.s3.advance(601)
    name = cache._beyond.shared._sealer.name(WHERE)  # type: ignore[attr-defined]
    fleet.counted.set(f"{name}:lease", b"another's" + b"." * 15, px=5000)
    fleet.statuses()
    entry = cache.entry(URI)
    assert (entry.body, entry.stale, fleet.statuses()) == (OLD, True, [])


def test_an_expired_copy_of_the_fleets_stands_in_where_there_is_none_here(fleet: CountedFleet) -> None:
    fleet.cache().get(URI)
    fleet.s3.advance(700)
    fleet.s3.down = True
    entry = fleet.cache(stale_if_error=3600).entry(URI)
    assert (entry.body, entry.stale) == (OLD, True)


def test_what_was_deleted_is_gone_for_all_that_have_no_copy(fleet: CountedFleet) -> None:
    cache, other = fleet.cache(), fleet.cache()
    cache.get(URI)
    del fleet.s3[URI]
    for each in (other, fleet.cache()):
        with pytest.raises(ObjectNotFoundError):
            each.get(URI, ttl=0)
    with pytest.raises(ObjectNotFoundError):
        fleet.cache().get(URI)


def test_a_file_of_the_fleets_is_held_until_the_object_changes(fleet: CountedFleet, tmp_path: Any) -> None:
    cache, other = fleet.cache(directory=str(tmp_path), disk_budget=None), fleet.cache()
    other.get(URI)
    fleet.statuses()
    path = cache.path(URI)
    assert path == cache.path(URI)
    fleet.s3[URI] = NEW
    fleet.s3.advance(601)
    other.get(URI)
    assert (cache.path(URI).read_bytes(), path.read_bytes()) == (NEW, OLD)
    assert fleet.statuses() == [200]
    cache.release(URI)
    assert cache.path(URI).read_bytes() == NEW


def test_what_was_asked_longer_ago_than_an_invalidation_is_remembered_is_not_brought(
    fleet: CountedFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, teller = fleet.cache(), fleet.cache()
    plainly = cache._origin.fetch

    def slowly(where: Any, **options: Any) -> Any:
        answer = plainly(where, **options)
        change(fleet, teller)
        fleet.s3.advance(300)
        fleet.counted.delete(cache._beyond.shared._sealer.name(WHERE))  # type: ignore[attr-defined]  # as the server does by then
        return answer

    monkeypatch.setattr(cache._origin, "fetch", slowly)
    assert cache.get(URI) == OLD, "that is what it asked for"
    assert fleet.cache().get(URI) == NEW


def test_of_writes_that_overlap_the_fleet_keeps_none(fleet: CountedFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = fleet.cache(), fleet.cache()
    plainly = one._origin.write

    def late(upload: Any) -> Any:
        info = plainly(upload)
        other.put(URI, NEW)  # which S3 has taken later, and answered earlier
        fleet.s3.advance(0.1)
        return info

    monkeypatch.setattr(one._origin, "write", late)
    one.put(URI, OLD)
    assert fleet.cache().get(URI) == fleet.s3[URI] == NEW


@pytest.mark.parametrize("ahead", [-0.9, 0.9])
@pytest.mark.parametrize("method", ["invalidate", "clear"])
def test_what_was_invalidated_here_is_asked_for_whatever_clock_others_have(
    fleet: CountedFleet, method: str, ahead: float
) -> None:
    cache = fleet.cache()
    skewed(fleet, ahead).get(URI)
    fleet.s3.advance(0.3)
    fleet.s3[URI] = NEW
    cache.invalidate(URI) if method == "invalidate" else cache.clear()
    assert cache.get(URI) == NEW


def test_what_could_not_be_dropped_is_of_no_use_here_whatever_clock_others_have(fleet: CountedFleet) -> None:
    cache = fleet.cache(memory_budget=0)
    skewed(fleet, 0.9).get(URI)
    fleet.s3.advance(0.3)

    def refused(name: str, answer: Callable[[], Any]) -> Any:
        if name in ("PUT", "WITHDRAW"):
            raise ResponseError("READONLY You can't write against a read only replica.")
        return answer()

    fleet.counted.instead = refused
    cache.put(URI, NEW)
    assert cache.get(URI) == NEW


def test_a_log_that_is_gone_before_anything_was_read_of_it_is_known_to_be_gone(fleet: CountedFleet) -> None:
    cache, teller = fleet.cache(), fleet.cache()
    assert cache.get(URI) == OLD, "it begins the log"
    change(fleet, teller)
    fleet.counted.flushall()
    fleet.s3.advance(1)
    assert cache.get(URI) == NEW


def test_a_server_that_answers_no_writes_is_left_in_peace(fleet: CountedFleet, caplog: pytest.LogCaptureFixture) -> None:
    def unanswered(name: str, answer: Callable[[], Any]) -> Any:
        if name in ("HMGET", "XRANGE", "XREVRANGE"):
            return answer()
        raise RedisTimeoutError("as while the server fails over")

    cache = fleet.cache()
    fleet.counted.instead = unanswered
    for number in range(120):
        fleet.s3[f"s3://b/{number}"] = OLD
        assert cache.get("b", str(number)) == OLD
        fleet.s3.advance(1)
    assert cache.stats().shared_errors <= 8, "after 1, 2, 4, 8, 16 and 30 s"
    assert len(caplog.records) <= 16


def test_what_a_server_says_is_one_line_of_a_log(fleet: CountedFleet, caplog: pytest.LogCaptureFixture) -> None:
    def shouts(_name: str, _answer: Callable[[], Any]) -> Any:
        raise ResponseError("no\nWARNING: another line \x1b[31m" + "x" * 10**6)

    events: list[Any] = []
    cache = fleet.cache(on_event=events.append)
    fleet.counted.instead = shouts
    cache.get(URI)
    (message,) = [record.getMessage() for record in caplog.records]
    (detail,) = [event.detail for event in events if event.name == "shared_error"]
    for said in (message, detail):
        assert said.isprintable()
        assert len(said) < 500
