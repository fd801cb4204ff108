"""The log of what was invalidated: read on from where one stopped, and never believed where something is missing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import fakeredis
import pytest
from redis import exceptions

from s3warm.keys import ObjectKey
from s3warm.terms import terms
from s3warm.tiers import tidings
from s3warm.tiers.sealed import Sealer
from s3warm.tiers.server import Senseless, Server
from s3warm.tiers.tidings import Tiding, Tidings
from tests.support.counted import CountedRedis

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = b"a secret of sixteen bytes"
LOG = Sealer("ns", SECRET).log_name()
TOLD = Tiding(ObjectKey("bucket", "a/b.json"), 1.7e9)


class Environment:
    """One of the fleet."""

    def __init__(self, state: fakeredis.FakeServer, secret: bytes = SECRET) -> None:
        self.client = CountedRedis.of(state)
        self.refused: list[str] = []
        self.now = 0.0
        self.failed: list[object] = []
        server = Server(
            lambda: self.client, lambda _: None, clock=lambda: self.now, failed=lambda _, error: self.failed.append(error)
        )
        self.sealer = Sealer("ns", secret)
        self.tidings = Tidings(server, self.sealer, lambda error: self.refused.append(str(error)))

    def write(self, said: Any) -> None:
        text = json.dumps(said).encode()
        self.client.xadd(self.sealer.log_name(), {"e": text, "s": self.sealer.sum(text)})


@pytest.fixture
def state() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


def told(number: int) -> Tiding:
    return Tiding(ObjectKey("bucket", f"key {number} \N{SNOWMAN}"), 1.7e9 + number)


@pytest.mark.parametrize(
    "where",
    [
        TOLD.object,
        TOLD.object._replace(version_id="v1"),
        TOLD.object._replace(request=terms({"RequestPayer": "requester"})),
        ObjectKey("bucket", "кл\x00юч \N{SNOWMAN}" * 30),
    ],
)
def test_what_one_tells_all_others_hear_once(state: fakeredis.FakeServer, where: ObjectKey) -> None:
    one, *others = Environment(state), Environment(state), Environment(state)
    tiding = Tiding(where, 1.7e9)
    assert [other.tidings.news().told for other in others] == [[], []]
    assert one.tidings.tell(tiding)
    assert [other.tidings.news().told for other in others] == [[tiding], [tiding]]
    assert [other.tidings.news().told for other in others] == [[], []]
    assert Environment(state).tidings.news().told == [tiding], "who comes later hears it too: its disk may be older"
    assert others[0].client.taken() == ["XRANGE", "BEGIN", "XRANGE", "XRANGE"], "one round trip a second, where there is a log"


def test_a_secret_of_the_customers_is_not_told(state: fakeredis.FakeServer) -> None:
    key = b"0123456789abcdef0123456789ABCDEF"
    Environment(state).tidings.tell(Tiding(TOLD.object._replace(request=terms({"SSECustomerKey": key})), 1.7e9))
    assert key not in repr(Environment(state).client.xrange(LOG)).encode()


def test_many_are_heard_page_by_page(state: fakeredis.FakeServer) -> None:
    one, other = Environment(state), Environment(state)
    one.tidings.tell(TOLD)
    other.tidings.news()
    many = [told(number) for number in range(3 * tidings._PAGE + 5)]
    for tiding in many:
        one.tidings.tell(tiding)
    other.client.taken()
    assert other.tidings.news().told == many
    assert other.client.taken() == ["XRANGE"] * 4


def test_who_comes_late_knows_that_some_is_missing(state: fakeredis.FakeServer) -> None:
    one, other = Environment(state), Environment(state)
    one.tidings.tell(TOLD)
    other.tidings.news()
    for number in range(tidings._KEPT + tidings._PAGE):
        one.tidings.tell(told(number))
    assert other.tidings.news().complete is False
    assert other.tidings.news().told == [], "and goes on from what is the last now"
    one.tidings.tell(TOLD)
    assert other.tidings.news().told == [TOLD]
    assert Environment(state).tidings.news().complete is False


def test_a_log_is_bounded(state: fakeredis.FakeServer) -> None:
    one = Environment(state)
    for number in range(tidings._KEPT + 300):
        one.tidings.tell(told(number))
    assert one.client.xlen(LOG) <= tidings._KEPT + 200
    assert one.client.pttl(LOG) > 6 * 86_400_000


@pytest.mark.parametrize("lost", ["deleted", "another server", "another server with news", "another type", "last entry gone"])
def test_a_log_that_is_gone_tells_that_it_is_gone(state: fakeredis.FakeServer, lost: str) -> None:
    one, other = Environment(state), Environment(state)
    one.tidings.tell(TOLD)
    one.tidings.tell(told(1))
    assert other.tidings.news().told == [TOLD, told(1)]
    if lost == "last entry gone":
        one.client.xdel(LOG, one.client.xrevrange(LOG, count=1)[0][0])
    else:
        one.client.delete(LOG)
    if lost == "another server with news":
        one.client.xadd(LOG, {"x": "y"}, id="1-1")  # its clock is another
    if lost == "another type":
        one.client.set(LOG, "x")
    assert other.tidings.news().complete is False
    assert other.tidings.news().told == [], "it is said once"
    assert one.tidings.tell(told(2))
    assert other.tidings.news().told == [told(2)]


NONE: list[Any] = [None, 1, [], {}, ""]
ODD: list[Any] = [
    *(None, 1, "text", [], {}, [1.7e9], [1.7e9, "bucket", "key"], [1.7e9, "bucket", "key", None, None, None]),
    *([at, "bucket", "key", None, None] for at in ("x", None, 10**400)),
    *([1.7e9, bucket, "key", None, None] for bucket in (*NONE, "no bucket", "s3://b/k")),
    *([1.7e9, "bucket", key, None, None] for key in (*NONE, "/" * 100_000, "\ud800")),
    *([1.7e9, "bucket", "key", version, None] for version in (*NONE[1:], "\n")),
    *([1.7e9, "bucket", "key", None, asked] for asked in (*NONE[1:4], ["SSECustomerKey"])),
]


@pytest.mark.parametrize("said", ODD, ids=lambda said: repr(said)[:40])
def test_what_is_no_tiding_is_refused_whoever_has_written_it(state: fakeredis.FakeServer, said: Any) -> None:
    one = Environment(state, secret=b"")
    one.write(said)
    one.write([1.7e9, "bucket", "a/b.json", None, None])
    assert one.tidings.news().told == [TOLD]
    assert len(one.refused) == 1


@pytest.mark.parametrize(
    "fields", [{"e": "[]"}, {"s": "x"}, {"x": "y"}, {"e": b"\xff", "s": bytes(32)}, {"e": "[" * 100_000, "s": "x"}], ids=repr
)
def test_what_is_not_authentic_is_refused(state: fakeredis.FakeServer, fields: Any) -> None:
    one = Environment(state)
    one.client.xadd(LOG, fields)
    one.tidings.tell(TOLD)
    assert one.tidings.news().told == [TOLD]
    assert len(one.refused) == 1


def test_anothers_secret_tells_nothing(state: fakeredis.FakeServer) -> None:
    one, other = Environment(state), Environment(state, secret=b"another secret, as long")
    other.tidings.tell(TOLD)
    assert one.tidings.news().told == []
    entry = other.client.xrange(other.sealer.log_name())[0][1]
    one.client.xadd(LOG, entry)
    assert one.tidings.news().told == []
    assert one.refused == ["its HMAC is wrong"]


@pytest.mark.parametrize(
    "lie",
    [
        None,
        1,
        b"OK",
        "OK",
        [1],
        [None],
        [[b"1-1"]],
        [[1, {}]],
        [["1-1", {}]],
        [[b"x", {}]],
        [[b"1-1-1", {}]],
        [[b"9" * 99, {}]],
        {b"a": 1},
    ],
    ids=repr,
)
def test_a_server_that_makes_no_sense_says_nothing_and_leads_nobody_astray(state: fakeredis.FakeServer, lie: Any) -> None:
    one = Environment(state)
    one.tidings.tell(TOLD)
    assert one.tidings.news().told == [TOLD]
    one.client.instead = lambda _name, _answer: lie
    assert one.tidings.news().told == []
    assert [type(error) for error in one.failed] == [Senseless]
    one.client.instead = None
    one.now += 60
    one.tidings.tell(told(1))
    assert one.tidings.news().told == [told(1)]


@pytest.mark.parametrize("lie", [[[b"1-1", None]], [[b"1-1", [b"e"]]]], ids=repr)
def test_an_entry_that_makes_no_sense_is_refused(state: fakeredis.FakeServer, lie: Any) -> None:
    one = Environment(state)
    one.client.instead = lambda _name, _answer: lie
    assert one.tidings.news().told == []
    assert len(one.refused) == 1


def test_who_cannot_tell_says_so(state: fakeredis.FakeServer) -> None:
    failing = {"XADD", "PEXPIRE"}

    def fail(name: str, answer: Callable[[], Any]) -> Any:
        if name in failing:
            failing.discard(name)
            raise exceptions.ResponseError("OOM command not allowed")
        return answer()

    one = Environment(state)
    one.client.instead = fail
    for _ in range(2):
        assert not one.tidings.tell(TOLD)
        one.now += 60
    assert one.tidings.tell(TOLD)


def test_a_server_that_does_not_answer_has_no_news(state: fakeredis.FakeServer) -> None:
    def fail(_name: str, _answer: object) -> Any:
        raise exceptions.TimeoutError

    one = Environment(state)
    one.tidings.tell(TOLD)
    one.client.instead = fail
    assert one.tidings.news().told == []
    one.client.instead = None
    one.now += 1
    assert one.tidings.news().told == [TOLD]
