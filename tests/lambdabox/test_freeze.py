"""Between invocations Lambda freezes the environment: time passes, and connections die of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.lambdabox.box import LambdaBox
from tests.processes.relay import Relay
from tests.support.entries import noise
from tests.support.static_origin import StaticOrigin
from tests.support.threads import until

ACCOUNT = Path(__file__).parent / "handlers" / "account.py"
MIB = 2**20
PART = 4 * MIB
PATIENCE = 30.0

pytestmark = pytest.mark.usefixtures("boxes")

losses = pytest.mark.parametrize("lose", [Relay.reset, Relay.vanish], ids=["reset", "vanished"])


@pytest.fixture
def origin() -> Iterator[StaticOrigin]:
    with StaticOrigin() as made:
        yield made


@pytest.fixture
def relay(origin: StaticOrigin) -> Iterator[Relay]:
    with Relay(origin.endpoint) as made:
        yield made


def test_time_that_was_slept_counts_towards_the_ttl(origin: StaticOrigin) -> None:
    etag = origin.put("bucket", "key", b"body")
    event = {"bucket": "bucket", "key": "key"}
    with LambdaBox(ACCOUNT, 256, 64, _environ(origin.endpoint) | {"S3WARM_TTL": "0.5"}) as box:
        first = box.invoke(event)
        expired = time.time() + first["expires_in"]
        box.freeze()
        until(lambda: time.time() > expired)
        second = box.invoke(event)
    assert second["pid"] == first["pid"]
    assert second["sum"] == first["sum"] == _sum(b"body")
    assert second["stats"]["revalidated"] == 1
    assert [(served.if_none_match, served.status) for served in origin.requests()] == [("", 200), (etag, 304)]


@losses
@pytest.mark.parametrize("client", ["lean", "boto3"])
@pytest.mark.parametrize("key", ["held", "new"])
def test_a_connection_that_died_meanwhile_costs_one_more_attempt(
    origin: StaticOrigin, relay: Relay, key: str, client: str, lose: Callable[[Relay], None]
) -> None:
    origin.put("bucket", "held", b"held")
    origin.put("bucket", "new", b"new")
    with LambdaBox(ACCOUNT, 256, 64, _environ(relay.endpoint) | {"S3WARM_ORIGIN": client}) as box:
        first = box.invoke({"bucket": "bucket", "key": "held"})
        assert first["stats"]["origin_requests"] == 1
        log = box.log
        box.freeze()
        lose(relay)
        later = box.invoke({"bucket": "bucket", "key": key, "ttl": 0})
        again = box.invoke({"bucket": "bucket", "key": key, "ttl": 0})
        assert box.log == log  # not a word
    assert later["pid"] == first["pid"]
    assert later["sum"] == again["sum"] == _sum(key.encode())
    counted = {"held": "revalidated", "new": "misses"}[key]
    assert (later["stats"][counted], later["stats"]["errors"], later["stats"]["stale_served"]) == (1, 0, 0)
    # A reset is seen before anything is sent; that a connection has vanished shows when it is used, which the lean client mends itself.
    assert later["stats"]["origin_requests"] == (1 if lose is Relay.reset or client == "lean" else 2)
    assert again["stats"]["origin_requests"] == 1
    assert len(relay.senders()) == 2
    assert len(origin.requests()) == 3


@losses
@pytest.mark.parametrize("way", ["get", "as_file"])
def test_a_transfer_that_was_frozen_in_the_middle_goes_on(
    origin: StaticOrigin, relay: Relay, way: str, lose: Callable[[Relay], None]
) -> None:
    body = noise(6 * PART)
    origin.put("bucket", "large", body)
    origin.pace(latency=0, rate=6e6)
    with LambdaBox(ACCOUNT, 512, 128, _environ(relay.endpoint)) as box, ThreadPoolExecutor(1) as pool:
        box.invoke(_warm(origin))
        origin.forget()
        log = box.log
        answer = pool.submit(box.invoke, {"bucket": "bucket", "key": "large", "way": way})
        until(lambda: sum(served.sent for served in origin.requests()) > len(body) // 2)
        box.freeze()
        lose(relay)
        assert not answer.done()
        before = origin.requests()
        box.thaw()
        after: dict[str, Any] = answer.result(PATIENCE)
        assert box.log == log
    assert after["sum"] == _sum(body)
    assert (after["stats"]["misses"], after["stats"]["errors"], after["stats"]["corrupt"]) == (1, 0, 0)
    repairs = origin.requests()[len(before) :]
    assert repairs
    assert all(served.range and served.if_match for served in repairs)
    assert any(_start(served.range) % PART for served in repairs)  # they go on where a part broke


def _warm(origin: StaticOrigin) -> dict[str, str]:
    """The event that makes the runtime, the client and a connection."""
    origin.put("bucket", "small", b"small")
    return {"bucket": "bucket", "key": "small"}


def _environ(endpoint: str) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL_S3": endpoint, "S3WARM_TTL_JITTER": "0"}


def _sum(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _start(span: str) -> int:
    return int(span.removeprefix("bytes=").partition("-")[0])
