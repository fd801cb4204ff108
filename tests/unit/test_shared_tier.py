"""The shared tier: what is admitted, for how long, and what never replaces what."""

from __future__ import annotations

from typing import Any

import fakeredis
import pytest

from s3warm.entries import Entry, Known
from s3warm.errors import ObjectTooLargeError
from s3warm.keys import ObjectKey, locate_tree
from s3warm.rules.prefixes import Rule, Rules
from s3warm.terms import terms
from s3warm.tiers.sealed import Sealer
from s3warm.tiers.server import Server
from s3warm.tiers.shared import SKEW, SharedTier
from tests.support.counted import CountedRedis
from tests.support.entries import NOW, an_entry, noise, text
from tests.support.mutations import lay
from tests.support.tiers import Plenty

LARGEST = 10_000
KMS, CUSTOMERS = "aws:kms", terms({"SSECustomerKey": bytes(32)})
RULES = Rules(
    [
        Rule("s3://bucket/open/", shared=True),
        Rule("s3://bucket/closed/", shared=False),
        Rule("s3://bucket/off-disk/", disk=False),
        Rule("s3://bucket/off-disk/open/", shared=True),
    ]
)


class Environment(SharedTier):
    """One of a fleet, with a clock of its own."""

    def __init__(self, state: fakeredis.FakeServer, *, ahead: float = 0.0, account: Any = None, largest: int = LARGEST) -> None:
        self.now = NOW + ahead
        self.told: list[str] = []
        self.client = CountedRedis.of(state)
        self.server = Server(
            lambda: self.client, lambda _: None, clock=lambda: self.now, failed=lambda *told: self.told.append(repr(told))
        )
        super().__init__(
            self.server,
            Sealer("ns", b"a secret of sixteen bytes"),
            largest=largest,
            level=1,
            keep=300.0,
            opted=RULES.in_fleet,
            account=account or Plenty(),
            clock=lambda: self.now,
            refused=lambda _, error: self.told.append(str(error)),
        )

    def kept(self, key: ObjectKey) -> set[bytes]:
        """The fields that the server has of an object."""
        return set(self.client.hgetall(self._sealer.name(key)))


@pytest.fixture
def state() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


def entry(body: bytes = b"body", key: str = "key", asked: Any = None, **info: Any) -> Entry:
    made = an_entry(body, key=key)
    return made._replace(object=made.object._replace(request=asked), info=made.info._replace(**info))


