"""The static origin itself: benches and chaos tests are worth what it is worth."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError

from tests.support.static_origin import KINDS, Fault, Pacer, Served, StaticOrigin, span

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "bucket"
PATIENCE = 30.0  # for what happens at once unless it never does
SHORT = 0.05  # for what never happens
MIB = 1024 * 1024
SMALL = bytes(range(256)) * 4
LARGE = os.urandom(MIB) * 3  # more than goes out with the head


@pytest.fixture(scope="module")
def process() -> Iterator[StaticOrigin]:
    with StaticOrigin() as origin:
        yield origin


@pytest.fixture
def origin(process: StaticOrigin) -> Iterator[StaticOrigin]:
    """One process for all tests, as it was when it started, but for faults that a test left queued."""
    process.forget()
    yield process
    process.chaos(0, 0.0, [])
    process.pace(latency=0.0, rate=None)


class Answer:
    """A response that was read to its end."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def code(self) -> str | None:
        return ET.fromstring(self.body).findtext("Code")


@pytest.fixture
def http_client(origin: StaticOrigin) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(origin.endpoint.removeprefix("http://"), timeout=PATIENCE)
    with contextlib.closing(connection):
        yield connection


Ask = Callable[..., Answer]


@pytest.fixture
def ask(http_client: http.client.HTTPConnection) -> Ask:
    """Make a request and read the answer; header names with _ for -."""

    def ask(key: str, method: str = "GET", *, query: str = "", **headers: str) -> Answer:
        target = f"/{BUCKET}/{quote(key)}" if key else f"/{BUCKET}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        http_client.request(method, target + (f"?{query}" if query else ""), headers=named)
        try:
            return Answer(http_client.getresponse())
        except (OSError, http.client.HTTPException):
            http_client.close()  # the next request has a new one
            raise

    return ask


@pytest.fixture
def s3(origin: StaticOrigin) -> Iterator[S3Client]:
    """A client that tries once, with credentials."""
    with contextlib.closing(s3_client(origin, aws_access_key_id="a", aws_secret_access_key="b")) as client:
        yield client


def s3_client(origin: StaticOrigin, *, config: Config | None = None, **credentials: str) -> S3Client:
    once = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    merged = once.merge(config) if config else once
    return boto3.client("s3", endpoint_url=origin.endpoint, region_name="us-east-1", config=merged, **credentials)  # type: ignore[call-overload,no-any-return]


