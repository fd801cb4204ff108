"""What the documentation of lambda-cache, of Powertools and of @middy/s3 shows, written with s3warm, and what it promises there.

Each docstring has the original call. Examples of SSM that these libraries would write for S3 in the same way are here as well. What
reads SSM, Secrets Manager, AppConfig or DynamoDB has no counterpart.
"""

from __future__ import annotations

import base64
import json
import threading
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aws_lambda_powertools.utilities.parameters import BaseProvider
from botocore.config import Config
from moto import mock_aws

import s3warm
from s3warm.testing import FakeS3, fake_s3

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3warm.origin.base import Request

WAIT = 30  # seconds until a test that hangs fails
OBJECT = "s3://bucket-name/path/to/object.json"
ENDPOINT = "https://jsonplaceholder.typicode.com/comments/"


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    objects = {
        OBJECT: b'{"status": "ok"}',
        "s3://other/path/to/object.json": b'{"status": "other"}',
        "s3://bucket-name/var1.json": b'{"n": 1}',
        "s3://bucket-name/var2.json": b'{"n": 2}',
        "s3://bucket-name/comments_endpoint": ENDPOINT.encode(),
        "s3://bucket-name/params/a": b"1",
        "s3://bucket-name/params/b": b"2",
        "s3://bucket-name/data.binary": base64.b64encode(b"\x00\xff"),
    }
    with fake_s3(objects) as s3:
        yield s3


def answers(s3: FakeS3) -> list[tuple[str, int]]:
    """What S3 was asked for since the last look, and what it answered."""
    seen = [(request.uri.rpartition("/")[2], request.status) for request in s3.requests]
    s3.requests.clear()
    return seen


# -- lambda-cache 0.8.1 --------------------------------------------------------------------------------------------------------


def test_lambda_cache_a_single_file(s3: FakeS3) -> None:
    """`@s3.cache(s3Uri='s3://bucket_name/path/to/object.json')`, then `open("/tmp/object.json")`: kept for 60 s."""

    @s3warm.inject(config=OBJECT, transform="json", ttl=60)
    def handler(event: object, context: object, *, config: dict[str, str]) -> str:
        return config["status"]

    assert [handler({}, None), handler({}, None)] == ["ok", "ok"]
    s3.advance(59)
    handler({}, None)
    assert answers(s3) == [("object.json", 200)]
    s3.advance(2)
    handler({}, None)
    assert answers(s3) == [("object.json", 304)]


def test_lambda_cache_the_file_as_a_file(s3: FakeS3) -> None:
    """The same for what wants a path: `with open("/tmp/object.json") as file_data: json.loads(file_data.read())['status']`."""

    @s3warm.inject(config=lambda: s3warm.path(OBJECT, ttl=60))
    def handler(event: object, context: object, *, config: Any) -> str:
        with open(config) as file_data:
            status: str = json.loads(file_data.read())["status"]
        assert config.suffix == ".json"
        return status

    assert [handler({}, None), handler({}, None)] == ["ok", "ok"]
    assert answers(s3) == [("object.json", 200)]


def test_lambda_cache_change_cache_expiry(s3: FakeS3) -> None:
    """`@s3.cache(s3Uri=..., max_age_in_seconds=300)`"""

    @s3warm.inject(config=OBJECT, transform="json", ttl=300)
    def handler(event: object, context: object, *, config: dict[str, str]) -> str:
        return config["status"]

    handler({}, None)
    s3.advance(299)
    handler({}, None)
    assert answers(s3) == [("object.json", 200)]
    s3.advance(2)
    handler({}, None)
    assert answers(s3) == [("object.json", 304)]


def test_lambda_cache_check_file_before_download(s3: FakeS3) -> None:
    """`@s3.cache(s3Uri=..., max_age_in_seconds=300, check_before_download=True)`: it is downloaded only if it has changed."""

    @s3warm.inject(config=OBJECT, transform="json", ttl=300)
    def handler(event: object, context: object, *, config: dict[str, str]) -> str:
        return config["status"]

    handler({}, None)
    s3.advance(301)
    handler({}, None)
    assert [(request.status, request.bytes) for request in s3.requests] == [(200, 16), (304, 0)]
    s3[OBJECT] = b'{"status": "new"}'
    s3.advance(301)
    assert handler({}, None) == "new"
    assert answers(s3)[2:] == [("object.json", 200)], "one request, not HEAD, HEAD and GET"


