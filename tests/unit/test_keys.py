"""Which object is meant, decided before any I/O."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import s3warm
from s3warm.keys import MISSING, ObjectKey, locate
from s3warm.testing import FakeS3, fake_s3

POINT = "arn:aws:s3:eu-west-1:123456789012:accesspoint"
LAMBDA_POINT = "arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint"
OUTPOST = "arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-01/accesspoint/mine"


@pytest.mark.parametrize(
    "key",
    [
        "flags.json",
        "a/b/c.json",
        "/lead",
        "//two",
        "a//b",
        "trail/",
        "a/../b",
        "./a",
        "a b",
        "a+b",
        "a%20b",
        "100%",
        "what?x=1",
        "a#b",
        "s3://nested/key",
        "grüße/日本語/🎈",
        "line\nbreak",
    ],
)
def test_a_uri_is_literal_and_means_the_same_as_bucket_and_key(key: str) -> None:
    assert locate(f"s3://bucket/{key}") == locate("bucket", key) == ObjectKey("bucket", key, None)


@pytest.mark.parametrize(
    ("uri", "bucket", "key"),
    [
        (f"s3://{POINT}/mine/a/b.json", f"{POINT}/mine", "a/b.json"),
        (f"s3://{POINT}/m1.mrap/a", f"{POINT}/m1.mrap", "a"),
        (f"s3://{LAMBDA_POINT}/mine//lead", f"{LAMBDA_POINT}/mine", "/lead"),
        (f"s3://{POINT}:mine/a/b.json", f"{POINT}:mine", "a/b.json"),
        (f"s3://{OUTPOST}/a/b.json", OUTPOST, "a/b.json"),
    ],
    ids=["access point", "multi-region", "object lambda", "colon form", "outpost"],
)
def test_an_arn_keeps_its_own_slashes_in_both_forms(uri: str, bucket: str, key: str) -> None:
    assert locate(uri) == locate(bucket, key) == ObjectKey(bucket, key)


@pytest.mark.parametrize("bucket", ["abc", "my.dotted-bucket", "1st", "Old_Style.BUCKET", "data--use1-az4--x-s3"])
def test_a_bucket_that_can_exist_is_taken(bucket: str) -> None:
    assert locate(bucket, "key").bucket == bucket


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("",), "give a bucket and a key"),
        (("bucket",), "give a bucket and a key"),
        (("http://bucket/key",), "give a bucket and a key"),
        (("S3://bucket/key",), "give a bucket and a key"),
        (("bucket/key",), "s3://bucket/key"),
        (("s3://",), "bucket is empty"),
        (("s3:///key",), "bucket is empty"),
        (("", "key"), "bucket is empty"),
        (("s3://bucket",), "names a bucket, not an object"),
        (("s3://bucket/",), "names a bucket, not an object"),
        ((f"s3://{POINT}/mine",), "key is empty"),
        ((f"s3://{POINT}/mine/",), "key is empty"),
        (("bucket", ""), "key is empty"),
        (("s3://bucket/key", "other"), "takes no second argument"),
        (("s3://bucket", "key"), "takes no second argument"),
        (("buck et", "key"), "' ' is not allowed"),
        (("bücket", "key"), "'ü' is not allowed"),
        (("bucket/", "key"), "'/' is not allowed"),
        (("bucket\n", "key"), r"'\\n' is not allowed"),
        (("s3://buck?et/key",), r"'\?' is not allowed"),
        (("bucket", "lone \ud800 surrogate"), "not valid Unicode"),
        (("s3://bucket/\udfff",), "not valid Unicode"),
        (("bucket", "k", ""), "version_id of s3://bucket/k is empty"),
    ],
)
def test_what_cannot_name_an_object_is_refused_in_words(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        locate(*arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((None,), "bucket must be a string, not NoneType"),
        ((b"bucket", "key"), "bucket must be a string, not bytes"),
        ((1, "key"), "bucket must be a string, not int"),
        (([], "key"), "bucket must be a string, not list"),
        (("bucket", None), 'not NoneType: None; for an object by its URI give "s3://bucket/key" as the only argument'),
        (("s3://bucket/key", None), "key must be a string, not NoneType"),
        (("bucket", b"key"), "key must be a string, not bytes"),
        (("bucket", 7), "key must be a string, not int"),
        (("bucket", ["key"]), "key must be a string, not list"),
        (("bucket", ("key", "v1")), "key must be a string, not tuple"),
        (("bucket", "key", 7), "version_id must be a string or None, not int"),
        (("bucket", "key", b"v1"), "version_id must be a string or None, not bytes"),
    ],
)
def test_what_is_not_a_string_is_a_type_error(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        locate(*arguments)


@pytest.mark.parametrize("function", ["get", "entry", "invalidate", "explain"])
@pytest.mark.parametrize(
    ("arguments", "error"),
    [(("",), ValueError), (("bucket", None), TypeError), (("s3://b/k", "k"), ValueError), (("bucket", ["k"]), TypeError)],
)
def test_every_function_refuses_before_any_request(
    fake_s3: FakeS3, function: str, arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        getattr(s3warm, function)(*arguments)
    assert fake_s3.requests == []


@pytest.mark.parametrize("function", [s3warm.get, s3warm.entry])
@pytest.mark.parametrize(("ttl", "error"), [(-1, ValueError), (float("nan"), ValueError), ("60", TypeError), (True, TypeError)])
def test_a_ttl_that_is_no_duration_is_refused_before_any_request(
    fake_s3: FakeS3, function: Any, ttl: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"^ttl of s3://bucket/key must be seconds or a timedelta, 0 or more"):
        function("bucket", "key", ttl=ttl)
    assert fake_s3.requests == []


def test_a_tuple_is_no_key_even_where_memory_holds_a_pinned_version() -> None:
    with fake_s3({"s3://bucket/key": b"body"}):
        assert s3warm.get("bucket", "key", version_id="v1") == b"body"
        with pytest.raises(TypeError, match="key must be a string, not tuple"):
            s3warm.get("bucket", ("key", "v1"))  # type: ignore[call-overload]


def test_an_unhashable_bucket_is_refused_in_words(fake_s3: FakeS3) -> None:
    with pytest.raises(TypeError, match="bucket must be a string, not dict"):
        s3warm.get({}, "key")  # type: ignore[call-overload]


@pytest.mark.parametrize("key", ["k" * 1024, "ü" * 512, "🎈" * 256])
def test_a_key_may_have_1024_bytes(key: str) -> None:
    assert locate("bucket", key).key == key


@pytest.mark.parametrize("key", ["k" * 1025, "ü" * 513, "🎈" * 256 + "k"])
def test_a_longer_key_is_refused_and_not_printed_whole(key: str) -> None:
    with pytest.raises(ValueError, match=r"S3 allows 1024") as caught:
        locate("bucket", key)
    assert str(len(key.encode())) in str(caught.value)
    assert key not in str(caught.value)


@pytest.mark.parametrize(("version", "pinned"), [(None, False), ("null", False), ("v1", True), ("3/L4kqtJlcpXroDTDmJ", True)])
def test_only_a_real_version_is_pinned(version: str | None, pinned: bool) -> None:
    assert locate("bucket", "key", version).pinned is pinned


def test_versions_of_one_object_are_different_keys() -> None:
    assert len({locate("b", "k"), locate("b", "k", "v1"), locate("b", "k", "v2"), locate("s3://b/k")}) == 3


@pytest.mark.parametrize(
    ("key", "shown"),
    [(ObjectKey("b", "a/k"), "s3://b/a/k"), (ObjectKey("b", "k", "v1"), "s3://b/k (version v1)")],
)
def test_a_key_prints_as_its_uri(key: ObjectKey, shown: str) -> None:
    assert str(key) == shown


def test_a_key_pickles() -> None:
    assert pickle.loads(pickle.dumps(ObjectKey("b", "k", "v"))) == ObjectKey("b", "k", "v")


def test_the_missing_key_says_what_it_is() -> None:
    assert repr(MISSING) == "<no key given>"