def md5(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


# Objects


@pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_an_object_is_served_as_it_was_put(origin: StaticOrigin, ask: Ask, body: bytes) -> None:
    etag = origin.put(BUCKET, "key", body)
    answer = ask("key")
    assert (answer.status, answer.body) == (200, body)
    assert etag == answer.headers["ETag"] == md5(body)
    assert answer.headers["Content-Length"] == str(len(body))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Type"] == "binary/octet-stream"
    assert answer.headers["Last-Modified"].endswith("GMT")


def test_a_file_is_served_from_where_it_lies(origin: StaticOrigin, ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(LARGE)
    assert origin.put(BUCKET, "file", path) == md5(LARGE)
    assert ask("file").body == LARGE
    origin.delete(BUCKET, "file")
    assert path.exists()


def test_headers_are_the_objects(origin: StaticOrigin, ask: Ask) -> None:
    etag = origin.put(
        BUCKET, "key", SMALL, etag='"mine"', content_type="text/plain", x_amz_meta_a="b", x_amz_checksum_crc32="AAAAAA=="
    )
    answer = ask("key")
    assert etag == answer.headers["ETag"] == '"mine"'
    assert answer.headers.get_all("Content-Type") == ["text/plain"]
    assert answer.headers["x-amz-meta-a"] == "b"
    assert "x-amz-checksum-crc32" not in answer.headers
    assert "x-amz-checksum-crc32" in ask("key", x_amz_checksum_mode="ENABLED").headers
    assert "x-amz-checksum-crc32" not in ask("key", x_amz_checksum_mode="ENABLED", range="bytes=0-1").headers
    assert origin.put(BUCKET, "key", SMALL, etag="bare") == '"bare"'


@pytest.mark.parametrize("key", ["a b+c%20é/ü", "/slash", "double//slash", "a&b<c>?d#e"])
def test_keys_are_percent_decoded(origin: StaticOrigin, ask: Ask, key: str) -> None:
    origin.put(BUCKET, key, SMALL)
    assert ask(key).body == SMALL
    assert [(each.bucket, each.key) for each in origin.requests()] == [(BUCKET, key)]


def test_a_head_has_no_body(origin: StaticOrigin, ask: Ask) -> None:
    etag = origin.put(BUCKET, "key", LARGE)
    answer = ask("key", "HEAD")
    assert (answer.status, answer.body, answer.headers["ETag"]) == (200, b"", etag)
    assert answer.headers["Content-Length"] == str(len(LARGE))
    assert (ask("missing", "HEAD").status, ask("", "HEAD").status, ask("key").status) == (404, 200, 200)
    assert [each.sent for each in origin.requests()] == [0, 0, 0, len(LARGE)]


def test_what_is_not_there(origin: StaticOrigin, ask: Ask) -> None:
    origin.put(BUCKET, "gone", SMALL)
    origin.delete(BUCKET, "gone")
    origin.delete(BUCKET, "gone")
    for key in ("gone", "missing"):
        answer = ask(key)
        assert (answer.status, answer.code) == (404, "NoSuchKey")


def test_what_it_does_not_do(origin: StaticOrigin, ask: Ask) -> None:
    answer = ask("key", "DELETE")
    assert (answer.status, answer.code) == (405, "MethodNotAllowed")
    answer = ask("", query="acl")
    assert (answer.status, answer.code) == (501, "NotImplemented")


# Ranges and conditions


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        ("", 10, None),
        ("bytes=0-3", 10, (0, 4)),
        ("bytes=9-9", 10, (9, 1)),
        ("bytes=4-99", 10, (4, 6)),
        ("bytes=4-", 10, (4, 6)),
        ("bytes=-3", 10, (7, 3)),
        ("bytes=-99", 10, (0, 10)),
        ("bytes=-0", 10, (10, 0)),
        ("bytes=10-", 10, (10, 0)),
        ("bytes=10-12", 10, (10, 0)),
        ("bytes=99-", 10, (99, 0)),
        ("bytes=0-", 0, (0, 0)),
        ("bytes=0-3", 0, (0, 0)),
        ("bytes=-3", 0, (0, 0)),
        ("bytes=3-2", 10, None),
        ("bytes=-", 10, None),
        ("bytes=0-1,3-4", 10, None),
        ("lines=0-1", 10, None),
    ],
)
def test_a_range_asks_for_a_span(header: str, size: int, expected: tuple[int, int] | None) -> None:
    assert span(header, size) == expected


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_a_range_is_answered_with_a_part(origin: StaticOrigin, ask: Ask, body: bytes) -> None:
    origin.put(BUCKET, "key", body)
    size = len(body)
    for header, start, end in (("bytes=1-6", 1, 7), ("bytes=2-", 2, size), ("bytes=-3", size - 3, size)):
        for method in ("GET", "HEAD"):
            answer = ask("key", method, range=header)
            assert (answer.status, answer.headers["Content-Range"]) == (206, f"bytes {start}-{end - 1}/{size}")
            assert answer.headers["Content-Length"] == str(end - start)
            assert answer.body == (body[start:end] if method == "GET" else b"")


def test_a_range_beyond_the_end_is_refused(origin: StaticOrigin, ask: Ask) -> None:
    origin.put(BUCKET, "key", SMALL)
    origin.put(BUCKET, "empty", b"")
    for key, header in (("key", f"bytes={len(SMALL)}-"), ("empty", "bytes=0-"), ("empty", "bytes=-1")):
        answer = ask(key, range=header)
        assert (answer.status, answer.code) == (416, "InvalidRange")


def test_if_match(origin: StaticOrigin, ask: Ask) -> None:
    etag = origin.put(BUCKET, "key", SMALL)
    for header in (etag, etag.strip('"'), f'"other", {etag}', "*"):
        assert ask("key", if_match=header).body == SMALL
    answer = ask("key", if_match='"other"', range="bytes=9999-")
    assert (answer.status, answer.code) == (412, "PreconditionFailed")


def test_if_none_match(origin: StaticOrigin, ask: Ask) -> None:
    etag = origin.put(BUCKET, "key", SMALL)
    answer = ask("key", if_none_match=etag)
    assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", etag)
    assert ask("key", if_none_match='"other"').body == SMALL


# Replacement


