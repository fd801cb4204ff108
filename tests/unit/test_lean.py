"""Requests without boto3: what is sent, beside what boto3 sends, and what becomes of the answers."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from s3warm.errors import AccessDeniedError, ObjectNotFoundError, OriginUnavailableError
from s3warm.keys import ObjectKey, locate
from s3warm.metrics import Counters
from s3warm.origin import lean, wire
from s3warm.origin.base import Late, Listed, NotModified, Request, TransportError, Upload
from s3warm.origin.fetch import ConditionalFetch
from s3warm.origin.lean import LeanRequests
from tests.support.embedded import EmbeddedS3
from tests.support.static_origin import Fault, StaticOrigin
from tests.support.supplier import PATIENCE, filled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3warm.origin.base import Response

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "the-secret-key", "AWS_REGION": "eu-west-1"}
BUCKET, MIB = "my-bucket", 2**20


def whole(response: Response, piece: int = 100_000) -> bytes:
    body = b""
    while got := filled(response, piece):
        body += got
    response.close()
    return body


def error(status: int, code: str) -> bytes:
    body = f"<Error><Code>{code}</Code></Error>"
    return f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class Listener:
    """Notes what is sent to it, and answers each request with what it was given."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") -> None:
        self.answer = answer
        self.requests: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._threads.append(threading.Thread(target=self._talk, args=(connection,), daemon=True))
                self._threads[-1].start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            data = b""
            while piece := connection.recv(65536):
                data += piece
                while b"\r\n\r\n" in data:
                    request, _, data = data.partition(b"\r\n\r\n")
                    self.requests.append(request.decode("latin-1"))
                    connection.sendall(self.answer)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def ask() -> Iterator[Callable[..., LeanRequests]]:
    """A supplier for an endpoint; closed in the end."""
    made: list[LeanRequests] = []

    def supplier(endpoint: str, **more: str) -> LeanRequests:
        made.append(LeanRequests(CREDENTIALS | {"AWS_ENDPOINT_URL_S3": endpoint} | more))
        return made[-1]

    yield supplier
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def static() -> Iterator[StaticOrigin]:
    with StaticOrigin() as origin:
        yield origin


ASKED: list[dict[str, Any]] = [
    {"RequestPayer": "requester", "ExpectedBucketOwner": "111122223333"},
    {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": bytes(range(32))},
    {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32},
]

# -- what is sent ----------------------------------------------------------------------------------------------------------------

# What boto3 sends as well, and S3 does not need; the time and what depends on it.
UNNEEDED = ("user-agent", "amz-sdk-invocation-id", "amz-sdk-request", "x-amz-date", "authorization")


def parts_of(request: str) -> tuple[str, dict[str, str], str]:
    """The request line with its query in order, the headers that matter, and the names of those that are signed."""
    line, *headers = request.split("\r\n")
    named = {name.lower(): value for name, _, value in (header.partition(": ") for header in headers)}
    path, _, query = line.split(" ")[1].partition("?")
    signed = re.search("SignedHeaders=([^,]*)", named["authorization"])
    assert signed is not None
    kept = {name: value for name, value in named.items() if name not in UNNEEDED}
    return f"{path}?{'&'.join(sorted(query.split('&')))}", kept, signed[1]


@pytest.mark.parametrize("token", ["", "the-session-token"])
@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(ObjectKey(BUCKET, "a/../b c+%é")), {"Key": "a/../b c+%é"}),
        (Request(ObjectKey(BUCKET, "//lead")), {"Key": "//lead"}),
        (Request(ObjectKey(BUCKET, "k", "a+b/c d")), {"Key": "k", "VersionId": "a+b/c d"}),
        (Request(ObjectKey(BUCKET, "k"), '"held"'), {"Key": "k", "IfNoneMatch": '"held"'}),
        (Request(ObjectKey(BUCKET, "k"), if_match='"e"'), {"Key": "k", "IfMatch": '"e"'}),
        *((Request(locate(BUCKET, "k", request=asked)), {"Key": "k", **asked}) for asked in ASKED),
    ],
    ids=str,
)
def test_a_get_is_sent_as_boto3_sends_it(
    listener: Listener, ask: Any, request_: Request, words: dict[str, Any], token: str
) -> None:
    whole(ask(listener.endpoint, AWS_SESSION_TOKEN=token).get(request_))
    client(listener.endpoint, token).get_object(Bucket=BUCKET, **words)["Body"].read()
    ours, theirs = map(parts_of, listener.requests)
    assert ours == theirs


