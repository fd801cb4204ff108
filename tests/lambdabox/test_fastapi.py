"""A web application in Lambda: FastAPI, Mangum and `s3warm.aio` under AWS's own runtime client."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lambdabox.box import LambdaBox
from tests.support.static_origin import StaticOrigin
from tests.support.web import http_event

HANDLER = Path(__file__).parent / "handlers" / "fastapi_app.py"

MISSING = [name for name in ("fastapi", "mangum") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.usefixtures("boxes"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (dependency group lambda)"),
]


@pytest.fixture
def origin() -> Iterator[StaticOrigin]:
    with StaticOrigin() as made:
        for key in ("a", "b", "c"):
            made.put("bucket", key, f"old {key}".encode())
        yield made


def box(origin: StaticOrigin, **environ: str) -> LambdaBox:
    return LambdaBox(HANDLER, 512, environ={"AWS_ENDPOINT_URL": origin.endpoint, **environ})


def ask(made: LambdaBox, path: str) -> tuple[int, str, str | None]:
    """Status, body and whether it was stale; nothing of ours is at work after the answer."""
    answer: dict[str, Any] = made.invoke(http_event(path))
    assert answer["threads"] == []
    return answer["statusCode"], answer["body"], answer["headers"].get("x-stale")


def test_cold_and_warm_requests_and_two_at_once(origin: StaticOrigin) -> None:
    with box(origin) as made:
        assert ask(made, "/one/a") == (200, "old a", "False")
        assert len(origin.requests()) == 1
        for _ in range(3):
            assert ask(made, "/one/a") == (200, "old a", "False")
        assert len(origin.requests()) == 1
        assert ask(made, "/two/b") == (200, '{"same":true,"body":"old b"}', None)
        assert len(origin.requests()) == 2
        made.crash()
        assert ask(made, "/one/a") == (200, "old a", "False"), "from /tmp"
        assert len(origin.requests()) == 2
        assert made.oom_kills() == 0


def test_the_ttl_is_over_and_s3_is_down(origin: StaticOrigin) -> None:
    with box(origin, S3WARM_TTL="0.001") as made:
        assert ask(made, "/one/a") == (200, "old a", "False")
        assert ask(made, "/one/a") == (200, "old a", "False")
        assert [request.status for request in origin.requests()] == [200, 304]
        origin.put("bucket", "a", b"new a")
        assert ask(made, "/one/a") == (200, "new a", "False")
        origin.close()
        assert ask(made, "/one/a") == (200, "new a", "True")
        status, body, _ = ask(made, "/one/c")
        assert (status, "s3://bucket/c" in body) == (503, True)