def test_a_response_under_way_keeps_the_old_body(origin: StaticOrigin, http_client: http.client.HTTPConnection) -> None:
    old, new = b"o" * 32 * MIB, b"n" * 16 * MIB  # more than fits into the buffers between
    origin.put(BUCKET, "key", old)
    http_client.request("GET", f"/{BUCKET}/key")
    response = http_client.getresponse()
    assert response.read(1) == b"o"
    etag = origin.put(BUCKET, "key", new)
    (served,) = origin.requests()
    assert 0 < served.sent < len(old)
    assert response.read() == old[1:]
    http_client.request("GET", f"/{BUCKET}/key")
    answer = Answer(http_client.getresponse())
    assert (answer.body, answer.headers["ETag"]) == (new, etag)
    assert [each.sent for each in origin.requests()] == [len(old), len(new)]


# The record


def test_requests_are_recorded(origin: StaticOrigin, ask: Ask) -> None:
    etag = origin.put(BUCKET, "key", SMALL)
    ask("key", query="versionId=1", range="bytes=0-9", if_match=etag)
    ask("key", "HEAD", if_none_match=etag)
    missing = ask("missing")
    assert origin.requests() == [
        Served("GET", BUCKET, "key", "versionId=1", "bytes=0-9", etag, "", 206, 10, ""),
        Served("HEAD", BUCKET, "key", "", "", "", etag, 304, 0, ""),
        Served("GET", BUCKET, "missing", "", "", "", "", 404, len(missing.body), ""),
    ]
    origin.forget()
    assert origin.requests() == []


def test_connections_are_kept_until_the_client_ends_them(
    origin: StaticOrigin, ask: Ask, http_client: http.client.HTTPConnection
) -> None:
    origin.put(BUCKET, "key", SMALL)
    ask("key")
    first = http_client.sock
    ask("key")
    assert first is not None
    assert http_client.sock is first
    assert ask("key", connection="close").headers["Connection"] == "close"
    assert http_client.sock is None


# Faults


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("rate", [None, 100e6], ids=["unpaced", "paced"])
def test_a_reset_comes_after_the_bytes_before_it(origin: StaticOrigin, body: bytes, rate: float | None) -> None:
    origin.put(BUCKET, "key", body)
    origin.pace(latency=0.0, rate=rate)
    offsets = [0, 1, len(body) - 1, len(body)]
    origin.fault(*(Fault("reset", offset) for offset in offsets))
    for offset in offsets:
        received = bytearray()
        with raw_get(origin, "key") as sock, pytest.raises(ConnectionResetError):
            read_all(sock, received)
        assert received.partition(b"\r\n\r\n")[2] == body[:offset]
    assert [(each.sent, each.fault) for each in origin.requests()] == [(offset, "reset") for offset in offsets]


def read_all(sock: socket.socket, received: bytearray) -> None:
    while data := sock.recv(MIB):
        received += data