@pytest.mark.parametrize("size", [0, 3, 700_000])
@pytest.mark.parametrize("asked", [None, *ASKED])
def test_an_object_is_written_as_boto3_writes_it(listener: Listener, ask: Any, size: int, asked: dict[str, Any] | None) -> None:
    listener.answer = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n'
    body = bytes(size)
    upload = Upload(locate(BUCKET, "a b/é", request=asked), body, "text/plain", "gzip", "max-age=5", {"owner": "ops"})
    assert ask(listener.endpoint).write(upload).headers["etag"] == '"e"'
    described = {
        "ContentType": "text/plain",
        "ContentEncoding": "gzip",
        "CacheControl": "max-age=5",
        "Metadata": {"owner": "ops"},
    }
    client(listener.endpoint).put_object(Bucket=BUCKET, Key="a b/é", Body=body, **described, **(asked or {}))
    (path, ours, signed), (their_path, theirs, _) = map(parts_of, listener.requests)
    assert path == their_path
    assert ours.pop("x-amz-content-sha256") == hashlib.sha256(body).hexdigest()
    # boto3 sends a CRC-32 in its place, the one of an empty body in a header, and expects to be told to go on.
    for name in ("x-amz-content-sha256", "expect", "x-amz-sdk-checksum-algorithm", "x-amz-checksum-crc32", "x-amz-trailer"):
        theirs.pop(name, None)
    kept = {name: value for name, value in theirs.items() if name not in ("transfer-encoding", "x-amz-decoded-content-length")}
    assert {name: value.replace("gzip,aws-chunked", "gzip") for name, value in kept.items()}.items() <= ours.items()
    assert "content-length;" in signed


def test_a_range_is_asked_for_without_a_checksum(listener: Listener, ask: Any) -> None:
    whole(ask(listener.endpoint).get(Request(ObjectKey(BUCKET, "k"), if_match='"e"', span=(5, 99))))
    client(listener.endpoint).get_object(Bucket=BUCKET, Key="k", IfMatch='"e"', Range="bytes=5-99")["Body"].read()
    (path, ours, signed), (their_path, theirs, _) = map(parts_of, listener.requests)
    del theirs["x-amz-checksum-mode"]  # botocore sends it there too, and S3 has no checksum of a range
    assert (path, ours) == (their_path, theirs)
    assert signed == "host;if-match;range;x-amz-content-sha256;x-amz-date"


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize(("prefix", "token"), [("", ""), ("a b/+~é", ""), ("a", "x+/=="), ("\x01&=?", "é")])
def test_a_listing_is_asked_for_as_boto3_does(listener: Listener, ask: Any, prefix: str, token: str, delimiter: str) -> None:
    listener.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n<ListBucketResult/>"
    ask(listener.endpoint).list(BUCKET, prefix, token, delimiter=delimiter)
    more = {name: value for name, value in (("ContinuationToken", token), ("Delimiter", delimiter)) if value}
    client(listener.endpoint).list_objects_v2(Bucket=BUCKET, Prefix=prefix, **more)
    ours, theirs = map(parts_of, listener.requests)
    assert ours == theirs