def test_lambda_cache_get_entry(s3: FakeS3) -> None:
    """`s3.get_entry(s3Uri=f"s3://{bucket_name}/{s3_key}", max_age_in_seconds=5, entry_name=False, check_before_download=True)`"""
    bucket_name, s3_key = "bucket-name", "path/to/object.json"

    def status() -> str:
        file_location = s3warm.path(bucket_name, s3_key, ttl=5)
        with file_location.open() as file_data:
            found: str = json.loads(file_data.read())["status"]
        return found

    assert status() == "ok"
    s3[OBJECT] = b'{"status": "new"}'
    s3.advance(4)
    assert status() == "ok"
    s3.advance(2)
    assert status() == "new"
    assert answers(s3) == [("object.json", 200), ("object.json", 200)]


def test_lambda_cache_entry_name(s3: FakeS3) -> None:
    """`@s3.cache(s3Uri=..., entry_name='second')`, which is needed where two objects have one base name."""

    @s3warm.inject(first=OBJECT, second="s3://other/path/to/object.json", transform="json")
    def handler(event: object, context: object, *, first: dict[str, str], second: dict[str, str]) -> tuple[str, str]:
        return first["status"], second["status"]

    assert handler({}, None) == ("ok", "other")


def test_lambda_cache_decorator_stacking(s3: FakeS3) -> None:
    """`@ssm.cache(parameter='/production/app/var1', max_age_in_seconds=30)` above one of `var2` with 60."""

    @s3warm.inject(var1="s3://bucket-name/var1.json", transform="json", ttl=30)
    @s3warm.inject(var2="s3://bucket-name/var2.json", transform="json", ttl=60)
    def handler(event: object, context: object, *, var1: dict[str, int], var2: dict[str, int]) -> int:
        return var1["n"] + var2["n"]

    assert handler({}, None) == 3
    assert sorted(answers(s3)) == [("var1.json", 200), ("var2.json", 200)]
    s3.advance(31)
    handler({}, None)
    assert answers(s3) == [("var1.json", 304)]
    s3.advance(29)
    handler({}, None)
    assert answers(s3) == [("var2.json", 304)]


def test_lambda_cache_invalidation(s3: FakeS3) -> None:
    """`ssm.get_entry(parameter='/prod/var', max_age_in_seconds=0)` if `event.get('refresh')`"""

    @s3warm.inject(var="s3://bucket-name/var1.json", transform="json", ttl=60)
    def handler(event: dict[str, bool], context: object, *, var: dict[str, int]) -> int:
        if event.get("refresh"):
            var = s3warm.get("s3://bucket-name/var1.json", transform="json", ttl=0)
        return var["n"]

    assert handler({}, None) == 1
    s3["s3://bucket-name/var1.json"] = b'{"n": 7}'
    assert handler({}, None) == 1
    assert handler({"refresh": True}, None) == 7
    assert handler({}, None) == 7
    assert answers(s3) == [("var1.json", 200), ("var1.json", 200)]


def test_lambda_cache_multiple_parameters(s3: FakeS3) -> None:
    """`@ssm.cache(parameter=['/app/var1', '/app/var2'], entry_name='parameters')`"""

    @s3warm.inject(parameters=lambda: s3warm.get_many(["s3://bucket-name/params/a", "s3://bucket-name/params/b"], ttl=60))
    def handler(event: object, context: object, *, parameters: dict[str, bytes]) -> list[bytes]:
        return list(parameters.values())

    assert [handler({}, None), handler({}, None)] == [[b"1", b"2"]] * 2
    assert sorted(answers(s3)) == [("a", 200), ("b", 200)]


def test_lambda_cache_once_in_the_lifetime_of_the_function(s3: FakeS3) -> None:
    """`max_age_in_seconds=36000`"""

    @s3warm.inject(config=OBJECT, ttl=36000)
    def handler(event: object, context: object, *, config: bytes) -> bytes:
        return config

    handler({}, None)
    s3.advance(35999)
    handler({}, None)
    assert answers(s3) == [("object.json", 200)]


# -- Powertools for AWS Lambda (Python) 3.37.0, parameters ---------------------------------------------------------------------