@contextlib.contextmanager
def raw_get(origin: StaticOrigin, key: str) -> Iterator[socket.socket]:
    host, _, port = origin.endpoint.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as sock:
        sock.sendall(f"GET /{BUCKET}/{key} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        yield sock


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_a_truncated_body_ends_in_order(origin: StaticOrigin, ask: Ask, body: bytes) -> None:
    origin.put(BUCKET, "key", body)
    for offset in (0, 100, len(body) - 1):
        origin.fault(Fault("truncate", offset))
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask("key")
        assert caught.value.partial == body[:offset]
        assert caught.value.expected == len(body) - offset
    assert ask("key").body == body


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_a_stalled_body_waits_for_the_client_to_go(origin: StaticOrigin, ask: Ask, body: bytes) -> None:
    origin.put(BUCKET, "key", body)
    for offset in (0, 100):
        origin.fault(Fault("stall", offset))
        with raw_get(origin, "key") as sock:
            received = b""
            while not received.partition(b"\r\n\r\n")[1] or len(received.partition(b"\r\n\r\n")[2]) < offset:
                received += sock.recv(MIB)
            assert received.partition(b"\r\n\r\n")[2] == body[:offset]
            sock.settimeout(SHORT)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            assert ask("key").body == body  # others are served
            sock.settimeout(PATIENCE)
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""


@pytest.mark.parametrize("rate", [None, 100e6], ids=["unpaced", "paced"])
def test_a_bit_is_flipped(origin: StaticOrigin, ask: Ask, rate: float | None) -> None:
    origin.pace(latency=0.0, rate=rate)
    for body in (SMALL, LARGE):
        origin.put(BUCKET, "key", body)
        for offset in (0, 500, len(body) - 1):
            origin.fault(Fault("flip", offset))
            assert ask("key").body == flipped(body, offset)
        origin.fault(Fault("flip", len(body) + 5), Fault("flip", 3))
        assert ask("key").body == flipped(body, len(body) - 1)
        assert ask("key", range="bytes=10-").body == flipped(body[10:], 3)
        assert ask("key").body == body
        assert [each.sent for each in origin.requests()[-3:]] == [len(body), len(body) - 10, len(body)]


@pytest.mark.parametrize(("kind", "code"), [("503", "SlowDown"), ("500", "InternalError")])
def test_an_error_is_answered_instead(origin: StaticOrigin, ask: Ask, kind: str, code: str) -> None:
    origin.put(BUCKET, "key", SMALL)
    origin.fault(Fault(kind))
    answer = ask("key")
    assert (answer.status, answer.code) == (int(kind), code)
    assert ask("key").body == SMALL
    assert [(each.status, each.fault) for each in origin.requests()] == [(int(kind), kind), (200, "")]


def test_a_late_head_comes_late(origin: StaticOrigin, ask: Ask) -> None:
    origin.put(BUCKET, "key", SMALL)
    origin.fault(Fault("late"))
    started = time.monotonic()
    assert ask("key").body == SMALL
    assert time.monotonic() - started >= 0.3


def test_a_refused_request_has_no_answer(origin: StaticOrigin, ask: Ask) -> None:
    origin.put(BUCKET, "key", SMALL)
    origin.fault(Fault("refuse"))
    with pytest.raises(http.client.RemoteDisconnected):
        ask("key")
    assert ask("key").body == SMALL
    assert [(each.status, each.sent, each.fault) for each in origin.requests()] == [
        (0, 0, "refuse"),
        (200, len(SMALL), ""),
    ]


def test_a_fault_waits_for_a_response_that_it_suits(origin: StaticOrigin, ask: Ask) -> None:
    etag = origin.put(BUCKET, "key", SMALL)
    origin.put(BUCKET, "other", SMALL)
    origin.fault(Fault("flip", 1, key="other"), Fault("flip", 2), Fault("503"))
    assert ask("key", "HEAD").status == 200
    assert ask("", query="list-type=2").status == 200
    assert ask("key", if_none_match=etag).status == 503
    assert ask("key", if_none_match=etag).status == 304
    assert ask("missing").status == 404
    assert ask("key").body == flipped(SMALL, 2)
    assert ask("key").body == SMALL
    assert ask("other").body == flipped(SMALL, 1)


def test_faults_are_checked(origin: StaticOrigin) -> None:
    with pytest.raises(ValueError, match="no such kind of fault: 504"):
        Fault("504")
    with pytest.raises(ValueError, match="not negative"):
        Fault("reset", -1)
    with pytest.raises(ValueError, match="no such kind of fault: x, y"):
        origin.chaos(1, 0.5, ["y", "reset", "x"])


# Chaos


def test_chaos_is_the_same_for_the_same_seed(origin: StaticOrigin, ask: Ask) -> None:
    keys = [f"chaos-{number}" for number in range(40)]
    for key in keys:
        origin.put(BUCKET, key, SMALL)

    def outcomes(seed: int, share: float, keys: list[str]) -> dict[str, Any]:
        origin.chaos(seed, share, ["truncate", "flip", "503"])
        found: dict[str, Any] = {}
        for key in keys:
            try:
                found[key] = ask(key).body
            except http.client.IncompleteRead as broken:
                found[key] = broken.partial
        return found

    first = outcomes(1, 0.5, keys)
    kinds = [each.fault for each in origin.requests()]
    assert set(kinds) == {"", "truncate", "flip", "503"}
    assert 10 <= kinds.count("") <= 30
    assert len({len(body) for body in first.values()}) > 4  # cut off here and there
    assert outcomes(1, 0.5, keys[::-1]) == first  # whatever the order
    assert outcomes(2, 0.5, keys) != first
    assert set(outcomes(1, 0.0, keys).values()) == {SMALL}


def test_chaos_strikes_only_where_it_can(origin: StaticOrigin, ask: Ask) -> None:
    origin.put(BUCKET, "key", SMALL)
    origin.put(BUCKET, "empty", b"")
    origin.chaos(1, 1.0, ["flip"])
    assert ask("key").body != SMALL
    assert (ask("key", "HEAD").status, ask("missing").status, ask("empty").status) == (200, 404, 200)
    origin.chaos(1, 1.0, ["503"])
    assert (ask("key", "HEAD").status, ask("missing").status, ask("", query="list-type=2").status) == (503, 503, 503)


# Pace


class Clock:
    """A clock that only sleeping moves, and that oversleeps."""

    def __init__(self, *, over: float = 0.0) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self.over = over

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds + self.over


@pytest.mark.parametrize("over", [0.0, 0.001, 0.01], ids=["exact", "1 ms", "10 ms"])
def test_a_pacer_keeps_the_rate(over: float) -> None:
    clock = Clock(over=over)
    pacer = Pacer(90e6, clock=clock, sleep=clock.sleep)
    sent = 0
    while sent < 90_000_000:
        pacer.wait(pacer.piece)
        sent += pacer.piece
    assert clock.now - 100.0 == pytest.approx(sent / 90e6, abs=0.011)
    assert max(clock.slept) <= 0.005


def test_a_pacer_makes_up_for_little() -> None:
    clock = Clock()
    pacer = Pacer(1000.0, clock=clock, sleep=clock.sleep)
    pacer.wait(100)
    clock.now += 10.0
    pacer.wait(50)  # what 0.05 s are worth
    assert clock.slept == pytest.approx([0.1])
    pacer.wait(10)
    assert clock.slept == pytest.approx([0.1, 0.01])


@pytest.mark.parametrize(("rate", "piece"), [(1.0, 1), (1e6, 4000), (1e12, MIB)])
def test_a_pacer_sends_small_pieces(rate: float, piece: int) -> None:
    assert Pacer(rate).piece == piece


def test_latency_and_rate_hold_for_requests_from_then_on(origin: StaticOrigin, ask: Ask) -> None:
    origin.put(BUCKET, "key", SMALL)
    origin.pace(latency=0.1, rate=len(SMALL) / 0.1)
    started = time.monotonic()
    assert ask("key").body == SMALL
    assert time.monotonic() - started >= 0.2
    origin.pace(latency=0.0, rate=None)
    assert ask("key").body == SMALL
    for latency, rate in ((-1.0, None), (0.0, 0.0)):
        with pytest.raises(ValueError, match="latency is not negative"):
            origin.pace(latency=latency, rate=rate)


# Lists


def test_a_list_is_given_in_pages(origin: StaticOrigin, s3: S3Client) -> None:
    keys = sorted(f"list/{name}" for name in ("a b", "a+b", "ä", "<&>", "z%20", "n\nl", "z//z"))
    etags = {key: origin.put("lists", key, key.encode()) for key in [*keys, "other"]}
    for size in (1, 3, 7, 1000):
        pages = list(
            s3.get_paginator("list_objects_v2").paginate(Bucket="lists", Prefix="list/", PaginationConfig={"PageSize": size})
        )
        assert [page["KeyCount"] for page in pages] == [len(keys[at : at + size]) for at in range(0, len(keys), size)]
        listed = [each for page in pages for each in page["Contents"]]
        assert [each["Key"] for each in listed] == keys
        assert [(each["ETag"], each["Size"]) for each in listed] == [(etags[key], len(key.encode())) for key in keys]
        assert all(each["LastModified"].tzinfo for each in listed)
    after = s3.list_objects_v2(Bucket="lists", StartAfter=keys[-1])
    assert [each["Key"] for each in after["Contents"]] == ["other"]


def test_a_list_is_encoded_on_request(origin: StaticOrigin, ask: Ask) -> None:
    origin.put(BUCKET, "enc/a b+<c>", SMALL)
    name = "{http://s3.amazonaws.com/doc/2006-03-01/}"
    for query, key, encoding in (("", "enc/a b+<c>", None), ("&encoding-type=url", "enc/a%20b%2B%3Cc%3E", "url")):
        root = ET.fromstring(ask("", query=f"list-type=2&prefix=enc/{query}").body)
        assert root.findtext(f"{name}Contents/{name}Key") == key
        assert root.findtext(f"{name}EncodingType") == encoding
        assert root.findtext(f"{name}IsTruncated") == "false"
    (listed, _) = origin.requests()
    assert (listed.bucket, listed.key, listed.query) == (BUCKET, "", "list-type=2&prefix=enc/")


def test_a_list_without_objects(origin: StaticOrigin, s3: S3Client, ask: Ask) -> None:
    answer = s3.list_objects_v2(Bucket="nobody")
    assert (answer["KeyCount"], answer["IsTruncated"], "Contents" in answer) == (0, False, False)
    assert s3.list_objects_v2(Bucket=BUCKET, MaxKeys=0)["KeyCount"] == 0
    for query in ("max-keys=x", "continuation-token=%FF"):
        assert ask("", query=f"list-type=2&{query}").code == "InvalidArgument"
    assert ask("", query="list-type=2&delimiter=/").code == "NotImplemented"


# boto3


def test_boto3_reads(origin: StaticOrigin, s3: S3Client) -> None:
    etag = origin.put(BUCKET, "key", LARGE, x_amz_meta_color="red", x_amz_version_id="v1")
    answer = s3.get_object(Bucket=BUCKET, Key="key")
    assert (answer["Body"].read(), answer["ETag"]) == (LARGE, etag)
    assert (answer["Metadata"], answer["VersionId"]) == ({"color": "red"}, "v1")
    assert s3.get_object(Bucket=BUCKET, Key="key", Range="bytes=5-9")["Body"].read() == LARGE[5:10]
    head = s3.head_object(Bucket=BUCKET, Key="key")
    assert (head["ContentLength"], head["ETag"]) == (len(LARGE), etag)


def test_boto3_reads_unsigned(origin: StaticOrigin) -> None:
    origin.put(BUCKET, "key", SMALL)
    with contextlib.closing(s3_client(origin, config=Config(signature_version=UNSIGNED))) as client:
        assert client.get_object(Bucket=BUCKET, Key="key")["Body"].read() == SMALL


def test_boto3_downloads(origin: StaticOrigin, s3: S3Client, tmp_path: Path) -> None:
    body = LARGE * 6  # in several ranges
    origin.put(BUCKET, "key", body)
    s3.download_file(BUCKET, "key", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == body
    assert sum(each.sent for each in origin.requests()) == len(body)


@pytest.mark.parametrize(
    ("arguments", "fault", "code"),
    [
        ({"Key": "missing"}, None, "NoSuchKey"),
        ({"IfMatch": '"other"'}, None, "PreconditionFailed"),
        ({"Range": "bytes=99999-"}, None, "InvalidRange"),
        ({}, Fault("503"), "SlowDown"),
        ({}, Fault("500"), "InternalError"),
        ({"IfNoneMatch": "*"}, None, "304"),
    ],
)
def test_boto3_sees_the_errors_of_s3(
    origin: StaticOrigin, s3: S3Client, arguments: dict[str, Any], fault: Fault | None, code: str
) -> None:
    origin.put(BUCKET, "key", SMALL)
    origin.fault(*([fault] if fault else []))
    with pytest.raises(ClientError) as caught:
        s3.get_object(**{"Bucket": BUCKET, "Key": "key", **arguments})
    assert caught.value.response["Error"]["Code"] == code


def test_boto3_is_told_that_it_cannot_write(origin: StaticOrigin, s3: S3Client) -> None:
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=BUCKET, Key="key", Body=SMALL)
    assert caught.value.response["Error"]["Code"] == "MethodNotAllowed"


def test_boto3_sees_a_refusal(origin: StaticOrigin, s3: S3Client) -> None:
    origin.put(BUCKET, "key", SMALL)
    origin.fault(Fault("refuse"))
    with pytest.raises(HTTPClientError):
        s3.get_object(Bucket=BUCKET, Key="key")


# The process


def test_closing_ends_the_process_and_removes_the_bodies() -> None:
    with StaticOrigin(latency=0.001, rate=1e6) as origin:
        origin.put(BUCKET, "key", SMALL)
        folder, process = origin._folder, origin._process
        assert len(list(folder.iterdir())) == 1
        origin.put(BUCKET, "key", LARGE)
        assert [each.stat().st_size for each in folder.iterdir()] == [len(LARGE)]
        origin.fault(Fault("stall", 0))
        with raw_get(origin, "key") as sock:
            assert sock.recv(1)
            origin.close()
            with contextlib.suppress(ConnectionResetError):
                read_all(sock, bytearray())
    assert process.returncode == 0
    assert not folder.exists()
    with pytest.raises(ValueError, match="closed"):
        origin.requests()


def test_the_process_ends_with_the_one_that_started_it() -> None:
    with StaticOrigin() as origin:
        origin.put(BUCKET, "key", SMALL)
        assert origin._process.stdin is not None
        origin._process.stdin.close()  # as when this process dies
        assert origin._process.wait(PATIENCE) == 0
        assert not origin._folder.exists()


def test_kinds_are_all_there_are() -> None:
    assert [Fault(kind).kind for kind in KINDS] == list(KINDS)