def client(endpoint: str, token: str = "") -> Any:
    config = Config(retries={"total_max_attempts": 1})
    keys: dict[str, Any] = {
        "aws_access_key_id": CREDENTIALS["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    }
    keys |= {"aws_session_token": token} if token else {}
    return boto3.session.Session().client("s3", endpoint_url=endpoint, region_name="eu-west-1", config=config, **keys)


@pytest.mark.parametrize(
    ("setting", "checksums", "sent"), [("", False, True), ("when_supported", False, True), ("WHEN_REQUIRED", False, False), ("when_required", True, True)]
)  # fmt: skip
def test_checksums_are_asked_for_where_boto3_asks_for_them(
    listener: Listener, setting: str, checksums: bool, sent: bool
) -> None:
    environ = CREDENTIALS | {"AWS_ENDPOINT_URL": listener.endpoint, "AWS_RESPONSE_CHECKSUM_VALIDATION": setting}
    requests = LeanRequests(environ, checksums=checksums)
    whole(requests.get(Request(ObjectKey(BUCKET, "k"))))
    requests.close()
    assert ("\r\nx-amz-checksum-mode: ENABLED\r\n" in listener.requests[0]) is sent


@pytest.mark.parametrize(
    "wanted",
    [
        Request(ObjectKey(BUCKET, "k"), if_match='"e"\r\nx: y'),
        Request(ObjectKey(BUCKET, "k"), '"e"\n'),
        Request(ObjectKey(BUCKET, "k"), '"é"'),
        Request(ObjectKey(BUCKET, "a\ud800")),
    ],
    ids=ascii,
)
def test_what_cannot_be_sent(listener: Listener, ask: Any, wanted: Request) -> None:
    with pytest.raises(ValueError, match=r"header|ascii|utf-8"):
        ask(listener.endpoint).get(wanted)
    assert listener.requests == []


def test_credentials_may_rotate(listener: Listener) -> None:
    environ = CREDENTIALS | {"AWS_ENDPOINT_URL": listener.endpoint}
    requests = LeanRequests(environ)
    for key in ("AKIDONE", "AKIDTWO"):
        environ["AWS_ACCESS_KEY_ID"] = key
        whole(requests.get(Request(ObjectKey(BUCKET, "k"))))
    requests.close()
    assert [re.findall("Credential=(\\w+)/", request) for request in listener.requests] == [["AKIDONE"], ["AKIDTWO"]]
    assert "the-secret-key" not in "".join(listener.requests)
    assert requests.refresh_credentials()


def test_credentials_of_the_containers_endpoint(listener: Listener) -> None:
    endpoint = Listener()
    body = b'{"AccessKeyId": "AKIDSNAP", "SecretAccessKey": "s", "Token": "t", "Expiration": "2999-01-01T00:00:00Z"}'
    endpoint.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    requests = LeanRequests(
        {
            "AWS_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL": listener.endpoint,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{endpoint.endpoint}/v1?x",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "the-bearer",
        }
    )
    for _ in range(2):
        whole(requests.get(Request(ObjectKey(BUCKET, "k"))))
    requests.refresh_credentials()
    whole(requests.get(Request(ObjectKey(BUCKET, "k"))))
    requests.close()
    endpoint.close()
    assert len(endpoint.requests) == 2
    assert endpoint.requests[0].startswith("GET /v1?x HTTP/1.1\r\nhost: 127.0.0.1:")
    assert "\r\nauthorization: the-bearer\r\n" in endpoint.requests[0] + "\r\n"
    assert all("Credential=AKIDSNAP/" in request and "x-amz-security-token: t\r\n" in request for request in listener.requests)


@pytest.mark.parametrize(
    ("environ", "why", "credentials"),
    [
        ({"AWS_REGION": "eu-west-1"}, "no credentials", True),
        ({"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s"}, "no region", False),
        (CREDENTIALS | {"AWS_ENDPOINT_URL": "nonsense"}, "the endpoint's URL cannot be used", False),
    ],
)
@pytest.mark.parametrize("operation", ["get", "list"])
def test_what_keeps_a_request_from_being_sent(operation: str, environ: dict[str, str], why: str, credentials: bool) -> None:
    requests = LeanRequests(environ)
    with pytest.raises(TransportError, match=why) as caught:
        _ = requests.get(Request(ObjectKey(BUCKET, "k"))) if operation == "get" else requests.list(BUCKET, "", "")
    error = caught.value
    assert (error.transient, error.credentials, error.outage) == (False, credentials, True)
    assert error.advice


# -- what comes back -------------------------------------------------------------------------------------------------------------


def test_a_body(static: StaticOrigin, ask: Any) -> None:
    body = os.urandom(3 * MIB)
    etag = static.put(BUCKET, "a b/é", body, content_type="x/y", x_amz_checksum_crc32="AAAAAA==")
    response = ask(static.endpoint).get(Request(ObjectKey(BUCKET, "a b/é")))
    assert (response.status, response.code, response.cause) == (200, "", None)
    assert response.headers["etag"] == etag
    assert response.headers["content-type"] == "x/y"
    assert response.headers["x-amz-checksum-crc32"] == "AAAAAA=="
    assert whole(response) == body


def test_conditions_and_ranges(static: StaticOrigin, ask: Any) -> None:
    etag = static.put(BUCKET, "k", b"0123456789")
    requests = ask(static.endpoint)
    static.forget()

    def answered(**wanted: Any) -> tuple[int, str, bytes]:
        response = requests.get(Request(ObjectKey(BUCKET, "k"), **wanted))
        return response.status, response.code, whole(response)

    assert answered(if_none_match=etag) == (304, "", b"")
    assert answered(if_none_match='"other"') == (200, "", b"0123456789")
    assert answered(if_match=etag, span=(2, 4)) == (206, "", b"234")
    assert answered(if_match='"other"') == (412, "PreconditionFailed", b"")
    assert answered(span=(10, 20)) == (416, "InvalidRange", b"")
    assert [seen.range for seen in static.requests()] == ["", "", "bytes=2-4", "", "bytes=10-20"]


def test_errors_do_not_cost_the_connection(ask: Any) -> None:
    listener = Listener(error(404, "NoSuchKey"))
    requests = ask(listener.endpoint)
    for _ in range(3):
        response = requests.get(Request(ObjectKey(BUCKET, "k")))
        assert (response.status, response.code, filled(response, 9)) == (404, "NoSuchKey", b"")
        response.close()
    listener.close()
    assert len(listener._threads) == 2  # it accepted one connection


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n", (503, "")),
        (b"HTTP/1.1 502 x\r\nContent-Length: 6\r\n\r\n<html>", (502, "")),
        (error(301, "PermanentRedirect"), (301, "PermanentRedirect")),
        (
            b"HTTP/1.1 403 x\r\nTransfer-Encoding: chunked\r\n\r\n24\r\n<Error><Code>SlowDown</Code></Error>\r\n0\r\n\r\n",
            (403, "SlowDown"),
        ),
        (b"HTTP/1.1 500 x\r\nContent-Length: 900000\r\n\r\n<Error><Code>Big</Code>" + b" " * 899_977, (500, "Big")),
    ],
    ids=lambda value: repr(value)[:50],
)
@pytest.mark.parametrize("operation", ["get", "list"])
def test_errors(listener: Listener, ask: Any, operation: str, answer: bytes, expected: tuple[int, str]) -> None:
    listener.answer = answer
    requests = ask(listener.endpoint)
    said = requests.get(Request(ObjectKey(BUCKET, "k"))) if operation == "get" else requests.list(BUCKET, "", "")
    assert (said.status, said.code) == expected