ALL, KNOWN, NOTHING = {b"t", b"h", b"b"}, {b"t", b"h"}, {b"g"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (entry(), ALL),
        (entry(b""), ALL),
        (entry(cache_control="max-age=5, must-revalidate"), ALL),
        (entry(encryption=KMS), KNOWN),
        (entry(encryption=KMS, key="open/k"), ALL),
        (entry(asked=CUSTOMERS), KNOWN),
        (entry(asked=CUSTOMERS, key="open/k"), ALL),
        (entry(asked=terms({"RequestPayer": "requester"})), ALL),
        (entry(cache_control="no-store"), NOTHING),
        (entry(cache_control="no-store", key="open/k"), ALL),
        (entry()._replace(expires_at=NOW - 1), NOTHING),  # no-cache, or of a mocked AWS: never fresh
        (entry(key="open/k")._replace(expires_at=NOW - 1), NOTHING),
        (entry(etag=""), NOTHING),
        (entry(etag="", key="open/k"), NOTHING),
        (entry(key="closed/k"), NOTHING),
        (entry(key="off-disk/k"), NOTHING),
        (entry(key="off-disk/open/k"), ALL),
        (entry()._replace(object=locate_tree("s3://bucket/key/")), NOTHING),
        (entry(noise(LARGEST)), ALL),
        (entry(noise(LARGEST + 1)), KNOWN),
        (entry(text(LARGEST * 8)), ALL),
        (entry(text(LARGEST * 8 + 1)), KNOWN),  # it is not tried
        (entry(noise(LARGEST // 2) + text(LARGEST * 4)), ALL),
        (entry(noise(LARGEST * 2) + text(LARGEST * 4)), KNOWN),  # it was tried, in vain
    ],
)
def test_what_is_admitted(state: fakeredis.FakeServer, given: Entry, kept: set[bytes]) -> None:
    tier = Environment(state)
    assert tier.put(given) == (kept == ALL)
    assert tier.kept(given.object) == kept
    assert tier.get(given.object) == (given if kept == ALL else None)
    seen = tier.look(given.object)
    assert seen is not None
    assert (seen.known is not None, seen.has_body) == (kept != NOTHING, kept == ALL)
    assert tier.told == []


@pytest.mark.parametrize("key", ["open/k", "closed/k", "off-disk/k", "k"])
def test_what_rules_keep_out_is_not_asked_for_either(state: fakeredis.FakeServer, key: str) -> None:
    assert Environment(state).excludes(ObjectKey("bucket", key)) == (key not in ("open/k", "k"))
    assert Environment(state).excludes(locate_tree("s3://bucket/open/"))


def test_bodies_that_compress_lie_there_compressed(state: fakeredis.FakeServer) -> None:
    tier = Environment(state)
    for body, codec in ((text(LARGEST), "zstd"), (noise(LARGEST), "raw")):
        tier.put(entry(body))
        held = tier.describe(entry().object)
        assert held is not None
        stored = tier.client.hget(tier._sealer.name(entry().object), "b")
        assert (held.tier, held.codec, held.size, held.stored_size) == ("shared", codec, len(body), len(stored))
        assert (codec == "raw") == (stored == body)


def test_what_is_known_without_a_body_takes_no_bytes_and_its_place(state: fakeredis.FakeServer) -> None:
    tier, known = Environment(state), entry()
    tier.put(known)
    tier.now += 1
    assert tier.bring(Known(known.object, known.info, NOW + 1, known.expires_at), b"")
    held = tier.describe(known.object)
    assert held is not None
    assert (held.stored_size, held.validated_at, tier.get(known.object)) == (0, NOW + 1, None)


@pytest.mark.parametrize(
    ("expires_at", "seconds"), [(NOW + 60, 360), (NOW, 300), (NOW + 1e6, 7 * 86_400), (float("inf"), 7 * 86_400)]
)
def test_it_is_kept_for_a_while_after_its_expiry(state: fakeredis.FakeServer, expires_at: float, seconds: float) -> None:
    tier, name = Environment(state), Environment(state)._sealer.name(entry().object)
    tier.put(entry()._replace(expires_at=expires_at))
    assert seconds - 5 < tier.client.pttl(name) / 1000 <= seconds
    tier.client.pexpire(name, 10)
    tier.refresh(entry().object, entry().etag, NOW, expires_at)
    assert seconds - 5 < tier.client.pttl(name) / 1000 <= seconds


def test_refresh_moves_times_and_no_body(state: fakeredis.FakeServer) -> None:
    tier, given = Environment(state), entry(text(5000))
    assert not tier.refresh(given.object, given.etag, NOW, NOW + 1)
    tier.put(given)
    tier.client.taken()
    assert tier.refresh(given.object, given.etag, NOW + 10, NOW + 70)
    assert tier.client.taken() == ["HMGET", "SWAP"]
    assert tier.get(given.object) == given._replace(validated_at=NOW + 10, expires_at=NOW + 70)
    assert not tier.refresh(given.object, '"another"', NOW + 20, NOW + 80)
    assert not tier.refresh(given.object, given.etag, NOW + 5, NOW + 99)
    assert tier.refresh(given.object, given.etag, NOW + 5, NOW + 65, supersede=True)
    assert tier.bring(Known(given.object, given.info, NOW + 6, given.expires_at), b"")
    assert tier.refresh(given.object, given.etag, NOW + 7, NOW + 67)
    assert tier.kept(given.object) == KNOWN


def test_refresh_changes_nothing_that_another_has_changed_meanwhile(state: fakeredis.FakeServer) -> None:
    one, other, given = Environment(state), Environment(state), entry()
    one.put(given)

    def meanwhile(name: str, answer: Any) -> Any:
        if name == "SWAP":
            one.client.instead = None
            other.put(entry(b"newer")._replace(validated_at=NOW + 1))
        return answer()

    one.client.instead = meanwhile
    assert not one.refresh(given.object, given.etag, NOW + 0.5, NOW + 60)
    found = one.get(given.object)
    assert found is not None
    assert found.body == b"newer"


def test_nothing_replaces_a_later_validation(state: fakeredis.FakeServer) -> None:
    one, other = Environment(state), Environment(state)
    later, earlier = entry(b"later")._replace(validated_at=NOW + 0.5), entry(b"earlier")
    assert one.put(later)
    assert not other.put(earlier)
    assert not other.bring(earlier, b"")
    assert not other.bring(Known(*earlier[:4]), b"")
    other.now = NOW + 1
    assert other.get(later.object) == later


def test_what_was_dropped_refuses_what_was_asked_before(state: fakeredis.FakeServer) -> None:
    one, other, third = Environment(state), Environment(state), Environment(state)
    one.put(entry()._replace(validated_at=NOW - 5))
    one.evict(entry().object)
    assert one.kept(entry().object) == NOTHING
    assert not other.bring(entry()._replace(validated_at=NOW + 0.9), b""), "whatever its clock says"
    assert third.get(entry().object) is None
    assert 290 < one.client.pttl(one._sealer.name(entry().object)) / 1000 <= 300
    one.now = other.now = third.now = NOW + 2
    seen = other.look(entry().object)
    assert seen is not None
    assert other.bring(entry()._replace(validated_at=NOW + 0.1), seen.generation)
    assert one.bring(entry()._replace(validated_at=NOW + 0.2), seen.generation), "it is the same until it is dropped again"
    assert third.get(entry().object) is not None
    assert one.get(entry().object) is not None, "what was validated since counts for it as well"


def test_where_the_server_cannot_be_told_this_process_knows_all_the_same(state: fakeredis.FakeServer) -> None:
    def fail(_name: str, _answer: object) -> Any:
        raise TimeoutError

    one = Environment(state)
    one.put(entry())
    one.client.instead = fail
    assert not one.withdraw(entry().object)
    one.client.instead = None
    one.now += 1.5
    assert one.get(entry().object) is None
    seen = one.look(entry().object)
    assert seen is not None
    assert seen.known is None
    assert Environment(state).get(entry().object) is not None


@pytest.mark.parametrize("every", [False, True])
def test_expired_it_is_kept_for_a_304_and_for_others(state: fakeredis.FakeServer, every: bool) -> None:
    one, other, given = Environment(state), Environment(state), entry()
    one.put(given)
    one.client.taken()
    one.now += 1
    one.expire_all() if every else one.expire(given.object)
    assert one.client.taken() == [], "nobody else is told"
    found = one.get(given.object)
    assert found is not None
    assert found.expires_at < found.validated_at
    assert other.get(given.object) == given
    other.refresh(given.object, given.etag, NOW + 2.5, NOW + 60)
    one.now += 2
    assert one.get(given.object) == given._replace(validated_at=NOW + 2.5, expires_at=NOW + 60)


def test_cleared_it_has_nothing_of_before_and_others_have_all(state: fakeredis.FakeServer) -> None:
    one, other = Environment(state), Environment(state)
    one.put(entry())
    one.clear()
    seen = one.look(entry().object)
    assert seen is not None
    assert (one.get(entry().object), seen.known, one.describe(entry().object)) == (None, None, None)
    assert other.get(entry().object) == entry()
    assert one.usage() == (0, 0, 0)


@pytest.mark.parametrize(("ahead", "fresh"), [(0.0, True), (SKEW, True), (SKEW + 0.5, False), (-SKEW, True), (-30.0, True)])
def test_clocks_may_differ_by_a_second(state: fakeredis.FakeServer, ahead: float, fresh: bool) -> None:
    writer, reader = Environment(state, ahead=ahead), Environment(state)
    writer.put(entry()._replace(validated_at=writer.now, expires_at=writer.now + 60))
    seen = reader.look(entry().object)
    assert seen is not None
    assert seen.known is not None
    assert (seen.known.validated_at <= reader.now < seen.known.expires_at) == fresh
    assert seen.known.validated_at == (reader.now if 0 < ahead <= SKEW else writer.now)


def test_a_time_from_far_in_the_future_keeps_nobody_out(state: fakeredis.FakeServer) -> None:
    ahead, one = Environment(state, ahead=3600), Environment(state)
    ahead.put(entry(b"ahead")._replace(validated_at=ahead.now))
    assert one.put(entry(b"now"))
    assert one.get(entry().object) == entry(b"now")


def test_what_does_not_fit_into_memory_is_left_to_s3(state: fakeredis.FakeServer) -> None:
    class Little(Plenty):
        def hold(self, where: ObjectKey, size: int) -> Any:
            raise ObjectTooLargeError.of(where, size, 1)

    Environment(state).put(entry(text(5000)))
    tier = Environment(state, account=Little())
    assert tier.get(entry().object) is None
    assert tier.told == []


@pytest.mark.parametrize("value", ["a string", ["a", "list"], {"a", "set"}], ids=["string", "list", "set"])
def test_what_is_of_another_type_is_refused_and_replaced(state: fakeredis.FakeServer, value: Any) -> None:
    tier, given = Environment(state), entry()
    name = tier._sealer.name(given.object)
    for ask in (tier.get, tier.describe):
        lay(tier.client, name, value if not isinstance(value, str) else value.encode())
        assert ask(given.object) is None
        assert tier.told == ["it is of another type"]
        tier.told.clear()
    assert not tier.refresh(given.object, given.etag, NOW, NOW + 1)
    assert tier.put(given)
    assert tier.get(given.object) == given


@pytest.mark.parametrize("lie", [1, b"OK", "text", [], [b"x"], [1, 2], [None, b"b", None, None], {"h": b"x"}], ids=repr)
def test_a_server_that_makes_no_sense_has_nothing(state: fakeredis.FakeServer, lie: Any) -> None:
    tier = Environment(state)
    tier.client.instead = lambda _name, _answer: lie
    assert tier.get(entry().object) is None
    tier.now += 60
    assert tier.look(entry().object) is None
    tier.now += 60
    assert tier.put(entry()) == (lie == 1)
    tier.now += 60
    assert not tier.refresh(entry().object, entry().etag, NOW, NOW + 1)


def test_what_was_written_outdates_what_others_are_fetching(state: fakeredis.FakeServer) -> None:
    writer, reader = Environment(state), Environment(state, ahead=0.9)
    seen = reader.look(entry().object)
    assert seen is not None
    assert writer.replace(entry(b"written"), seen.generation)
    assert not reader.bring(entry(b"older")._replace(validated_at=reader.now), seen.generation)
    found = reader.get(entry().object)
    assert found is not None
    assert found.body == b"written"
