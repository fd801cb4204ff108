"""What environments of a fleet do for each other, over a fake S3 and a server in memory."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import fakeredis
import fakeredis.aioredis
import pytest

import s3warm
from s3warm import Cache, ConfigurationError, FleetUnavailableError, IntegrityError, ObjectNotFoundError
from s3warm.testing import FakeS3
from tests.support.entries import noise
from tests.support.fleets import SECRET, FakeFleet, FleetCache

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3warm.origin.base import Request

URI = "s3://b/k"


@pytest.fixture
def fleet() -> Iterator[FakeFleet]:
    made = FakeFleet({URI: b"old"})
    yield made
    made.close()


def test_what_one_has_fetched_another_gets_without_s3(fleet: FakeFleet) -> None:
    one, other = fleet.cache(), fleet.cache()
    one.get("b", "k")
    assert fleet.statuses() == [200]
    mine, theirs = one.entry("b", "k"), other.entry("b", "k")
    assert theirs == mine
    assert fleet.statuses() == []
    assert (other.stats().shared_hits, other.stats().misses) == (1, 0)
    assert other.get("b", "k") is other.get("b", "k"), "it is in memory now"
    assert other.explain("b", "k").tiers == ("memory", "disk")


def test_one_revalidation_serves_all_with_the_times_that_it_drew(fleet: FakeFleet) -> None:
    caches = [fleet.cache(ttl_jitter=0.5) for _ in range(5)]
    for cache in caches:
        cache.get("b", "k")
    fleet.statuses()
    fleet.s3.advance(61)
    entries = [cache.entry("b", "k") for cache in caches]
    assert fleet.statuses() == [304]
    assert len({(entry.validated_at, entry.expires_at) for entry in entries}) == 1
    assert [cache.stats().shared_hits for cache in caches] == [0, 2, 2, 2, 2]


def test_a_changed_object_comes_once(fleet: FakeFleet) -> None:
    one, other = fleet.cache(), fleet.cache()
    one.get("b", "k"), other.get("b", "k")
    fleet.s3[URI] = b"new"
    fleet.s3.advance(61)
    fleet.statuses()
    assert (one.get("b", "k"), other.get("b", "k")) == (b"new", b"new")
    assert fleet.statuses() == [200]


def test_who_has_nothing_revalidates_the_fleets_body(fleet: FakeFleet) -> None:
    fleet.cache().get("b", "k")
    fleet.s3.advance(61)
    fleet.statuses()
    assert fleet.cache().get("b", "k") == b"old"
    assert fleet.statuses() == [304]


def test_of_a_large_object_metadata_are_shared_so_that_a_copy_is_confirmed(fleet: FakeFleet) -> None:
    body = noise(2 * 2**20)
    fleet.s3["s3://b/large"] = body
    one, other = fleet.cache(), fleet.cache()
    for cache in (one, other):
        with cache.as_file("b", "large") as path:
            assert path.read_bytes() == body
    assert fleet.statuses() == [200, 200], "the body is not shared"
    fleet.s3.advance(61)
    for cache in (one, other):
        with cache.as_file("b", "large") as path:
            assert path.read_bytes() == body
    assert fleet.statuses() == [304]
    assert other.stats().shared_hits == 1


def test_a_body_of_which_the_compressed_form_is_small_is_shared(fleet: FakeFleet) -> None:
    fleet.s3["s3://b/text"] = body = b"all work and no play " * 150_000
    fleet.cache().get("b", "text")
    assert fleet.cache().get("b", "text") == body
    assert fleet.statuses() == [200]


def test_files_come_from_the_fleet_and_go_to_it(fleet: FakeFleet) -> None:
    one, other = fleet.cache(), fleet.cache()
    assert one.path("b", "k").read_bytes() == b"old"
    assert other.get("b", "k") == b"old"
    third = fleet.cache()
    path = third.path("b", "k")
    assert path.read_bytes() == b"old"
    with third.open("b", "k") as file:
        assert file.read() == b"old"
    assert fleet.statuses() == [200]
    assert third.stats().shared_hits == 1
    third.release("b", "k")


def test_a_file_that_was_adopted_and_replaced_at_once_is_let_go_of(fleet: FakeFleet) -> None:
    fleet.s3[URI] = b"x" * 900_000
    fleet.cache().get("b", "k")
    fleet.s3.advance(61)
    fleet.s3[URI] = b"new"
    other = fleet.cache(disk_budget="1.5MiB")
    with other.as_file("b", "k") as path:
        assert path.read_bytes() == b"new"
    fleet.s3["s3://b/full"] = noise(900_000)
    with other.as_file("b", "full") as path:  # for which there is no room if the older file is still in use
        assert path.stat().st_size == 900_000


def test_values_are_made_of_what_the_fleet_has(fleet: FakeFleet) -> None:
    fleet.s3["s3://b/j"] = b'{"n": 1}'
    one, other = fleet.cache(), fleet.cache()
    assert one.get("b", "j", transform="json") == other.get("b", "j", transform="json") == {"n": 1}
    assert fleet.statuses() == [200]
    fleet.s3.advance(61)
    held = other.get("b", "j", transform="json")
    assert fleet.statuses() == [304]
    assert one.get("b", "j", transform="json") is not held
    assert fleet.statuses() == []
    assert (one.stats().decoded, other.stats().decoded) == (1, 1)
    fleet.s3.advance(61)
    fleet.s3["s3://b/j"] = b'{"n": 2}'
    assert one.get("b", "j", transform="json") == other.get("b", "j", transform="json") == {"n": 2}
    assert fleet.statuses() == [200]


def test_without_memory_and_disk_the_fleet_is_all_there_is(fleet: FakeFleet) -> None:
    one, other = (fleet.cache(memory_budget=0, disk_budget=0) for _ in range(2))
    assert [cache.get("b", "k") for cache in (one, other, one, other)] == [b"old"] * 4
    assert fleet.statuses() == [200]


# -- whose word counts -----------------------------------------------------------------------------------------------------


def test_a_shorter_ttl_than_that_of_who_validated_counts(fleet: FakeFleet) -> None:
    patient, hasty = fleet.cache(ttl=3600), fleet.cache(ttl=10)
    patient.get("b", "k")
    fleet.s3[URI] = b"new"
    fleet.s3.advance(11)
    assert hasty.get("b", "k") == b"new"
    assert fleet.statuses() == [200, 200]


def test_a_call_that_accepts_less_age_asks(fleet: FakeFleet) -> None:
    one, other = fleet.cache(), fleet.cache()
    one.get("b", "k")
    fleet.s3.advance(10)
    assert other.get("b", "k", ttl=5) == b"old"
    assert fleet.statuses() == [200, 304]
    assert one.get("b", "k", ttl=5) == b"old"
    assert fleet.statuses() == []
    assert one.get("b", "k", ttl=0) == b"old"
    assert fleet.statuses() == [304]


def test_what_is_pinned_never_expires(fleet: FakeFleet) -> None:
    version = fleet.s3.put("s3://b/v", b"1")
    fleet.cache().get("b", "v", version_id=version)
    fleet.s3.advance(86_400)
    other = fleet.cache()
    assert other.get("b", "v", version_id=version) == b"1"
    assert fleet.statuses() == [200]


@pytest.mark.parametrize("options", [{"namespace": "another"}, {"shared_secret": "the secret of others"}], ids=str)
def test_another_namespace_or_secret_is_another_fleet(fleet: FakeFleet, options: dict[str, Any]) -> None:
    fleet.cache().get("b", "k")
    other = fleet.cache(**options)
    other.get("b", "k")
    assert fleet.statuses() == [200, 200]
    assert other.stats().shared_refused == 0, "it does not even see the entries"


def test_who_wants_bodies_verified_takes_those_that_were(fleet: FakeFleet) -> None:
    fleet.s3.put("s3://b/unproved", b"body", etag='"0-2"')
    one, other = fleet.cache(), fleet.cache(verify="require")
    one.get("b", "k"), one.get("b", "unproved")
    fleet.statuses()
    assert other.get("b", "k") == b"old"
    assert fleet.statuses() == []
    with pytest.raises(IntegrityError, match="verify"):
        other.get("b", "unproved")
    fleet.s3.advance(1)
    fleet.s3[URI] = b"new"
    other.invalidate("b", "k", everywhere=True)
    fleet.s3.advance(1)
    assert one.get("b", "k") == b"new", "they are one fleet"


def test_another_limit_is_another_environments_affair(fleet: FakeFleet) -> None:
    fleet.s3["s3://b/middling"] = noise(200_000)
    one, other = fleet.cache(), fleet.cache(shared_max_object=100_000)
    assert one.get("b", "middling") == other.get("b", "middling")
    assert fleet.statuses() == [200, 200]
    assert (other.stats().shared_errors, other.stats().shared_refused) == (0, 0)
    fleet.s3.advance(61)
    assert one.get("b", "middling") == other.get("b", "middling")
    assert fleet.statuses() == [304], "its metadata are known to both"


def test_environments_of_one_fleet_can_be_told(fleet: FakeFleet) -> None:
    one, other, third = fleet.cache(), fleet.cache(), fleet.cache(shared_secret="the secret of others")
    assert one.budgets().fleet == other.budgets().fleet != third.budgets().fleet
    assert str(one.budgets()).splitlines()[2].startswith("shared  named fleet at aws (fleet ")
    with Cache(disk_budget=0) as alone:
        assert alone.budgets().fleet is None


@pytest.mark.parametrize(
    ("headers", "rules", "statuses"),
    [
        ({}, {}, [200]),
        ({"x_amz_server_side_encryption": "AES256"}, {}, [200]),
        ({"x_amz_server_side_encryption": "aws:kms"}, {}, [200, 200]),
        ({"x_amz_server_side_encryption": "aws:kms:dsse"}, {}, [200, 200]),
        ({"x_amz_server_side_encryption": "aws:kms"}, {"s3://b/": {"shared": True}}, [200]),
        ({"cache_control": "no-store"}, {}, [200, 200]),
        ({"cache_control": "no-store"}, {"s3://b/": {"shared": True}}, [200]),
        ({"cache_control": "no-cache"}, {"s3://b/": {"shared": True}}, [200, 200]),
        ({}, {"s3://b/": {"shared": False}}, [200, 200]),
        ({}, {"s3://b/": {"disk": False}}, [200, 200]),
        ({}, {"s3://b/": {"disk": False}, "s3://b/x": {"shared": True}}, [200]),
        ({"etag": ""}, {}, [200, 200]),
    ],
)
def test_what_is_shared(headers: dict[str, str], rules: dict[str, Any], statuses: list[int]) -> None:
    fleet = FakeFleet(rules=rules)
    fleet.s3.put("s3://b/x", b"body", **headers)
    one, other = fleet.cache(), fleet.cache()
    assert one.get("b", "x") == other.get("b", "x") == b"body"
    assert fleet.statuses() == statuses
    shown = b"".join(str(fleet.client().hgetall(key)).encode() for key in fleet.client().keys("s3warm:*}"))
    assert (b"body" in shown) == (len(statuses) == 1)
    fleet.close()


def test_what_a_customers_key_encrypts_is_shared_on_request_only(fleet: FakeFleet) -> None:
    terms = {"SSECustomerKey": bytes(32)}
    fleet.cache().get("b", "k", request=terms)
    fleet.cache().get("b", "k", request=terms)
    assert fleet.statuses() == [200, 200]
    rules = {"s3://b/": {"shared": True}}
    fleet.cache(rules=rules).get("b", "k", request=terms)
    fleet.statuses()
    assert fleet.cache(rules=rules).get("b", "k", request=terms) == b"old"
    assert fleet.statuses() == []
    fleet.cache().get("b", "k", request={"SSECustomerKey": bytes(31) + b"1"})
    assert fleet.statuses() == [200], "another key is another object"


def test_no_store_is_kept_in_no_tier_of_the_process(fleet: FakeFleet) -> None:
    fleet.s3.put("s3://b/x", b"body", cache_control="no-store")
    one, other = (fleet.cache(rules={"s3://b/": {"shared": True}}) for _ in range(2))
    for cache in (one, other):
        cache.get("b", "x")
        assert cache.explain("b", "x").tiers == ()


# -- invalidation ----------------------------------------------------------------------------------------------------------


def test_an_invalidation_of_ones_own_passes_the_fleet_by(fleet: FakeFleet) -> None:
    one, other = fleet.cache(), fleet.cache()
    one.get("b", "k"), other.get("b", "k")
    fleet.s3[URI] = b"new"
    fleet.s3.advance(2)
    fleet.statuses()
    one.invalidate("b", "k")
    assert (one.get("b", "k"), other.get("b", "k")) == (b"new", b"old")
    assert fleet.statuses() == [200]
    other.invalidate("b", "k")
    assert other.get("b", "k") == b"new"
    assert fleet.statuses() == [304], "what was validated before is not enough, whoever did"


def test_everywhere_reaches_all_within_a_second_of_their_work(fleet: FakeFleet) -> None:
    one, other, idle = fleet.cache(ttl=86_400), fleet.cache(ttl=86_400), fleet.cache(ttl=86_400)
    for cache in (one, other, idle):
        cache.get("b", "k")
        cache.get("b", "k", transform="text")
        cache.path("b", "k")
    fleet.s3.advance(1)
    fleet.s3[URI] = b"new"
    fleet.statuses()
    one.invalidate("b", "k", everywhere=True)
    fleet.s3.advance(1)
    assert other.get("b", "k") == b"new"
    assert fleet.statuses() == [200]
    assert one.get("b", "k") == b"new"
    fleet.s3.advance(3600)
    assert idle.get("b", "k") == b"new"
    assert idle.get("b", "k", transform="text") == "new"
    assert idle.path("b", "k").read_bytes() == b"new"
    assert fleet.statuses() == []


def test_everywhere_reaches_trees(fleet: FakeFleet) -> None:
    fleet.s3["s3://b/t/x/a"] = b"1"
    one, other = fleet.cache(ttl=86_400), fleet.cache(ttl=86_400)
    assert (other.tree("b", "t/") / "x" / "a").read_bytes() == b"1"
    fleet.s3.advance(1)
    fleet.s3["s3://b/t/x/a"] = b"2"
    one.invalidate("b", "t/x/a", everywhere=True)
    fleet.s3.advance(1)
    assert (other.tree("b", "t/") / "x" / "a").read_bytes() == b"2"


def test_what_was_invalidated_before_it_was_validated_is_no_news(fleet: FakeFleet) -> None:
    one = fleet.cache(ttl=86_400)
    one.invalidate("b", "k", everywhere=True)
    fleet.s3.advance(10)
    late = fleet.cache(ttl=86_400)
    late.get("b", "k")
    fleet.s3.advance(10)
    late.get("b", "k")
    assert fleet.statuses() == [200]


def test_a_fetch_that_began_before_an_invalidation_is_not_shared_after_it(fleet: FakeFleet) -> None:
    slow, other = fleet.cache(), fleet.cache()

    def invalidate_meanwhile(_: Request) -> None:
        fleet.s3.before_answer = None
        fleet.s3.advance(0.5)
        other.invalidate("b", "k", everywhere=True)

    fleet.s3.before_answer = invalidate_meanwhile
    assert slow.get("b", "k") == b"old"
    fleet.statuses()
    assert fleet.cache().get("b", "k") == b"old"
    assert fleet.statuses() == [200]


def test_a_thousand_invalidations_at_once_are_heard_one_by_one(fleet: FakeFleet) -> None:
    one, other = fleet.cache(ttl=86_400), fleet.cache(ttl=86_400)
    other.get("b", "k")
    fleet.s3.advance(1)
    for number in range(1000):
        one.invalidate("b", f"other/{number}", everywhere=True)
    fleet.s3.advance(1)
    fleet.statuses()
    assert other.get("b", "k") == b"old"
    assert fleet.statuses() == [], "it was none of them"


@pytest.mark.parametrize("lost", ["gone", "cut"])
def test_news_that_were_missed_are_an_invalidation_of_all(fleet: FakeFleet, lost: str) -> None:
    one, other = fleet.cache(ttl=86_400), fleet.cache(ttl=86_400)
    one.invalidate("b", "x", everywhere=True)
    other.get("b", "k")
    fleet.s3.advance(1)
    fleet.s3[URI] = b"new"
    one.invalidate("b", "k", everywhere=True)
    (log,) = fleet.client().keys("*:log")
    if lost == "gone":
        fleet.client().delete(log)
    else:
        one.invalidate("b", "y", everywhere=True)
        fleet.client().xtrim(log, maxlen=1)
    fleet.s3.advance(1)
    assert other.get("b", "k") == b"new"
    fleet.s3.advance(1)
    fleet.statuses()
    assert other.get("b", "k") == b"new"
    assert fleet.statuses() == [], "and that once"


def test_a_log_that_is_gone_before_it_was_read_is_known_to_be_gone(fleet: FakeFleet) -> None:
    one, other = fleet.cache(ttl=86_400), fleet.cache(ttl=86_400)
    for _ in range(2):
        one.get("b", "k"), other.get("b", "k")
        fleet.s3.advance(1)
    fleet.s3[URI] = b"new"
    one.invalidate("b", "k", everywhere=True)
    fleet.client().flushall()  # as after a restart, or a failover to a replica that lags behind
    fleet.s3.advance(1)
    assert other.get("b", "k") == b"new"


def test_without_a_fleet_nobody_can_be_told() -> None:
    with Cache(disk_budget=0) as cache, pytest.raises(ConfigurationError, match="set shared_url"):
        cache.invalidate("b", "k", everywhere=True)


def test_a_fleet_that_cannot_be_told_is_an_error_for_who_tells(fleet: FakeFleet) -> None:
    one = fleet.cache()
    one.get("b", "k")
    fleet.state.connected = False
    with pytest.raises(FleetUnavailableError, match="call it again") as caught:
        one.invalidate("b", "k", everywhere=True)
    assert (caught.value.bucket, caught.value.key) == ("b", "k")
    fleet.statuses()
    assert one.get("b", "k") == b"old"
    assert fleet.statuses() == [304], "for this process it is invalidated all the same"


# -- what is gone, written, and out of reach -------------------------------------------------------------------------------


def test_what_is_gone_goes_from_the_fleet(fleet: FakeFleet) -> None:
    one, other = fleet.cache(), fleet.cache()
    one.get("b", "k")
    fleet.s3.advance(61)
    del fleet.s3[URI]
    with pytest.raises(ObjectNotFoundError):
        one.get("b", "k")
    fleet.s3[URI] = b"again"
    fleet.statuses()
    assert other.get("b", "k") == b"again"
    assert fleet.statuses() == [200]


def test_what_is_written_is_shared(fleet: FakeFleet) -> None:
    one, other = fleet.cache(), fleet.cache()
    one.put("b", "w", b"written")
    fleet.statuses()
    assert other.get("b", "w") == b"written"
    assert fleet.statuses() == []


def test_a_write_that_may_have_happened_drops_what_the_fleet_has(fleet: FakeFleet) -> None:
    one, other = fleet.cache(), fleet.cache()
    one.get("b", "k")
    fleet.s3.down = True
    with pytest.raises(OSError, match="fake S3 is down"):
        one.put("b", "k", b"perhaps")
    fleet.s3.down = False
    fleet.s3.advance(31)
    fleet.statuses()
    assert other.get("b", "k") == b"old"
    assert fleet.statuses() == [200]


def test_with_s3_down_a_new_environment_has_the_fleets_copy(fleet: FakeFleet) -> None:
    fleet.cache().get("b", "k")
    fleet.s3.down = True
    new = fleet.cache()
    assert not new.entry("b", "k").stale
    fleet.s3.advance(600)
    another = fleet.cache()
    assert (another.entry("b", "k").stale, another.get("b", "k")) == (True, b"old")


def test_after_a_restore_the_fleet_tells_what_is_current(fleet: FakeFleet) -> None:
    one, other = fleet.cache(), fleet.cache()
    one.get("b", "k")
    one.suspend()
    fleet.s3.advance(61)
    other.get("b", "k")
    fleet.statuses()
    one.resume()
    assert one.get("b", "k") == b"old"
    assert fleet.statuses() == []
    assert one.stats().shared_hits == 1


def test_clear_drops_nothing_of_the_fleets(fleet: FakeFleet) -> None:
    one, other = fleet.cache(), fleet.cache()
    one.get("b", "k")
    fleet.s3.advance(1)
    one.clear()
    assert other.get("b", "k") == b"old"
    assert fleet.statuses() == [200]
    assert one.get("b", "k") == b"old"
    assert fleet.statuses() == [200], "who clears wants it from S3"


# -- the lease -------------------------------------------------------------------------------------------------------------


def test_who_has_no_time_for_the_fleet_asks_s3(fleet: FakeFleet) -> None:
    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 5000

    fleet.cache().get("b", "k")
    fleet.statuses()
    other = fleet.cache(shared_timeout=1.0)
    with s3warm.deadline(Context(), reserve=0.5):
        assert other.get("b", "k") == b"old"
    assert fleet.statuses() == [200]
    another = fleet.cache(shared_timeout=0.5)
    with s3warm.deadline(Context(), reserve=0.5):
        assert another.get("b", "k") == b"old"
    assert fleet.statuses() == []


def test_of_two_environments_one_asks_and_the_other_gets_what_it_brings(fleet: FakeFleet) -> None:
    one, other = fleet.cache(), fleet.cache()
    found: list[bytes] = []
    waiting = threading.Thread(target=lambda: found.append(other.get("b", "k")))

    def others_begin(_: Request) -> None:
        fleet.s3.before_answer = None
        waits = threading.Event()
        leases = other._beyond.leases  # type: ignore[attr-defined]
        leases._sleep = lambda seconds: waits.set()
        waiting.start()
        assert waits.wait(10)

    fleet.s3.before_answer = others_begin
    found.append(one.get("b", "k"))
    waiting.join(10)
    assert found == [b"old", b"old"]
    assert fleet.statuses() == [200]
    assert (other.stats().shared_hits, other.stats().misses) == (1, 0)
    assert fleet.client().keys("*:lease") == []


@pytest.mark.parametrize("body", [noise(2 * 2**20), b"secret"], ids=["too large", "KMS"])
def test_nobody_waits_for_a_body_that_is_not_shared(fleet: FakeFleet, body: bytes) -> None:
    headers = {"x_amz_server_side_encryption": "aws:kms"} if len(body) < 100 else {}
    fleet.s3.put("s3://b/x", body, **headers)
    one, other = fleet.cache(), fleet.cache()
    one.get("b", "x")
    other._beyond.leases._sleep = lambda _: pytest.fail("it waits")  # type: ignore[attr-defined]
    assert other.get("b", "x") == body
    assert fleet.statuses() == [200, 200]


def test_who_fails_leaves_word_so_that_the_others_ask_at_once(fleet: FakeFleet) -> None:
    one, other = fleet.cache(), fleet.cache()
    with pytest.raises(ObjectNotFoundError):
        one.get("b", "missing")
    other._beyond.leases._sleep = lambda _: pytest.fail("it waits")  # type: ignore[attr-defined]
    with pytest.raises(ObjectNotFoundError):
        other.get("b", "missing")
    assert fleet.statuses() == [404, 404]


# -- trust -----------------------------------------------------------------------------------------------------------------


def test_an_older_body_under_a_newer_head_is_refused_and_counted(fleet: FakeFleet) -> None:
    one = fleet.cache()
    one.get("b", "k")
    client = fleet.client()
    (name,) = client.keys("s3warm:*}")
    old = client.hgetall(name)
    fleet.s3[URI] = b"new"
    fleet.s3.advance(61)
    one.get("b", "k")
    client.hset(name, "b", old[b"b"])
    fleet.statuses()
    told: list[str] = []
    other = FleetCache(fleet.s3, fleet.client(), ttl=60, on_event=lambda event: told.append(event.name))
    with other:
        assert other.get("b", "k") == b"new"
        assert fleet.statuses() == [200]
        assert other.stats().shared_refused == 1
        assert told == ["shared_refused", "fetched"]
        assert fleet.cache().get("b", "k") == b"new"
        assert fleet.statuses() == [], "it was mended"


def test_a_fleet_needs_a_secret_and_a_name() -> None:
    with pytest.raises(ConfigurationError, match="needs shared_secret"):
        Cache(shared_url="redis://localhost", namespace="app", disk_budget=0)
    with pytest.raises(ConfigurationError, match="needs namespace"):
        Cache(shared_url="redis://localhost", shared_secret=SECRET, disk_budget=0)
    with pytest.raises(TypeError, match="shared_client must be a client of redis-py or valkey-py, or None, not str"):
        Cache(shared_client="redis://localhost", shared_secret=SECRET, namespace="app", disk_budget=0)


@pytest.mark.parametrize("name", ["S3WARM_DISABLED", "S3WARM_OFFLINE"])
def test_a_switch_leaves_the_fleet_alone(fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    fleet.cache().get("b", "k")
    monkeypatch.setenv(name, "1")
    fleet.statuses()
    cache = fleet.cache()
    assert cache.get("b", "k") == b"old"
    assert fleet.statuses() == [200]
    with pytest.raises(ConfigurationError, match=f"{name} has turned it off"):
        cache.invalidate("b", "k", everywhere=True)


def test_a_servers_words_are_one_line_of_the_error(fleet: FakeFleet) -> None:
    class Shouting:
        def __getattr__(self, name: str) -> Any:
            if name in ("aclose", "connection_pool"):
                raise AttributeError(name)

            def shout(*_arguments: object, **_named: object) -> Any:
                raise OSError("no\n" * 100_000)

            return shout

    with FleetCache(fleet.s3, Shouting()) as cache, pytest.raises(FleetUnavailableError, match="OSError: no no") as caught:
        cache.invalidate("b", "k", everywhere=True)
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)
    closed = fleet.cache()
    closed.close()
    with pytest.raises(FleetUnavailableError, match="it is closed"):
        closed.invalidate("b", "k", everywhere=True)


def test_who_tells_the_fleet_insists(fleet: FakeFleet) -> None:
    one, other = fleet.cache(), fleet.cache()
    other.get("b", "k")
    fleet.state.connected = False
    one.get("b", "k")
    with pytest.raises(FleetUnavailableError, match="ConnectionError") as caught:
        one.invalidate("b", "k", everywhere=True)
    assert isinstance(caught.value.__cause__, Exception)
    fleet.state.connected = True
    fleet.s3[URI] = b"new"
    fleet.s3.advance(0.5)  # it would be left in peace for longer
    one.invalidate("b", "k", everywhere=True)
    fleet.s3.advance(1)
    assert other.get("b", "k") == b"new"


@pytest.mark.parametrize(
    "client", [fakeredis.FakeRedis, fakeredis.FakeRedis(decode_responses=True), fakeredis.aioredis.FakeRedis()]
)
def test_a_client_that_cannot_be_used_is_refused(client: Any) -> None:
    with pytest.raises(TypeError, match=r"^shared_client must "):
        Cache(shared_client=client, shared_secret=SECRET, namespace="app", disk_budget=0)


def test_a_fake_s3_dials_nobody() -> None:
    from s3warm.testing import FakeCache

    s3 = FakeS3({URI: b"old"})
    with FakeCache(s3, shared_url="redis://127.0.0.1:1", shared_secret=SECRET) as cache:
        assert cache.get("b", "k") == b"old"
        cache.invalidate("b", "k", everywhere=True)
        assert cache.stats().shared_errors == 0