def test_powertools_create_your_own_provider(s3: FakeS3) -> None:
    """`s3_provider = S3Provider(bucket_name=...)`; `s3_provider.get("comments_endpoint")` and `s3_provider.get_multiple("/")`"""
    everything = s3warm.glob("s3://bucket-name/params/**")  # a listing, once
    assert answers(s3) == [("", 200)]

    @s3warm.inject(endpoint_comments="s3://bucket-name/comments_endpoint", transform="text")
    def lambda_handler(event: object, context: object, *, endpoint_comments: str) -> dict[str, Any]:
        all_parameters = {uri: body.decode() for uri, body in s3warm.get_many(everything).items()}
        return {"comments": endpoint_comments, "all": all_parameters, "statusCode": 200}

    for _ in range(2):
        assert lambda_handler({}, None) == {
            "comments": ENDPOINT,
            "all": {"s3://bucket-name/params/a": "1", "s3://bucket-name/params/b": "2"},
            "statusCode": 200,
        }
    assert sorted(answers(s3)) == [("a", 200), ("b", 200), ("comments_endpoint", 200)]


def test_powertools_a_provider_over_s3warm(s3: FakeS3) -> None:
    """`class S3Provider(BaseProvider)`, kept as it is for what calls it, with s3warm behind it."""

    class S3Provider(BaseProvider):
        def __init__(self, bucket_name: str) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.bucket_name = bucket_name

        def _get(self, name: str, **sdk_options: Any) -> str:
            return s3warm.get(self.bucket_name, name, version_id=sdk_options.get("VersionId"), transform="text")

        def _get_multiple(self, path: str, **sdk_options: Any) -> dict[str, str]:
            found = s3warm.get_many(s3warm.glob(f"s3://{self.bucket_name}/{path}**"))
            return {uri.split("/", 3)[3]: body.decode() for uri, body in found.items()}

    provider = S3Provider("bucket-name")
    assert provider.get("comments_endpoint", max_age=0) == ENDPOINT
    assert provider.get("var1.json", max_age=0, transform="json") == {"n": 1}
    assert provider.get_multiple("params/", max_age=0) == {"params/a": "1", "params/b": "2"}
    answers(s3)
    assert provider.get("comments_endpoint", max_age=0) == ENDPOINT
    assert answers(s3) == []


def test_powertools_adjusting_cache_ttl(s3: FakeS3) -> None:
    """`parameters.get_parameter("/lambda-powertools/endpoint_comments", max_age=20)`, and `get_parameters(..., max_age=20)`"""
    everything = s3warm.glob("s3://bucket-name/params/**")
    answers(s3)

    def lambda_handler(event: object, context: object) -> tuple[str, int]:
        endpoint = s3warm.get("bucket-name", "comments_endpoint", transform="text", ttl=20)
        return endpoint, len(s3warm.get_many(everything, ttl=20))

    assert lambda_handler({}, None) == (ENDPOINT, 2)
    s3.advance(19)
    lambda_handler({}, None)
    assert sorted(answers(s3)) == [("a", 200), ("b", 200), ("comments_endpoint", 200)]
    s3.advance(2)
    lambda_handler({}, None)
    assert sorted(answers(s3)) == [("a", 304), ("b", 304), ("comments_endpoint", 304)]


def test_powertools_always_fetching_the_latest_version(s3: FakeS3) -> None:
    """`parameters.get_parameter("/lambda-powertools/endpoint_comments", force_fetch=True)`"""
    assert s3warm.get("bucket-name", "comments_endpoint", ttl=0) == ENDPOINT.encode()
    s3["s3://bucket-name/comments_endpoint"] = b"new"
    assert s3warm.get("bucket-name", "comments_endpoint", ttl=0) == b"new"
    assert s3warm.get("bucket-name", "comments_endpoint") == b"new"
    assert answers(s3) == [("comments_endpoint", 200)] * 2


def test_powertools_the_default_age(s3: FakeS3) -> None:
    """`parameters.get_parameter(...)` without `max_age`: 300 s in both."""
    s3warm.configure(ttl_jitter=0)
    s3warm.get("bucket-name", "comments_endpoint")
    s3.advance(299)
    s3warm.get("bucket-name", "comments_endpoint")
    assert answers(s3) == [("comments_endpoint", 200)]
    s3.advance(2)
    s3warm.get("bucket-name", "comments_endpoint")
    assert answers(s3) == [("comments_endpoint", 304)]


def test_powertools_deserializing_values(s3: FakeS3) -> None:
    """`get(..., transform="json")`, `get(..., transform="binary")`, of a high-level function and of a provider."""
    for _ in range(2):
        assert s3warm.get("bucket-name", "var1.json", transform="json") == {"n": 1}
        assert s3warm.get("bucket-name", "data.binary", transform=base64.b64decode) == b"\x00\xff"
    assert answers(s3) == [("var1.json", 200), ("data.binary", 200)]