def test_an_error_that_breaks_off_is_no_answer(listener: Listener, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "READ_TIMEOUT", 0.05)
    listener.answer = b"HTTP/1.1 404 x\r\nContent-Length: 99\r\n\r\n<Error>"
    with pytest.raises(TransportError, match="the body broke off") as caught:
        ask(listener.endpoint).get(Request(ObjectKey(BUCKET, "k")))
    assert caught.value.transient


def test_listings(static: StaticOrigin, ask: Any) -> None:
    keys = sorted(["odd/a b", "odd/a+b", "odd/é&<>\"'", "odd/%20", "odd//x", "odd/\x01"])
    etags = {key: static.put("listed", key, key.encode()) for key in keys}
    for number in range(1100):
        static.put("listed", f"zz/{number:04}", b"")
    requests = ask(static.endpoint)
    page = requests.list("listed", "odd/", "")
    assert (page.status, page.token, page.code, page.cause) == (200, "", "", None)
    assert [each._replace(last_modified=None) for each in page.objects] == [
        Listed(key, etags[key], len(key.encode())) for key in keys
    ]
    assert all(each.last_modified is not None for each in page.objects)
    first = requests.list("listed", "zz/", "")
    second = requests.list("listed", "zz/", first.token)
    assert (len(first.objects), len(second.objects), bool(first.token), second.token) == (1000, 100, True, "")
    assert requests.list("listed", "nothing", "").objects == []


