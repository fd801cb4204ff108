"""Bodies that arrive damaged. A server that does this on order is the fake one; the fault proxy's turn comes with the faults."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from s3warm import IntegrityError
from s3warm.testing import FakeCache, FakeS3

if TYPE_CHECKING:
    from s3warm.origin.base import Request

URI = "s3://models/weights"
RIGHT = b"right" * 1000


def damaged(s3: FakeS3) -> None:
    """What arrives is not what the ETag says."""
    s3.put(URI, RIGHT[:-1] + b"!", etag=f'"{hashlib.md5(RIGHT).hexdigest()}"')


def test_damaged_on_arrival_is_asked_for_again() -> None:
    s3 = FakeS3()
    damaged(s3)

    def mend(request: Request) -> None:
        if s3.requests:
            s3[URI] = RIGHT

    s3.before_answer = mend
    with FakeCache(s3) as cache:
        assert cache.get(URI) == RIGHT
        assert cache.entry(URI).verified_by == "md5"
    assert len(s3.requests) == 2


def test_damaged_on_every_arrival_is_an_error_and_never_served() -> None:
    s3 = FakeS3()
    damaged(s3)
    with FakeCache(s3) as cache:
        with pytest.raises(IntegrityError, match="md5"):
            cache.get(URI)
        assert cache.explain(URI).tiers == ()
    assert len(s3.requests) == 3


def test_a_copy_stands_in_for_what_arrives_damaged() -> None:
    s3 = FakeS3({URI: b"old"})
    with FakeCache(s3, ttl=60) as cache:
        cache.get(URI)
        damaged(s3)
        s3.advance(60)
        entry = cache.entry(URI)
        assert (entry.body, entry.stale) == (b"old", True)
        assert cache.stats().stale_served == 1
        assert len(s3.requests) == 1 + 3
        with pytest.raises(IntegrityError):
            cache.get(URI, ttl=0)


def test_cut_short_is_asked_for_again() -> None:
    s3 = FakeS3()
    s3.put(URI, RIGHT, content_length=str(len(RIGHT) + 1))

    def mend(request: Request) -> None:
        if s3.requests:
            s3[URI] = RIGHT

    s3.before_answer = mend
    with FakeCache(s3) as cache:
        assert cache.get(URI) == RIGHT


def test_a_body_without_an_etag_is_served_and_not_kept() -> None:
    s3 = FakeS3()
    s3.put(URI, RIGHT, etag="")
    with FakeCache(s3) as cache:
        for _ in range(2):
            assert cache.get(URI) == RIGHT
        assert cache.explain(URI).tiers == ()
    assert len(s3.requests) == 2
