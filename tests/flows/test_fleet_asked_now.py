"""What a call with ttl=0 has learnt of S3 is not undone by what the fleet had before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from s3warm import AccessDeniedError, ObjectNotFoundError
from tests.support.fleets import FakeFleet

URI = "s3://bucket/key"


@pytest.fixture
def fleet() -> Iterator[FakeFleet]:
    fleet = FakeFleet({URI: b"old"})
    yield fleet
    fleet.close()


def test_it_may_not_be_kept_any_more(fleet: FakeFleet) -> None:
    assert fleet.cache().get(URI) == b"old"
    fleet.s3.put(URI, b"new", cache_control="no-store")
    cache = fleet.cache()
    assert cache.get(URI, ttl=0) == b"new"
    assert cache.get(URI) == b"new"
    assert fleet.cache().get(URI) == b"new"


def test_it_is_gone(fleet: FakeFleet) -> None:
    assert fleet.cache().get(URI) == b"old"
    del fleet.s3[URI]
    cache = fleet.cache()
    with pytest.raises(ObjectNotFoundError):
        cache.get(URI, ttl=0)
    with pytest.raises(ObjectNotFoundError):
        cache.get(URI)
    with pytest.raises(ObjectNotFoundError):
        fleet.cache().get(URI)


def test_it_is_for_others(fleet: FakeFleet) -> None:
    assert fleet.cache().get(URI) == b"old"
    fleet.s3.denied.add(URI)
    cache = fleet.cache()
    with pytest.raises(AccessDeniedError):
        cache.get(URI, ttl=0)
    with pytest.raises(AccessDeniedError):
        cache.get(URI)