def test_a_listing_that_is_none(listener: Listener, ask: Any) -> None:
    listener.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"
    with pytest.raises(TransportError, match="no page of a listing"):
        ask(listener.endpoint).list(BUCKET, "", "")


def test_a_listing_has_an_end(listener: Listener, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "_LONGEST_PAGE", 1000)
    listener.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"%-899981s%s" % (
        b"<ListBucketResult>",
        b"</ListBucketResult>",
    )
    with pytest.raises(TransportError, match="no page of a listing"):
        ask(listener.endpoint).list(BUCKET, "", "")


# -- failures --------------------------------------------------------------------------------------------------------------------


def test_nobody_listens(ask: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(TransportError, match="refused") as caught:
        ask(f"http://127.0.0.1:{port}").get(Request(ObjectKey(BUCKET, "k")))
    assert (caught.value.transient, caught.value.outage) == (True, True)


def test_a_connection_without_an_answer(static: StaticOrigin, ask: Any) -> None:
    static.put(BUCKET, "refused", b"body")
    static.fault(Fault("refuse", key="refused"))
    with pytest.raises(TransportError, match="closed without an answer") as caught:
        ask(static.endpoint).get(Request(ObjectKey(BUCKET, "refused")))
    assert caught.value.transient


def test_a_kept_connection_without_an_answer_is_replaced(static: StaticOrigin, ask: Any) -> None:
    static.put(BUCKET, "replaced", b"body")
    requests = ask(static.endpoint)
    whole(requests.get(Request(ObjectKey(BUCKET, "replaced"))))
    static.fault(Fault("refuse", key="replaced"))
    assert whole(requests.get(Request(ObjectKey(BUCKET, "replaced")))) == b"body"


@pytest.mark.parametrize("kind", ["reset", "truncate"])
def test_a_body_that_breaks(static: StaticOrigin, ask: Any, kind: str) -> None:
    static.put(BUCKET, kind, bytes(200_000))
    static.fault(Fault(kind, 100_000, kind))
    response = ask(static.endpoint).get(Request(ObjectKey(BUCKET, kind)))
    received = 0
    while received < 100_000:
        received += len(filled(response, 30_000))
    with pytest.raises(TransportError, match="the body broke off") as caught:
        filled(response, 30_000)
    response.close()
    assert received == 100_000
    assert caught.value.transient


def test_silence(static: StaticOrigin, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "READ_TIMEOUT", 0.05)
    static.put(BUCKET, "late", b"body")
    static.fault(Fault("late", key="late"))
    with pytest.raises(TransportError, match="no answer in time") as caught:
        ask(static.endpoint).get(Request(ObjectKey(BUCKET, "late")))
    assert not caught.value.transient


@pytest.mark.parametrize("operation", ["get", "list"])
def test_deadlines(static: StaticOrigin, ask: Any, operation: str) -> None:
    static.put(BUCKET, "deadline", b"body")
    requests = ask(static.endpoint)
    static.fault(Fault("late", key="deadline"))

    def send(deadline: float) -> Any:
        if operation == "list":
            return requests.list(BUCKET, "", "", deadline)
        return requests.get(Request(ObjectKey(BUCKET, "deadline"), deadline=deadline))

    if operation == "get":
        with pytest.raises(Late, match="no answer in the"):
            send(time.monotonic() + 0.05)
    with pytest.raises(Late, match="no time left to ask S3"):
        send(time.monotonic())
    said = send(time.monotonic() + PATIENCE)
    assert said.status == 200
    if operation == "get":
        assert whole(said) == b"body"


def test_a_stall_in_a_body_ends_at_the_deadline(static: StaticOrigin, ask: Any) -> None:
    static.put(BUCKET, "stall", bytes(1000))
    static.fault(Fault("stall", 500, "stall"))
    response = ask(static.endpoint).get(Request(ObjectKey(BUCKET, "stall"), deadline=time.monotonic() + 0.1))
    received = 0
    while received < 500:
        received += len(filled(response, 1000))
    with pytest.raises(Late, match="no time left for the rest"):
        filled(response, 1000)
    response.close()


def test_closing_a_stalled_body_does_not_wait_for_it(static: StaticOrigin, ask: Any) -> None:
    static.put(BUCKET, "left", bytes(1000))
    static.fault(Fault("stall", 500, "left"))
    response = ask(static.endpoint).get(Request(ObjectKey(BUCKET, "left")))
    began = time.monotonic()
    response.close()
    assert time.monotonic() - began < wire.READ_TIMEOUT / 2


# -- within the fetch ------------------------------------------------------------------------------------------------------------


def fetcher(requests: LeanRequests, counters: Counters | None = None) -> ConditionalFetch:
    return ConditionalFetch(requests, counters or Counters(), sleep=lambda _: None)


def test_a_large_object_in_parts_over_connections_that_break(static: StaticOrigin, ask: Any) -> None:
    body = os.urandom(20 * MIB)
    etag = static.put(BUCKET, "large", body)
    # Early in a part: the request for its rest may come before those for other parts, and has to meet its fault as they do.
    static.fault(*(Fault(kind, 300_000, "large") for kind in ("reset", "truncate", "503")))
    static.forget()
    counters = Counters()
    with contextlib.closing(fetcher(ask(static.endpoint), counters)) as origin:
        arriving = origin.fetch(ObjectKey(BUCKET, "large"), if_none_match=None)
        assert not isinstance(arriving, NotModified)
        fetched = arriving.read(64 * MIB, lambda *_: None)
        arriving.close()
        assert hashlib.md5(fetched.body).digest() == hashlib.md5(body).digest()
        assert (fetched.info.etag, fetched.info.verified_by) == (etag, "md5")
        assert origin.fetch(ObjectKey(BUCKET, "large"), if_none_match=etag) == NotModified(etag)
    assert len(static.requests()) == counters.origin_requests == 9  # five parts, three faults, and the 304


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (error(404, "NoSuchKey"), ObjectNotFoundError),
        (error(403, "AccessDenied"), AccessDeniedError),
        (error(400, "ExpiredToken"), OriginUnavailableError),
        (b"HTTP/1.1 400 x\r\nContent-Length: 0\r\n\r\n", OriginUnavailableError),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_the_fetch_makes_of_it(listener: Listener, ask: Any, answer: bytes, raised: type[Exception]) -> None:
    listener.answer = answer
    with pytest.raises(raised):
        fetcher(ask(listener.endpoint)).fetch(ObjectKey(BUCKET, "k"), if_none_match=None)
    assert len(listener.requests) == (2 if b"ExpiredToken" in answer else 1)  # once more with new credentials


def test_a_server_that_is_down_is_asked_three_times(static: StaticOrigin, ask: Any) -> None:
    static.put(BUCKET, "down", b"body")
    static.fault(*[Fault("503", key="down")] * 2)
    static.forget()
    arriving = fetcher(ask(static.endpoint)).fetch(ObjectKey(BUCKET, "down"), if_none_match=None)
    assert not isinstance(arriving, NotModified)
    assert arriving.read(MIB, lambda *_: None).body == b"body"
    arriving.close()
    assert [seen.status for seen in static.requests()] == [503, 503, 200]


def test_over_motos_server(ask: Any) -> None:
    with EmbeddedS3() as server:
        theirs = client(server.endpoint)
        theirs.create_bucket(Bucket="moto-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        theirs.put_bucket_versioning(Bucket="moto-bucket", VersioningConfiguration={"Status": "Enabled"})
        keys = ["a b", "é/🪣", "a+b", "x%2Fy", "~tilde"]
        versions = {key: theirs.put_object(Bucket="moto-bucket", Key=key, Body=key.encode())["VersionId"] for key in keys}
        for key in keys:
            theirs.put_object(Bucket="moto-bucket", Key=key, Body=b"new")
        requests = ask(server.endpoint)
        for key in keys:
            assert whole(requests.get(Request(ObjectKey("moto-bucket", key)))) == b"new"
            assert whole(requests.get(Request(ObjectKey("moto-bucket", key, versions[key])))) == key.encode()
        missing = requests.get(Request(ObjectKey("moto-bucket", "missing")))
        assert (missing.status, missing.code) == (404, "NoSuchKey")
        assert [listed.key for listed in requests.list("moto-bucket", "", "").objects] == sorted(keys)
        requests.close()
        server.reset()


# -- what it costs ---------------------------------------------------------------------------------------------------------------


def test_a_get_imports_little(static: StaticOrigin) -> None:
    """What boto3, http.client, email, ssl, urllib and typing cost is what this is without."""
    static.put(BUCKET, "cheap", b"x" * 1024)
    source = """
import sys
import s3warm
from s3warm.keys import ObjectKey
from s3warm.origin.base import Request
from s3warm.origin.lean import LeanRequests
response = LeanRequests().get(Request(ObjectKey("my-bucket", "cheap")))
assert response.readinto(memoryview(bytearray(2000))) == 1024
heavy = "boto3 botocore urllib3 http email urllib ssl typing dataclasses json xml datetime inspect concurrent hmac logging"
print(" ".join(name for name in heavy.split() if name in sys.modules))
"""
    environ = {**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL": static.endpoint}
    said = subprocess.run([sys.executable, "-S", "-c", source], env={**environ, "PYTHONPATH": os.getcwd()}, capture_output=True, text=True, check=False)  # fmt: skip
    assert (said.stdout.strip(), said.stderr) == ("", "")


def test_a_request_is_one_write_and_an_answer_one_read(static: StaticOrigin, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    etag = static.put(BUCKET, "calls", b"x" * 1024)
    requests = ask(static.endpoint)
    whole(requests.get(Request(ObjectKey(BUCKET, "calls"))))
    (kept,) = requests._connections._idle.values()
    connection, calls = kept[0][0], list[str]()
    real = connection.socket

    class Spy:
        def __getattr__(self, name: str) -> Any:
            if name != "fileno":
                calls.append(name)
            return getattr(real, name)

    connection.socket = Spy()
    assert whole(requests.get(Request(ObjectKey(BUCKET, "calls"), etag))) == b""
    assert calls == ["sendall", "recv_into"]
    calls.clear()
    assert len(whole(requests.get(Request(ObjectKey(BUCKET, "calls"))))) == 1024
    assert calls == ["sendall", "recv_into"]