def test_powertools_partial_transform_failures(s3: FakeS3) -> None:
    """`ssm_provider.get_multiple("/param", transform="json")`: `None` for what is malformed; with `raise_on_transform_error=True` an error."""
    s3["s3://bucket-name/param/a"], s3["s3://bucket-name/param/c"] = b"[1]", b"[1"

    def lenient(uri: str) -> Any:
        try:
            return s3warm.get(uri, transform="json")
        except s3warm.TransformError:
            return None

    uris = s3warm.glob("s3://bucket-name/param/**")
    assert {uri: lenient(uri) for uri in uris} == {"s3://bucket-name/param/a": [1], "s3://bucket-name/param/c": None}

    @s3warm.inject(a=uris[0], c=uris[1], transform="json")
    def handler(event: object, context: object, *, a: object, c: object) -> None:
        raise AssertionError("it is not called")

    with pytest.raises(s3warm.TransformError, match="param/c"):
        handler({}, None)


def test_powertools_auto_transform(s3: FakeS3) -> None:
    """`ssm_provider.get_multiple("/param", transform="auto")`: by suffix. Here each is told its own."""

    @s3warm.inject(var="s3://bucket-name/var1.json", transform="json")
    @s3warm.inject(data="s3://bucket-name/data.binary", transform=base64.b64decode)
    @s3warm.inject(endpoint="s3://bucket-name/comments_endpoint", transform="text")
    def handler(event: object, context: object, *, var: object, data: object, endpoint: object) -> tuple[object, ...]:
        return var, data, endpoint

    assert handler({}, None) == ({"n": 1}, b"\x00\xff", ENDPOINT)


def test_powertools_additional_sdk_arguments(s3: FakeS3) -> None:
    """`secrets_provider.get("my-secret", VersionId="e62ec170-6b01-48c7-94f3-d7497851a8d2")`"""
    first = s3.put("s3://bucket-name/k", b"one")
    s3["s3://bucket-name/k"] = b"two"
    assert s3warm.get("bucket-name", "k") == b"two"
    assert s3warm.get("bucket-name", "k", version_id=first) == b"one"
    s3.advance(10_000)
    assert s3warm.get("bucket-name", "k", version_id=first) == b"one"
    assert answers(s3) == [("k", 200), ("k", 200)]


def test_powertools_parameters_by_name_with_overrides(s3: FakeS3) -> None:
    """`get_parameters_by_name(parameters={"/a": {"max_age": 300, "transform": "json"}, "/b": {"max_age": 0}, "/c": {}}, max_age=60)`"""

    @s3warm.inject(a="s3://bucket-name/var1.json", transform="json", ttl=300)
    @s3warm.inject(b="s3://bucket-name/params/b", ttl=0)
    @s3warm.inject(c="s3://bucket-name/params/a", ttl=60)
    def handler(event: object, context: object, *, a: object, b: object, c: object) -> tuple[object, ...]:
        return a, b, c

    assert handler({}, None) == ({"n": 1}, b"2", b"1")
    answers(s3)
    s3.advance(61)
    handler({}, None)
    assert sorted(answers(s3)) == [("a", 304), ("b", 304)]


def test_powertools_graceful_failure(s3: FakeS3) -> None:
    """`get_parameters_by_name(parameters=parameters, raise_on_error=False)`, then `values.get("_errors", [])`"""
    report = s3warm.preload("s3://bucket-name/var1.json", "s3://bucket-name/missing", timeout=5)
    assert [each.source for each in report.failed] == ["s3://bucket-name/missing"]
    assert isinstance(report.failed[0].error, s3warm.ObjectNotFoundError)
    answers(s3)
    assert s3warm.get("s3://bucket-name/var1.json") == b'{"n": 1}'
    assert answers(s3) == []


@mock_aws
def test_powertools_bring_your_own_client() -> None:
    """`parameters.SSMProvider(boto3_client=boto3_client)`, `parameters.SSMProvider(boto_config=boto_config)`"""
    client = boto3.client("s3", region_name="us-east-1", config=Config(connect_timeout=5, retries={"total_max_attempts": 1}))
    client.create_bucket(Bucket="bucket-name")
    client.put_object(Bucket="bucket-name", Key="k", Body=b"body")
    calls: list[str] = []
    client.meta.events.register("before-call.s3", lambda model, **_: calls.append(model.name))
    with s3warm.Cache(client=client) as cache:
        assert cache.get("bucket-name", "k") == b"body"
    assert calls == ["GetObject"]


def test_powertools_testing_your_code() -> None:
    """`monkeypatch.setattr(single_mock.parameters, "get_parameter", mockreturn)`; the cache is at work here."""

    def handler(event: object, context: object) -> dict[str, str]:
        return {"message": s3warm.get("bucket-name", "my/parameter", transform="text")}

    with fake_s3({"s3://bucket-name/my/parameter": b"mock_value"}):
        assert handler({}, {}).get("message") == "mock_value"


