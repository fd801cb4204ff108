"""The fault proxy: a client without any patience sees each fault as it is, and each time the same ones."""

from __future__ import annotations

import contextlib
import http.client
import random
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.faults.proxy import KINDS, FaultProxy
from tests.support.embedded import EmbeddedS3
from tests.support.threads import until
from tests.support.worlds import client

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = random.Random(1).randbytes(50_000)
PATIENCE = 30.0  # seconds, for what happens at once unless it never does


class Answer(NamedTuple):
    """What a client has got of a response, and how it ended: "" if as it should."""

    status: int
    etag: str
    body: bytes
    ended: str


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedS3]:
    with EmbeddedS3() as server:
        server.reset()
        direct = client(server.endpoint, "key", "secret")
        direct.create_bucket(Bucket="bucket")
        direct.put_object(Bucket="bucket", Key="object", Body=BODY, ACL="public-read")
        direct.put_object(Bucket="bucket", Key="empty", Body=b"", ACL="public-read")
        direct.close()
        yield server
        server.reset()


@pytest.fixture
def proxy(server: EmbeddedS3) -> Iterator[FaultProxy]:
    with FaultProxy(server.address, late=0.01) as proxy:
        yield proxy


def ask(
    proxy: FaultProxy,
    path: str = "/bucket/object",
    *,
    method: str = "GET",
    patience: float = PATIENCE,
    headers: dict[str, str] | None = None,
) -> Answer:
    """One request over a connection of its own, which is closed when nothing has come for that long."""
    with contextlib.closing(http.client.HTTPConnection(*proxy.address, timeout=patience)) as connection:
        got, status, etag = bytearray(), 0, ""
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            status, etag = response.status, response.headers.get("ETag", "")
            while piece := response.read1(8192):
                got += piece
            ended = "short" if response.length else ""
        except ConnectionResetError as error:
            # `RemoteDisconnected` is one too: an end of file in place of an answer.
            ended = "hung up" if isinstance(error, http.client.RemoteDisconnected) else "reset"
        except http.client.IncompleteRead:
            ended = "short"
        except TimeoutError:
            ended = "nothing more"
        return Answer(status, etag, bytes(got), ended)


def test_without_chaos_all_passes(proxy: FaultProxy) -> None:
    assert ask(proxy)[:] == (200, ask(proxy).etag, BODY, "")
    assert (proxy.met, proxy.methods) == ({}, {"GET": 2})


@pytest.mark.parametrize(("kind", "ended"), [("reset", "reset"), ("truncate", "short"), ("stall", "nothing more")])
def test_a_body_breaks_off_within(proxy: FaultProxy, kind: str, ended: str) -> None:
    proxy.chaos(1, 1.0, [kind])
    answer = ask(proxy, patience=0.3 if kind == "stall" else PATIENCE)
    assert (answer.status, answer.ended) == (200, ended)
    assert len(answer.body) < len(BODY)
    assert BODY.startswith(answer.body)
    assert proxy.met == {kind: 1}


def test_a_stall_ends_when_the_client_hangs_up(proxy: FaultProxy) -> None:
    proxy.chaos(1, 1.0, ["stall"])
    ask(proxy, patience=0.05)
    until(lambda: len(proxy.exchanges) == 1)  # which is when the proxy's side is over
    assert proxy.exchanges[0].response_body_bytes < len(BODY)


def test_one_bit_of_a_body_is_flipped(proxy: FaultProxy) -> None:
    etag = ask(proxy).etag
    proxy.chaos(1, 1.0, ["flip"])
    answer = ask(proxy)
    assert (answer.status, answer.etag, answer.ended) == (200, etag, "")
    differences = int.from_bytes(answer.body) ^ int.from_bytes(BODY)
    assert (len(answer.body), differences.bit_count()) == (len(BODY), 1)
    assert proxy.met == {"flip": 1}


