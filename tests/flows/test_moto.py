"""Users' own `moto.mock_aws` tests: they work as they are, and none sees the data of the one before."""

from __future__ import annotations

from typing import Any, Literal

import boto3
import pytest
from moto import mock_aws

import s3warm
from s3warm import default

REGION: Literal["eu-central-1"] = "eu-central-1"


@pytest.fixture(autouse=True)
def _own_default_cache(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tests of one process share the default cache, as a user's do; it is put away afterwards."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    yield
    if default._cache is not None:
        default._swap(None).close()  # type: ignore[union-attr]


def bucket_with(body: bytes | None) -> None:
    client = boto3.client("s3", region_name=REGION)
    client.create_bucket(Bucket="cfg-bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
    if body is not None:
        client.put_object(Bucket="cfg-bucket", Key="flags.json", Body=body)


@pytest.mark.parametrize("mode", ["respect", "trust", "ignore"])
def test_no_test_sees_yesterdays_data(mode: Any) -> None:
    s3warm.configure(cache_control=mode)
    for body in (b"one", b"two", None, b"two"):
        with mock_aws():
            bucket_with(body)
            if body is None:
                with pytest.raises(s3warm.ObjectNotFoundError):
                    s3warm.get("cfg-bucket", "flags.json")
            else:
                assert s3warm.get("cfg-bucket", "flags.json") == body
                assert s3warm.get("cfg-bucket", "flags.json", ttl=3600) == body
                assert s3warm.stats().stale_served == 0


def test_no_test_sees_that_something_was_not_there_yesterday() -> None:
    s3warm.configure(negative_ttl=60)
    with mock_aws():
        bucket_with(None)
        with pytest.raises(s3warm.ObjectNotFoundError):
            s3warm.get("cfg-bucket", "flags.json")
    with mock_aws():
        bucket_with(b"one")
        assert s3warm.get("cfg-bucket", "flags.json") == b"one"


@mock_aws
def test_a_decorated_test_works_too() -> None:
    bucket_with(b"three")
    body = s3warm.get("cfg-bucket", "flags.json")
    assert body == b"three"
    assert s3warm.get("cfg-bucket", "flags.json") is body, "confirmed by a 304"