def test_powertools_clear_cache(s3: FakeS3) -> None:
    """`parameters.clear_caches()`"""
    s3warm.get("bucket-name", "comments_endpoint")
    s3warm.clear()
    s3warm.get("bucket-name", "comments_endpoint")
    assert answers(s3) == [("comments_endpoint", 200)] * 2


# -- @middy/s3 5 to 7 ----------------------------------------------------------------------------------------------------------


def test_middy_sample_usage(s3: FakeS3) -> None:
    """`handler.use(s3({fetchData: {config: {Bucket: '...', Key: '...'}}, setToContext: true}))`: fetched before the first invocation."""
    config_uri = "s3://bucket-name/var1.json"
    s3warm.preload(config_uri, timeout=8)
    assert answers(s3) == [("var1.json", 200)]

    @s3warm.inject(config=config_uri, transform="json")
    def handler(event: object, context: object, *, config: dict[str, int]) -> dict[str, Any]:
        return {"statusCode": 200, "headers": {}, "body": json.dumps({"message": "hello world", **config})}

    expected = {"statusCode": 200, "headers": {}, "body": '{"message": "hello world", "n": 1}'}
    assert [handler({}, None), handler({}, None)] == [expected, expected]
    assert answers(s3) == []


def test_middy_no_cache_and_no_prefetch(s3: FakeS3) -> None:
    """`s3({cacheExpiry: 0, fetchData: {key1: {Bucket: "bucket1", Key: "key1"}, key2: {...}}, disablePrefetch: true})`: all at once, each time."""
    s3["s3://bucket1/key1"], s3["s3://bucket2/key2"] = b"one", b"two"
    together = threading.Barrier(2)

    def answer(_: Request) -> None:
        together.wait(timeout=WAIT)

    s3.before_answer = answer

    @s3warm.inject(key1="s3://bucket1/key1", key2="s3://bucket2/key2", transform="text", ttl=0)
    def handler(event: object, context: object, *, key1: str, key2: str) -> tuple[str, str]:
        return key1, key2

    assert answers(s3) == []
    assert handler({}, None) == ("one", "two")
    assert sorted(answers(s3)) == [("key1", 200), ("key2", 200)]
    assert handler({}, None) == ("one", "two")
    assert sorted(answers(s3)) == [("key1", 304), ("key2", 304)]


def test_middy_cache_expiry(s3: FakeS3) -> None:
    """`cacheExpiry: 1000`, in milliseconds"""

    @s3warm.inject(key="s3://bucket-name/params/a", ttl=1)
    def handler(event: object, context: object, *, key: bytes) -> bytes:
        return key

    handler({}, None)
    s3.advance(0.9)
    handler({}, None)
    assert answers(s3) == [("a", 200)]
    s3.advance(0.2)
    handler({}, None)
    assert answers(s3) == [("a", 304)]


def test_middy_for_ever(s3: FakeS3) -> None:
    """`fetchData: {key: {Bucket, Key, VersionId}}` with `cacheExpiry: -1`"""
    first = s3.put("s3://bucket-name/k", b"one")
    s3["s3://bucket-name/k"] = b"two"

    @s3warm.inject(key=lambda: s3warm.get("bucket-name", "k", version_id=first))
    def handler(event: object, context: object, *, key: bytes) -> bytes:
        return key

    assert handler({}, None) == b"one"
    s3.advance(1_000_000)
    assert handler({}, None) == b"one"
    assert answers(s3) == [("k", 200)]


def test_middy_two_middlewares_need_no_cache_keys_of_their_own(s3: FakeS3) -> None:
    """`s3({fetchData: {a: ...}, cacheKey: 'a'})` and `s3({fetchData: {b: ...}, cacheKey: 'b'})`"""

    @s3warm.inject(a="s3://bucket-name/params/a")
    @s3warm.inject(b="s3://bucket-name/params/b")
    def handler(event: object, context: object, *, a: bytes, b: bytes) -> tuple[bytes, bytes]:
        return a, b

    assert handler({}, None) == (b"1", b"2")


def test_middy_clear_cache(s3: FakeS3) -> None:
    """`clearCache(['s3'])` of @middy/util"""
    s3warm.get(OBJECT)
    s3warm.invalidate(OBJECT)
    s3warm.get(OBJECT)
    assert answers(s3) == [("object.json", 200), ("object.json", 304)]
