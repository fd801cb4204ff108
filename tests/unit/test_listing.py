"""The objects below a prefix: all pages, in order, none twice, and no more than one asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from s3warm.errors import AccessDeniedError, ObjectNotFoundError, ObjectTooLargeError, OriginUnavailableError, S3WarmError
from s3warm.origin.base import Listed, TransportError
from s3warm.testing import FakeS3
from tests.support.supplier import Listing, World, full_jitter

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture(autouse=True)
def _full_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    full_jitter(monkeypatch)


def listed(world: World, limit: int = 1000) -> Sequence[str]:
    """The keys below a prefix."""
    try:
        return [found.key for found in world.origin.list("bucket", "models/", limit)]
    finally:
        world.check()


def test_one_page_is_one_request() -> None:
    world = World([Listing(200, "models/a", "models/b")])
    assert world.origin.list("bucket", "models/", 2) == [Listed("models/a", '"e"', 8), Listed("models/b", '"e"', 8)]
    assert world.listed == [("bucket", "models/", "")]
    assert world.counters.origin_requests == 1


def test_nothing_below_a_prefix_is_an_empty_list() -> None:
    assert listed(World([Listing()])) == []


def test_pages_follow_each_other_by_their_tokens() -> None:
    world = World([Listing(200, "a", token="1"), Listing(200, token="2"), Listing(200, "b", "c")])
    assert listed(world) == ["a", "b", "c"]
    assert [token for _, _, token in world.listed] == ["", "1", "2"]


def test_a_page_is_asked_for_when_it_is_wanted() -> None:
    world = World([Listing(200, "a", token="1"), Listing(200, "b")])
    pages = world.origin.pages("bucket", "models/", "/")
    assert world.listed == []
    assert [found.key for found in next(pages).objects] == ["a"]
    assert len(world.listed) == 1
    assert [found.key for page in pages for found in page.objects] == ["b"]
    assert (world.delimiters, len(world.listed)) == (["/", "/"], 2)


def test_as_many_as_the_limit_are_taken_and_one_more_is_too_many() -> None:
    assert listed(World([Listing(200, "a", token="1"), Listing(200, "b")]), 2) == ["a", "b"]
    world = World([Listing(200, "a", token="1"), Listing(200, "b", "c", token="2"), Listing(200, "d")])
    with pytest.raises(
        ObjectTooLargeError, match="s3://bucket/models/ holds more than 2 objects; name a longer prefix"
    ) as caught:
        listed(world, 2)
    assert (caught.value.bucket, caught.value.key) == ("bucket", "models/")
    assert len(world.listed) == 2, "what is not wanted is not asked for"


@pytest.mark.parametrize("fail", [Listing(503, code="SlowDown"), TransportError("no route")], ids=["503", "no answer"])
def test_a_page_that_fails_is_asked_for_again_by_itself(fail: Listing | TransportError) -> None:
    world = World([Listing(200, "a", token="1"), fail, fail, Listing(200, "b")])
    assert listed(world) == ["a", "b"]
    assert [token for _, _, token in world.listed] == ["", "1", "1", "1"]
    assert world.slept == [0.1, 0.2]
    world = World([fail] * 9)
    with pytest.raises(OriginUnavailableError, match="s3://bucket/models/"):
        listed(world)
    assert len(world.listed) == 3
    world = World([fail] * 9, retries=True)
    with pytest.raises(OriginUnavailableError):
        listed(world)
    assert len(world.listed) == 1


def test_credentials_are_refreshed_for_a_page_too() -> None:
    world = World([Listing(400, code="ExpiredToken"), Listing(200, "a")], refreshes=True)
    assert listed(world) == ["a"]
    assert (world.refreshed, world.slept) == (1, [])


@pytest.mark.parametrize(
    ("page", "error", "words"),
    [
        (Listing(404, code="NoSuchBucket"), ObjectNotFoundError, "there is no bucket 'bucket'"),
        (Listing(403, code="AccessDenied"), AccessDeniedError, "s3:ListBucket on arn:aws:s3:::bucket"),
        (Listing(400, code="InvalidArgument"), OriginUnavailableError, "S3 answered 400 InvalidArgument"),
        (Listing(301, code="PermanentRedirect"), OriginUnavailableError, "another region"),
    ],
)
def test_what_will_not_pass_is_said_at_once(page: Listing, error: type[S3WarmError], words: str) -> None:
    world = World([Listing(200, "a", token="1"), page])
    page.cause = RuntimeError("ClientError")
    with pytest.raises(error, match=words) as caught:
        listed(world)
    assert caught.value.__cause__ is page.cause
    assert (caught.value.bucket, caught.value.key, world.slept) == ("bucket", "models/", [])


def test_the_fake_s3_has_pages_as_well() -> None:
    from s3warm.metrics import Counters
    from s3warm.origin.fetch import ConditionalFetch

    s3 = FakeS3({f"s3://bucket/models/{number:04}": b"x" for number in range(2001)})
    found = ConditionalFetch(s3, Counters()).list("bucket", "models/", 5000)
    assert [one.key for one in found] == [f"models/{number:04}" for number in range(2001)]
    assert len(s3.requests) == 3
