"""SnapStart: what was cached before the snapshot is revalidated after the restore."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lambdabox.box import LambdaBox
from tests.support.static_origin import StaticOrigin

HANDLER = Path(__file__).parent / "handlers" / "snapstart.py"

pytestmark = pytest.mark.usefixtures("boxes")


@pytest.fixture
def origin() -> Iterator[StaticOrigin]:
    with StaticOrigin() as origin:
        for key in ("a", "b", "model"):
            origin.put("bucket", key, f"old {key}".encode())
        yield origin


def test_a_restored_environment_asks_before_it_serves(origin: StaticOrigin) -> None:
    environ = {
        "AWS_ENDPOINT_URL": origin.endpoint,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
        "S3WARM_TTL": "86400",
    }
    with LambdaBox(HANDLER, 512, environ=environ) as box:
        box.start()
        in_init = len(origin.requests())
        assert in_init == 3
        box.freeze()  # the snapshot, for hours
        origin.put("bucket", "b", b"new b")
        origin.put("bucket", "model", b"new model")
        first = box.invoke({})
        assert first["bodies"] == {"a": "old a", "b": "new b"}
        assert (first["model"], first["older"]) == ("new model", "old model")
        assert (first["stats"]["revalidated"], first["stats"]["replaced"]) == (1, 2)
        assert len(origin.requests()) == in_init + 3
        box.invoke({})
        assert len(origin.requests()) == in_init + 3, "fresh from now on"
    seen = first["seen"]
    assert [each for each in seen["open"] if "cache.db" in each] == [], "SQLite is closed"
    assert [each for each in seen["open"] if each.startswith("socket:")] == [], "connections are closed"


def test_an_environment_that_is_restored_without_s3_has_copies_that_may_stand_in(origin: StaticOrigin) -> None:
    environ = {"AWS_ENDPOINT_URL": origin.endpoint, "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
    with LambdaBox(HANDLER, 512, environ=environ) as box:
        box.start()
        origin.close()
        answer = box.invoke({})
        assert answer["bodies"] == {"a": "old a", "b": "old b"}
        assert answer["stats"]["stale_served"] == 3