@pytest.mark.parametrize(("kind", "code"), [("503", b"<Code>SlowDown</Code>"), ("500", b"<Code>InternalError</Code>")])
def test_an_error_of_s3_takes_the_place_of_the_answer(proxy: FaultProxy, kind: str, code: bytes) -> None:
    with contextlib.closing(http.client.HTTPConnection(*proxy.address, timeout=PATIENCE)) as connection:
        proxy.chaos(1, 1.0, [kind])
        connection.request("GET", "/bucket/object")
        sent_over = connection.sock
        response = connection.getresponse()
        assert (response.status, code in response.read(), response.headers["ETag"]) == (int(kind), True, None)
        proxy.chaos(1, 0.0, [])
        connection.request("GET", "/bucket/object")
        assert connection.sock is sent_over, "the connection stays open, and is of use"
        assert connection.getresponse().read() == BODY
    assert [each.status for each in proxy.exchanges] == [int(kind), 200]
    assert proxy.met == {kind: 1}


def test_a_refused_request_gets_no_answer(proxy: FaultProxy) -> None:
    proxy.chaos(1, 1.0, ["refuse"])
    assert ask(proxy) == (0, "", b"", "hung up")
    assert proxy.met == {"refuse": 1}
    assert proxy.methods == {"GET": 1}


def test_a_late_answer_is_whole(proxy: FaultProxy) -> None:
    proxy.chaos(1, 1.0, ["late"])
    answer = ask(proxy)
    assert (answer.status, answer.body, answer.ended) == (200, BODY, "")
    assert proxy.met == {"late": 1}


def test_a_late_answer_is_later_than_a_client_waits(proxy: FaultProxy) -> None:
    proxy.late = PATIENCE
    proxy.chaos(1, 1.0, ["late"])
    assert ask(proxy, patience=0.05) == (0, "", b"", "nothing more")


def test_what_has_no_body_has_none_that_could_break(proxy: FaultProxy) -> None:
    etag = ask(proxy).etag
    proxy.chaos(1, 1.0, ["reset", "truncate", "stall", "flip"])
    assert ask(proxy, "/bucket/empty")[2:] == (b"", "")
    assert ask(proxy, headers={"If-None-Match": etag})[::2] == (304, b"")
    assert ask(proxy, method="HEAD")[::2] == (200, b"")
    assert proxy.met == {}


def test_bits_are_flipped_where_that_shows_only(proxy: FaultProxy) -> None:
    proxy.chaos(1, 1.0, ["flip"])
    assert ask(proxy, headers={"Range": "bytes=5-9"})[2:] == (BODY[5:10], "")
    assert b"<Key>object</Key>" in ask(proxy, "/bucket?list-type=2").body
    assert b"NoSuchKey" in ask(proxy, "/bucket/missing").body
    assert proxy.met == {}


def test_only_gets_are_broken(proxy: FaultProxy) -> None:
    proxy.chaos(1, 1.0, ["503", "refuse"])
    assert ask(proxy, method="HEAD").status == 200
    assert proxy.methods == {"HEAD": 1}


def test_the_same_seed_draws_the_same_faults_whatever_the_order(proxy: FaultProxy) -> None:
    kinds = [kind for kind in KINDS if kind not in ("stall", "reset")]  # what a reset lets through is not its own to say
    drawn: list[dict[str, list[Answer]]] = []
    for order in (["object", "empty"], ["empty", "object"]):
        proxy.chaos(7, 0.5, kinds)
        answers: dict[str, list[Answer]] = {}
        for key in order:
            answers[key] = [ask(proxy, f"/bucket/{key}") for _ in range(24)]
        drawn.append(answers)
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0]["object"])) > 3
    proxy.chaos(8, 0.5, kinds)
    assert [ask(proxy) for _ in range(24)] != drawn[0]["object"]


def test_a_share_is_a_share(proxy: FaultProxy) -> None:
    proxy.chaos(3, 0.25, ["503"])
    broken = [ask(proxy).status == 503 for _ in range(200)]
    assert sum(broken) == proxy.met["503"]
    assert 25 < sum(broken) < 75  # of this seed: always the same number


def test_unknown_kinds_are_refused(proxy: FaultProxy) -> None:
    with pytest.raises(ValueError, match="no kinds of faults"):
        proxy.chaos(1, 1.0, ["gremlin"])
