"""What failed answers mean: which error, whether to ask again, and words that help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from s3warm.errors import AccessDeniedError, ObjectNotFoundError, OriginUnavailableError, S3WarmError
from s3warm.keys import ObjectKey
from s3warm.origin.base import Listed, TransportError
from s3warm.origin.failures import Failure, another_range, changed, of_page, of_response, of_transport

KEY = ObjectKey("bucket", "a/key")
VERSION = ObjectKey("bucket", "a/key", "v1")
MARKER = {"x-amz-delete-marker": "true"}


class Answer:
    """A failed answer."""

    cause: BaseException | None = None
    deadline: float | None = None

    def __init__(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.code = code
        self.headers = headers or {}

    def readinto(self, buffer: memoryview) -> int:
        return 0

    def close(self) -> None:
        pass


def failure(status: int, code: str = "", headers: Mapping[str, str] | None = None, key: ObjectKey = KEY) -> Failure:
    return of_response(key, Answer(status, code, headers))


@pytest.mark.parametrize(
    ("status", "code", "headers", "error", "what"),
    [
        (404, "NoSuchKey", {}, ObjectNotFoundError, "final"),
        (404, "NoSuchBucket", {}, ObjectNotFoundError, "final"),
        (404, "NoSuchVersion", {}, ObjectNotFoundError, "final"),
        (404, "", {}, ObjectNotFoundError, "final"),
        (404, "", MARKER, ObjectNotFoundError, "final"),
        (405, "MethodNotAllowed", MARKER, ObjectNotFoundError, "final"),
        (405, "MethodNotAllowed", {}, OriginUnavailableError, "final"),
        (403, "AccessDenied", {}, AccessDeniedError, "final"),
        (403, "AllAccessDisabled", {}, AccessDeniedError, "final"),
        (403, "Forbidden", {}, OriginUnavailableError, "final"),
        (403, "", {}, OriginUnavailableError, "final"),
        (403, "InvalidObjectState", {}, OriginUnavailableError, "final"),
        (403, "RequestTimeTooSkewed", {}, OriginUnavailableError, "credentials"),
        (403, "SignatureDoesNotMatch", {}, OriginUnavailableError, "credentials"),
        (403, "InvalidAccessKeyId", {}, OriginUnavailableError, "credentials"),
        (403, "RequestExpired", {}, OriginUnavailableError, "credentials"),
        (403, "SomethingNew", {}, OriginUnavailableError, "final"),
        (400, "ExpiredToken", {}, OriginUnavailableError, "credentials"),
        (400, "InvalidToken", {}, OriginUnavailableError, "credentials"),
        (400, "TokenRefreshRequired", {}, OriginUnavailableError, "credentials"),
        (400, "AuthorizationHeaderMalformed", {}, OriginUnavailableError, "credentials"),
        (400, "RequestTimeout", {}, OriginUnavailableError, "transient"),
        (400, "InvalidArgument", {}, OriginUnavailableError, "final"),
        (301, "PermanentRedirect", {}, OriginUnavailableError, "final"),
        (307, "TemporaryRedirect", {}, OriginUnavailableError, "final"),
        (400, "IllegalLocationConstraintException", {}, OriginUnavailableError, "final"),
        (304, "", {}, OriginUnavailableError, "final"),
        (206, "", {}, OriginUnavailableError, "final"),
        (0, "", {}, OriginUnavailableError, "final"),
        (429, "", {}, OriginUnavailableError, "transient"),
        (429, "Throttling", {}, OriginUnavailableError, "transient"),
        (500, "InternalError", {}, OriginUnavailableError, "transient"),
        (502, "", {}, OriginUnavailableError, "transient"),
        (503, "SlowDown", {}, OriginUnavailableError, "transient"),
        (503, "ServiceUnavailable", {}, OriginUnavailableError, "transient"),
        (504, "", {}, OriginUnavailableError, "transient"),
    ],
)
def test_status_and_code_decide(status: int, code: str, headers: dict[str, str], error: type[S3WarmError], what: str) -> None:
    found = failure(status, code, headers)
    assert type(found.error) is error
    assert (found.error.bucket, found.error.key) == ("bucket", "a/key")
    assert "s3://bucket/a/key" in str(found.error)
    assert (found.transient, found.credentials) == (what == "transient", what == "credentials")


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, "NoSuchKey", "does not exist; check the key"),
        (404, "NoSuchBucket", "there is no bucket 'bucket'"),
        (403, "AccessDenied", "the role needs s3:GetObject on arn:aws:s3:::bucket/a/key"),
        (403, "AccessDenied", "Without s3:ListBucket a key that does not exist looks the same"),
        (403, "AccessDenied", "kms:Decrypt"),
        (403, "InvalidObjectState", "the object is archived; restore it"),
        (403, "RequestTimeTooSkewed", "S3 answered 403 RequestTimeTooSkewed; check the clock"),
        (400, "ExpiredToken", "S3 answered 400 ExpiredToken; check the function's role"),
        (301, "PermanentRedirect", "another region, set AWS_REGION or give a client for it"),
        (503, "SlowDown", "could not be fetched: S3 answered 503 SlowDown"),
        (502, "", "could not be fetched: S3 answered 502"),
    ],
)
def test_the_words_say_what_to_do(status: int, code: str, words: str) -> None:
    assert words in str(failure(status, code).error)


@pytest.mark.parametrize("key", ["a+b.json", "a%20b.json", "%C3%BC", "100%"])
def test_a_missing_key_that_looks_url_encoded_says_so(key: str) -> None:
    assert "urllib.parse.unquote_plus()" in str(failure(404, "NoSuchKey", key=ObjectKey("bucket", key)).error)


@pytest.mark.parametrize(
    ("status", "code", "key"), [(404, "NoSuchKey", "a b"), (404, "NoSuchBucket", "a+b"), (403, "AccessDenied", "a b")]
)
def test_url_encoding_is_not_suspected_where_it_cannot_be_the_cause(status: int, code: str, key: str) -> None:
    assert "URL-encoded" not in str(failure(status, code, key=ObjectKey("bucket", key)).error)


@pytest.mark.parametrize("code", ["NoSuchVersion", ""])
def test_a_missing_version_is_no_missing_object(code: str) -> None:
    message = str(failure(404, code, key=VERSION).error)
    assert "s3://bucket/a/key (version v1)" in message
    assert "no such version" in message


def test_a_version_needs_a_permission_of_its_own() -> None:
    assert "s3:GetObjectVersion" in str(failure(403, "AccessDenied", key=VERSION).error)
    assert "s3:GetObjectVersion" not in str(failure(403, "AccessDenied").error)


def is_an_outage(found: Failure) -> bool:
    assert isinstance(found.error, OriginUnavailableError)
    return found.error.outage


@pytest.mark.parametrize(
    ("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (403, "RequestTimeTooSkewed"), (400, "ExpiredToken")]
)
def test_a_failing_endpoint_or_bad_credentials_are_an_outage(status: int, code: str) -> None:
    assert is_an_outage(failure(status, code))


@pytest.mark.parametrize(
    ("status", "code", "key"),
    [
        (403, "InvalidObjectState", KEY),
        (400, "InvalidArgument", ObjectKey("bucket", "key", "no-such-version-id")),
        (400, "InvalidRequest", KEY),  # encrypted with SSE-C, whose key is not given
        (400, "KMS.DisabledException", KEY),
    ],
)
def test_what_concerns_one_object_alone_is_no_outage_of_its_bucket(status: int, code: str, key: ObjectKey) -> None:
    assert not is_an_outage(failure(status, code, key=key))


@pytest.mark.parametrize("flags", [{"transient": True}, {"transient": False}, {"transient": False, "credentials": True}])
def test_no_answer_is_an_outage_with_the_suppliers_advice(flags: dict[str, Any]) -> None:
    found = of_transport(KEY, TransportError("no route", advice="set AWS_REGION", **flags))
    assert is_an_outage(found)
    assert str(found.error) == "s3://bucket/a/key could not be fetched: no route; set AWS_REGION"
    assert (found.transient, found.credentials) == (flags["transient"], flags.get("credentials", False))


def test_without_advice_the_sentence_ends() -> None:
    assert str(of_transport(KEY, TransportError("no route")).error).endswith("could not be fetched: no route")


# -- another body, or a range of it ----------------------------------------------------------------------------------------------


def test_an_object_that_is_overwritten_faster_than_it_comes_is_no_outage() -> None:
    error = changed(KEY)
    assert "s3://bucket/a/key could not be fetched: it was overwritten while it was on its way" in str(error)
    assert (error.bucket, error.key, error.outage) == ("bucket", "a/key", False)


def test_the_whole_where_a_range_was_asked_for_is_about_the_server_and_final() -> None:
    found = another_range(KEY)
    assert "the server sends something else than the range of it that was asked for" in str(found.error)
    assert (found.transient, found.credentials, is_an_outage(found)) == (False, False, False)


# -- listings --------------------------------------------------------------------------------------------------------------------


class Page(Answer):
    """A page that was refused."""

    token = ""

    def __init__(self, status: int, code: str = "") -> None:
        super().__init__(status, code)
        self.objects: list[Listed] = []
        self.prefixes: list[str] = []


def page_failure(status: int, code: str = "") -> Failure:
    return of_page("bucket", "a/", Page(status, code))


@pytest.mark.parametrize(
    ("status", "code", "error", "what", "words"),
    [
        (404, "NoSuchBucket", ObjectNotFoundError, "final", "there is no bucket 'bucket'; check its name"),
        (404, "", ObjectNotFoundError, "final", "there is no bucket 'bucket'"),
        (403, "AccessDenied", AccessDeniedError, "final", "the role needs s3:ListBucket on arn:aws:s3:::bucket"),
        (403, "AllAccessDisabled", AccessDeniedError, "final", "cannot be listed"),
        (403, "", OriginUnavailableError, "final", "S3 answered 403"),
        (403, "RequestTimeTooSkewed", OriginUnavailableError, "credentials", "check the clock"),
        (400, "ExpiredToken", OriginUnavailableError, "credentials", "check the function's role"),
        (301, "PermanentRedirect", OriginUnavailableError, "final", "set AWS_REGION"),
        (503, "SlowDown", OriginUnavailableError, "transient", "S3 answered 503 SlowDown"),
        (500, "", OriginUnavailableError, "transient", "S3 answered 500"),
        (400, "InvalidArgument", OriginUnavailableError, "final", "S3 answered 400 InvalidArgument"),
    ],
)
def test_a_listing_that_is_refused_names_bucket_and_prefix(
    status: int, code: str, error: type[S3WarmError], what: str, words: str
) -> None:
    found = page_failure(status, code)
    assert type(found.error) is error
    assert (found.error.bucket, found.error.key) == ("bucket", "a/")
    assert "s3://bucket/a/" in str(found.error)
    assert words in str(found.error)
    assert (found.transient, found.credentials) == (what == "transient", what == "credentials")


def test_a_listing_needs_no_permission_for_objects() -> None:
    assert "s3:GetObject" not in str(page_failure(403, "AccessDenied").error)


@pytest.mark.parametrize(("status", "code", "outage"), [(503, "SlowDown", True), (400, "InvalidArgument", False)])
def test_a_listing_tells_an_outage_as_a_get_does(status: int, code: str, outage: bool) -> None:
    assert is_an_outage(page_failure(status, code)) == outage
