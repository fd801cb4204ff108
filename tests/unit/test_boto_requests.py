"""Requests in boto3's words, and boto3's answers in ours."""

from __future__ import annotations

import io
import socket
import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import botocore.exceptions as failed
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.response import StreamingBody
from botocore.stub import Stubber
from urllib3.exceptions import IncompleteRead, ProtocolError, ReadTimeoutError

from s3warm.keys import ObjectKey
from s3warm.origin import boto
from s3warm.origin.base import KEPT, Damaged, Late, Listed, Request, TransportError
from s3warm.origin.boto import BotoRequests, BotoResponse
from tests.support.supplier import KEY, filled

if TYPE_CHECKING:
    from collections.abc import Callable


class Client:
    """A client of the user's that notes what it is called with, and answers or raises."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[dict[str, Any]] = []
        self.closed = 0

    def get_object(self, **parameters: Any) -> Any:
        self.calls.append(parameters)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    list_objects_v2 = get_object

    def close(self) -> None:
        self.closed += 1


class Body:
    """A body of botocore's; an exception among the chunks is raised in its place."""

    def __init__(self, *chunks: bytes | BaseException) -> None:
        self.chunks = list(chunks)
        self.timeouts: list[float] = []
        self.closed = 0

    def readinto(self, buffer: memoryview) -> int:
        chunk = self.chunks.pop(0) if self.chunks else b""
        if isinstance(chunk, BaseException):
            raise chunk
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def set_socket_timeout(self, seconds: float) -> None:
        self.timeouts.append(seconds)

    def close(self) -> None:
        self.closed += 1


def answer(body: Any, status: int = 200, **headers: str) -> dict[str, Any]:
    return {"ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers}, "Body": body}


def refusal(status: int, code: str, **headers: str) -> failed.ClientError:
    said: Any = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers}}
    return failed.ClientError(said, "GetObject")


