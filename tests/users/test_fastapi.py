"""FastAPI applications that await the cache, as a server runs them and as Mangum does in Lambda."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

import s3warm
from s3warm.testing import fake_s3
from tests.support.threads import wait
from tests.support.web import http_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3warm.origin.base import Request
    from s3warm.testing import FakeS3

fastapi = pytest.importorskip("fastapi", reason="needs the package fastapi, of the dependency group `e2e`")

pytestmark = pytest.mark.e2e


class Context:
    """What Lambda passes to a handler."""

    def __init__(self, milliseconds: int) -> None:
        self._milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    with fake_s3({"s3://b/flags.json": b'{"dark": true}'}, ttl=60) as made:
        yield made


@pytest.fixture
def app() -> Any:
    made = fastapi.FastAPI()

    @made.get("/flags")  # type: ignore[untyped-decorator]
    async def flags() -> Any:
        return await s3warm.aio.get("b", "flags.json", transform="json")

    @made.get("/missing")  # type: ignore[untyped-decorator]
    async def missing() -> Any:
        try:
            return await s3warm.aio.get("b", "missing")
        except s3warm.OriginUnavailableError as error:
            raise fastapi.HTTPException(503, str(error)) from error

    return made


@pytest.fixture
def handler(app: Any) -> Iterator[Any]:
    """The application as a handler; Mangum runs it in the loop of the thread, and makes one, which it leaves open, where there is none."""
    mangum = pytest.importorskip("mangum", reason="needs the package mangum, of the dependency group `e2e`")
    with asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())
        yield mangum.Mangum(app, lifespan="off")
        asyncio.set_event_loop(None)


def test_under_mangum(handler: Any, s3: FakeS3) -> None:
    for _ in range(2):
        answer = handler(http_event("/flags"), Context(3000))
        assert (answer["statusCode"], answer["body"]) == (200, '{"dark":true}')
    assert len(s3.requests) == 1
    s3.advance(61)
    assert handler(http_event("/flags"), Context(3000))["statusCode"] == 200
    assert [request.status for request in s3.requests] == [200, 304]


def test_the_deadline_of_the_invocation_holds_in_the_application(handler: Any, s3: FakeS3) -> None:
    with s3warm.deadline(Context(100)):
        answer = handler(http_event("/missing"), Context(100))
    assert (answer["statusCode"], s3.requests) == (503, [])


def test_a_server_that_answers_many_at_once_asks_s3_once(app: Any, s3: FakeS3) -> None:
    httpx = pytest.importorskip("httpx", reason="needs the package httpx, of the dependency group `e2e`")
    entered, go = threading.Event(), threading.Event()

    def hold(request: Request) -> None:
        entered.set()
        wait(go)

    async def main() -> list[Any]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            answers = [asyncio.create_task(client.get("/flags")) for _ in range(50)]
            await asyncio.to_thread(wait, entered)
            go.set()
            return [answer.json() for answer in await asyncio.gather(*answers)]

    s3.before_answer = hold
    assert asyncio.run(main()) == [{"dark": True}] * 50
    assert len(s3.requests) == 1