class Clock:
    """In the place of the module `time`."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(boto, "time", made)
    return made


# -- GET -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "more"),
    [
        (Request(KEY), {}),
        (Request(ObjectKey("bucket", "key", "v1")), {"VersionId": "v1"}),
        (Request(KEY, '"held"'), {"IfNoneMatch": '"held"'}),
        (Request(KEY, if_match='"e"'), {"IfMatch": '"e"'}),
        (Request(KEY, span=(0, 0)), {"Range": "bytes=0-0"}),
        (Request(KEY, if_match='"e"', span=(5, 99)), {"IfMatch": '"e"', "Range": "bytes=5-99"}),
        (Request(KEY, "", ""), {}),
    ],
    ids=str,
)
def test_what_is_asked_for_in_boto3s_words(request_: Request, more: dict[str, str]) -> None:
    client = Client(answer(Body()))
    BotoRequests(client).get(request_)
    assert client.calls == [{"Bucket": "bucket", "Key": "key", **more}]


def real_client() -> Any:
    return boto3.session.Session().client("s3", region_name="us-east-1", config=Config(signature_version=UNSIGNED))


def test_botocore_takes_these_words() -> None:
    client = real_client()
    said = {
        "Body": StreamingBody(io.BytesIO(b"dy"), 2),
        "ResponseMetadata": {"HTTPStatusCode": 206, "HTTPHeaders": {"etag": '"e"'}},
    }
    sent = {"Bucket": "bucket", "Key": "key", "VersionId": "v1", "IfMatch": '"e"', "Range": "bytes=2-3"}
    with Stubber(client) as stubber:
        stubber.add_response("get_object", said, sent)
        response = BotoRequests(client).get(Request(ObjectKey("bucket", "key", "v1"), if_match='"e"', span=(2, 3)))
        stubber.assert_no_pending_responses()
    assert (response.status, response.headers, response.code, response.cause) == (206, {"etag": '"e"'}, "", None)
    assert (filled(response, 9), filled(response, 9)) == (b"dy", b"")
    response.close()
    client.close()


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (404, "NoSuchKey", "NoSuchKey"),
        (412, "PreconditionFailed", "PreconditionFailed"),
        (416, "InvalidRange", "InvalidRange"),
        (304, "304", ""),
        (503, "503", ""),
        (0, "", ""),
    ],
)
def test_an_error_is_an_answer_without_a_body(status: int, code: str, said: str) -> None:
    error = refusal(status, code, etag='"e"')
    response = BotoRequests(Client(error)).get(Request(KEY))
    assert (response.status, response.code, response.headers, response.cause) == (status, said, {"etag": '"e"'}, error)
    assert filled(response, 9) == b""
    response.close()


@pytest.mark.parametrize(
    ("error", "transient", "credentials", "outage"),
    [
        (failed.EndpointConnectionError(endpoint_url="x"), True, False, True),
        (failed.ConnectionClosedError(endpoint_url="x"), True, False, True),
        (ProtocolError("reset"), True, False, True),
        (failed.ReadTimeoutError(endpoint_url="x"), False, False, True),
        (ReadTimeoutError(None, "x", "slow"), False, False, True),  # type: ignore[arg-type]
        (failed.ConnectTimeoutError(endpoint_url="x"), False, False, True),
        (failed.NoCredentialsError(), False, True, True),
        (failed.NoRegionError(), False, False, True),
        (failed.ParamValidationError(report="x"), False, False, False),
        (ValueError("Invalid endpoint"), False, False, True),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("operation", ["get", "list"])
def test_what_keeps_a_request_from_an_answer(
    operation: str, error: Exception, transient: bool, credentials: bool, outage: bool
) -> None:
    requests = BotoRequests(Client(error))
    with pytest.raises(TransportError) as caught:
        _ = requests.get(Request(KEY)) if operation == "get" else requests.list("bucket", "", "")
    raised = caught.value
    assert (raised.transient, raised.credentials, raised.outage) == (transient, credentials, outage)
    assert raised.__cause__ is error


def test_a_bug_of_the_clients_is_the_users_to_see() -> None:
    with pytest.raises(ZeroDivisionError):
        BotoRequests(Client(ZeroDivisionError())).get(Request(KEY))


# -- bodies ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        failed.ReadTimeoutError(endpoint_url="x"),
        failed.ResponseStreamingError(error="x"),
        failed.IncompleteReadError(actual_bytes=2, expected_bytes=4),
        IncompleteRead(2, 4),
        ProtocolError("reset"),
        ConnectionResetError("reset"),
        TimeoutError("slow"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_body_that_breaks_may_be_gone_on_with(error: Exception) -> None:
    body = Body(b"bo", error)
    response = BotoRequests(Client(answer(body))).get(Request(KEY))
    assert filled(response, 9) == b"bo"
    with pytest.raises(TransportError, match="the body broke off") as caught:
        filled(response, 9)
    assert caught.value.transient
    assert not isinstance(caught.value, Damaged)
    assert caught.value.__cause__ is error
    response.close()
    assert body.closed == 1


def test_a_checksum_of_botocores_that_does_not_match_is_damage() -> None:
    error = failed.FlexibleChecksumError(error_msg="Expected checksum x did not match")
    response = BotoRequests(Client(answer(Body(error)))).get(Request(KEY))
    with pytest.raises(Damaged, match="Expected checksum x did not match") as caught:
        filled(response, 9)
    assert caught.value.__cause__ is error


# -- deadlines -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [0.0, 1.0])
def test_nothing_is_sent_when_the_time_is_over(clock: Clock, late: float) -> None:
    client = Client(answer(Body(b"body")))
    with pytest.raises(TransportError, match="no time left to ask S3") as caught:
        BotoRequests(client).get(Request(KEY, deadline=clock.now - late))
    assert not caught.value.transient
    assert client.calls == []


def test_nothing_is_read_when_the_time_is_over(clock: Clock) -> None:
    body = Body(b"bo", b"dy")
    response = BotoResponse(answer(body), body, None, 110.0)
    assert filled(response, 9) == b"bo"
    clock.now = 110.0
    with pytest.raises(TransportError, match="no time left for the rest of the body") as caught:
        filled(response, 9)
    assert not caught.value.transient
    assert body.chunks == [b"dy"]


def test_a_read_that_would_last_longer_than_there_is_time_is_cut() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as stream:
        body = Body()
        body.readinto = stream.readinto  # type: ignore[assignment,method-assign]
        body._raw_stream = SimpleNamespace(_fp=SimpleNamespace(fp=stream))  # type: ignore[attr-defined]
        response = BotoRequests(Client(answer(body))).get(Request(KEY, deadline=time.monotonic() + 0.05))
        theirs.sendall(b"bo")
        assert filled(response, 9) == b"bo"  # it would wait for the other seven for good
        with pytest.raises(Late, match="no time left for the rest of the body"):
            filled(response, 9)
        response.close()


def test_a_body_that_is_closed_in_time_leaves_its_connection_alone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as stream:
        body = Body(b"body")
        body._raw_stream = SimpleNamespace(_fp=SimpleNamespace(fp=stream))  # type: ignore[attr-defined]
        response = BotoRequests(Client(answer(body))).get(Request(KEY, deadline=time.monotonic() + 60))
        before = threading.active_count()
        assert filled(response, 9) == b"body"
        (timer,) = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
        response.close()
        timer.join()
        assert threading.active_count() == before
        theirs.sendall(b"next")
        assert ours.recv(9) == b"next"


def test_without_a_deadline_time_is_nothing(clock: Clock) -> None:
    body = Body(b"body")
    response = BotoRequests(Client(answer(body))).get(Request(KEY))
    clock.now = 1e9
    assert filled(response, 9) == b"body"
    assert body.timeouts == []


def test_the_deadline_of_an_error_is_of_no_use(clock: Clock) -> None:
    response = BotoResponse({}, None, RuntimeError(), 101.0)
    assert filled(response, 9) == b""


def test_a_body_without_a_socket_is_read_for_all_its_deadline(clock: Clock) -> None:
    body = StreamingBody(io.BytesIO(b"body"), 4)
    response = BotoResponse(answer(body), body, None, clock.now + 1)
    assert filled(response, 9) == b"body"


# -- listings --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "delimiter", "more"),
    [("", "", {}), ("t", "", {"ContinuationToken": "t"}), ("t", "/", {"ContinuationToken": "t", "Delimiter": "/"})],
)
def test_a_page_is_asked_for_and_understood(token: str, delimiter: str, more: dict[str, str]) -> None:
    client = real_client()
    written = datetime(2026, 1, 1, tzinfo=UTC)
    said = {
        "Contents": [
            {"Key": "a/1", "ETag": '"e1"', "Size": 1, "LastModified": written},
            {"Key": "a/2", "ETag": '"e2"', "Size": 2},
        ],
        "CommonPrefixes": [{"Prefix": "a/b c/"}, {"Prefix": "a/d/"}],
        "NextContinuationToken": "next",
        "ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": {"x": "y"}},
    }
    with Stubber(client) as stubber:
        stubber.add_response("list_objects_v2", said, {"Bucket": "bucket", "Prefix": "a/", **more})
        page = BotoRequests(client).list("bucket", "a/", token, delimiter=delimiter)
        stubber.assert_no_pending_responses()
    assert page.objects == [Listed("a/1", '"e1"', 1, 1767225600.0), Listed("a/2", '"e2"', 2)]
    assert page.prefixes == ["a/b c/", "a/d/"]
    assert (page.status, page.headers, page.code, page.cause, page.token) == (200, {"x": "y"}, "", None, "next")
    client.close()


def test_a_page_without_anything_is_the_last_one() -> None:
    page = BotoRequests(Client(answer(None))).list("bucket", "a/", "")
    assert (page.status, page.objects, page.prefixes, page.token) == (200, [], [], "")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("AccessDenied", "AccessDenied"),
        ("403", ""),
    ],
)
def test_a_page_that_is_refused_is_an_answer(code: str, said: str) -> None:
    error = refusal(403, code, etag="x")
    page = BotoRequests(Client(error)).list("bucket", "a/", "")
    assert (page.status, page.code, page.headers, page.cause) == (403, said, {"etag": "x"}, error)
    assert (page.objects, page.token) == ([], "")


# -- clients ---------------------------------------------------------------------------------------------------------------------


def test_a_client_of_the_users_is_used_as_it_is_and_left_open() -> None:
    client = Client(answer(Body()))
    requests = BotoRequests(client)
    assert requests.retries
    assert not requests.refresh_credentials()
    requests.renew()
    requests.get(Request(KEY))
    requests.close()
    assert client.closed == 0


@pytest.mark.parametrize(("pool", "connections"), [(None, 10), ("many", 10), (0, 10), (4, 4), (16, 16), (200, 200)])
def test_no_more_connections_are_used_than_the_users_client_keeps(pool: object, connections: int) -> None:
    client = SimpleNamespace(meta=SimpleNamespace(config=SimpleNamespace(max_pool_connections=pool)))
    assert BotoRequests(client).connections == connections
    assert BotoRequests(Client(answer(Body()))).connections == 10, "a stub does not say"
    assert BotoRequests().connections == KEPT


def test_a_client_of_its_own_is_made_when_it_is_needed_and_anew_for_new_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Client] = []

    def new_client() -> Client:
        made.append(Client(answer(Body())))
        return made[-1]

    monkeypatch.setattr(boto, "_new_client", new_client)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
    requests = BotoRequests()
    assert (requests.retries, made) == (False, [])
    steps: list[tuple[Callable[[], object], int]] = [
        (lambda: None, 1),
        (requests.renew, 1),
        (requests.refresh_credentials, 2),
        (lambda: monkeypatch.setenv("AWS_ACCESS_KEY_ID", "two"), 3),
        (requests.close, 4),
    ]
    for step, clients in steps:
        step()
        requests.get(Request(KEY))
        requests.list("bucket", "", "")
        assert len(made) == clients
    requests.close()
    requests.close()
    assert [client.closed for client in made] == [0, 0, 1, 1]


def test_a_forked_child_leaves_the_client_to_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Client] = []

    def new_client() -> Client:
        made.append(Client(answer(Body())))
        return made[-1]

    monkeypatch.setattr(boto, "_new_client", new_client)
    requests = BotoRequests()
    requests.get(Request(KEY))
    child = SimpleNamespace(getpid=lambda: -1, environ={})
    monkeypatch.setattr(boto, "os", child)
    requests.renew()
    requests.get(Request(KEY))
    requests.close()
    assert [client.closed for client in made] == [0, 1]
