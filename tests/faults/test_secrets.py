"""Credentials, presigned queries and bodies stay out of all that s3warm says: log lines, errors, events, and what it is printed as.

Each secret is a word that stands nowhere else. What botocore and urllib3 say in errors of their own is theirs; what s3warm makes of it counts.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import socket
import sqlite3
import threading
import traceback
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from s3warm import Cache, S3WarmError, Settings
from s3warm.cli.main import main
from s3warm.origin import exchange
from s3warm.origin.credentials import Credentials
from s3warm.origin.lean import LeanRequests
from s3warm.origin.sigv4 import Signer
from s3warm.testing import FakeCache, FakeS3
from s3warm.tiers.database import DATABASE
from tests.faults.tried import note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BUCKET = "bucket"
KEY_ID, SECRET, TOKEN = "AKIACANARYOFTHEKEYID", "canary-of-the-secret-key", "canary-of-the-session-token"
CONTAINER, USER, PASSWORD = "canary-of-the-container", "canary-of-the-user", "canary-of-the-password"
BODY, SIGNATURE = "canary-of-the-body", "canary-of-the-signature"
SECRETS = (KEY_ID, SECRET, TOKEN, CONTAINER, USER, PASSWORD, BODY, SIGNATURE)
ALL = " ".join(SECRETS)
QUERY = f"X-Amz-Credential={KEY_ID}&X-Amz-Signature={SIGNATURE}"
OTHERS = ("botocore", "urllib3", "http")  # whose errors are their own


def answer(status: int, body: str = "", **headers: str) -> bytes:
    named = {"Content-Length": str(len(body.encode())), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n{body}".encode()


def refusal(status: int, code: str) -> bytes:
    """As S3 refuses: with the credentials, and what was signed, in the body."""
    elements = f"<Message>{ALL}</Message><AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId><StringToSign>{QUERY}</StringToSign><Token-0>{TOKEN}</Token-0>"
    return answer(status, f"<?xml version='1.0'?><Error><Code>{code}</Code>{elements}</Error>")


def page(*contents: str) -> bytes:
    return answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(contents)}</ListBucketResult>")


HTML = f"<html><h1>Proxy</h1>{ALL} <a href='http://{USER}:{PASSWORD}@proxy/?{QUERY}'></html>"
ANSWERS: dict[str, bytes] = {
    "a body": answer(200, BODY * 100, ETag='"e"'),
    "a body for no store": answer(200, BODY * 100, ETag='"e"', Cache_Control="no-store"),
    "a damaged body": answer(200, BODY * 100, ETag='"0123456789abcdef0123456789abcdef"'),
    "a checksum of another body": answer(200, BODY * 100, ETag='"e"', x_amz_checksum_crc32="AAAAAA=="),
    "half a body": answer(200, BODY * 100, ETag='"e"')[:-700],
    "denied": refusal(403, "AccessDenied"),
    "signature": refusal(403, "SignatureDoesNotMatch"),
    "unknown key id": refusal(403, "InvalidAccessKeyId"),
    "expired": refusal(400, "ExpiredToken"),
    "malformed": refusal(400, "AuthorizationHeaderMalformed"),
    "missing": refusal(404, "NoSuchKey"),
    "archived": refusal(403, "InvalidObjectState"),
    "moved": answer(301, HTML, Location=f"http://{USER}:{PASSWORD}@127.0.0.1:1/?{QUERY}", x_amz_bucket_region="eu-west-9"),
    "internal": refusal(500, "InternalError"),
    "slow down": refusal(503, "SlowDown"),
    "a proxy's page, 200": answer(200, HTML, Content_Type="text/html"),
    "a proxy's page, 403": answer(403, HTML, Content_Type="text/html"),
    "a proxy's page, 502": answer(502, HTML, Content_Type="text/html"),
    "a proxy's page, 407": answer(407, HTML, Proxy_Authenticate=f"Basic {PASSWORD}"),
    "a code that is none": refusal(400, ALL),
    "XML that breaks off": answer(400, f"<Error><Code>Invalid</Code><Message>{ALL}"),
    "a listing of odd sizes": page(f"<Contents><Key>{BODY}</Key><ETag>e</ETag><Size>{BODY}</Size></Contents>"),
    "a listing without sizes": page(f"<Contents><{BODY}>1</{BODY}></Contents>"),
    "another document": answer(200, f"<{BODY}>{ALL}</{BODY}>"),
    "no XML": answer(200, f"{{'{ALL}'}}"),
    "no HTTP": f"{ALL}\r\n\r\n{ALL}".encode(),
    "a status that is none": f"HTTP/1.1 {SECRET} no\r\n\r\n".encode(),
    "a header that is none": f"HTTP/1.1 200 OK\r\n{ALL}\r\n\r\n".encode(),
    "a header beside a secret": f"HTTP/1.1 200 OK\r\n{SECRET} \x01: x\r\n\r\n".encode(),
    "a length that is none": answer(200, Content_Length=BODY),
    "a coding that is none": answer(200, Transfer_Encoding=SECRET),
    "a chunk that is none": answer(200, f"{BODY}\r\n", Transfer_Encoding="chunked").replace(b"Content-Length", b"X-Length"),
    "nothing": b"",
}


class Server:
    """Answers each request with the same bytes, and hangs up."""

    def __init__(self, said: bytes) -> None:
        self._said = said
        self.asked = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5)
                    asked = b""
                    while b"\r\n\r\n" not in asked and (piece := connection.recv(65536)):
                        asked += piece
                    self.asked += 1
                    connection.sendall(self._said)
                    connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


class Said:
    """All that s3warm says, to be searched."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, *things: object) -> None:
        for thing in things:
            self.texts += [str(thing), repr(thing)]

    def event(self, event: object) -> None:
        self.add(event)

    def error(self, error: BaseException | None) -> None:
        """An error with all that led to it, as far as s3warm made it."""
        seen: set[int] = set()
        queue = [error]
        while queue:
            found = queue.pop()
            if found is None or id(found) in seen or type(found).__module__.partition(".")[0] in OTHERS:
                continue
            seen.add(id(found))
            self.add(found, found.args, vars(found), *traceback.format_exception_only(found))
            queue += [found.__cause__, found.__context__]

    def record(self, record: logging.LogRecord) -> None:
        self.add(record.getMessage(), record.args, {name: value for name, value in vars(record).items() if name != "exc_info"})
        if record.exc_info:
            self.error(record.exc_info[1])

    def search(self) -> int:
        """How many texts hold none of the secrets; raises AssertionError for one that does."""
        for text in self.texts:
            found = [secret for secret in SECRETS if secret.lower() in text.lower()]
            assert found == [], text
        return len(self.texts)


@pytest.fixture
def said() -> Iterator[Said]:
    made = Said()
    handler = logging.Handler(logging.DEBUG)
    handler.emit = made.record  # type: ignore[method-assign]
    log = logging.getLogger("s3warm")
    before = log.level
    log.setLevel(logging.DEBUG)
    log.addHandler(handler)
    yield made
    log.removeHandler(handler)
    log.setLevel(before)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [
        name
        for name in os.environ
        if name.startswith(("AWS_", "S3WARM_", "REQUESTS_", "SSL_")) or name.lower().endswith("_proxy")
    ]:
        monkeypatch.delenv(name)
    for name, value in (
        ("ACCESS_KEY_ID", KEY_ID),
        ("SECRET_ACCESS_KEY", SECRET),
        ("SESSION_TOKEN", TOKEN),
        ("REGION", "eu-west-1"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(exchange, "BACKOFF", 0.0)


def use(cache: Cache, said: Said, path: Path) -> None:
    """Every call, with what it returns printed where that is no body."""
    said.add(cache, cache.settings, cache._origin, vars(cache._settings) if hasattr(cache._settings, "__dict__") else "")

    def tree() -> Path:
        return cache.tree(BUCKET, "tree")

    calls: list[Callable[[], object]] = [
        lambda: cache.get(BUCKET, "key") and None,
        lambda: cache.get(BUCKET, "key", ttl=0) and None,
        lambda: cache.get(BUCKET, "key", version_id="v") and None,
        lambda: cache.get_many([(BUCKET, "key"), (BUCKET, "other")]).keys(),
        lambda: cache.path(BUCKET, "key"),
        tree,
        lambda: cache.glob(f"s3://{BUCKET}/*") and None,
        lambda: cache.open(BUCKET, "key").close(),
        lambda: cache.preload((BUCKET, "key"), tree, timeout=20),
        lambda: cache.preload((BUCKET, "third"), strict=True),
        lambda: cache.explain(BUCKET, "key"),
        cache.budgets,
        cache.stats,
    ]
    for call in calls:
        try:
            said.add(call())
        except S3WarmError as error:
            said.error(error)
    cache.clear()


def fetch_by_cli(said: Said, path: Path, *uris: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        main(["fetch", *uris, "--directory", str(path)])
    said.add(out.getvalue(), err.getvalue())


def run(said: Said, path: Path, origin: str, said_by_s3: bytes, monkeypatch: pytest.MonkeyPatch) -> int:
    server = Server(said_by_s3)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("S3WARM_ORIGIN", origin)
    try:
        with Cache(directory=path, on_event=said.event) as cache:
            use(cache, said, path)
        fetch_by_cli(said, path, f"s3://{BUCKET}/key", f"s3://{BUCKET}/tree/")
    finally:
        server.close()
    assert server.asked
    return said.search()


@pytest.mark.faults
@pytest.mark.timeout(600)
# botocore drops the connection of an answer whose length is no number.
@pytest.mark.filterwarnings("ignore:Exception ignored in.*socket:pytest.PytestUnraisableExceptionWarning")
def test_nothing_that_s3_says_is_said_again(said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched, wrong = 0, []
    for origin in ("lean", "boto3"):
        for number, (name, said_by_s3) in enumerate(ANSWERS.items()):
            try:
                searched += run(said, tmp_path / origin / str(number), origin, said_by_s3, monkeypatch)
            except AssertionError as error:
                wrong.append(f"{name}, {origin}: {error}")
            said.texts.clear()
    assert wrong == []
    note(
        "secrets",
        f"{searched:,} texts of {len(ANSWERS)} kinds of answers to both clients, {len(SECRETS)} secrets",
        "none found",
    )


@pytest.mark.parametrize("origin", ["lean", "boto3"])
@pytest.mark.parametrize("name", ["a body", "expired", "no XML", "no HTTP"])
def test_what_s3_says_is_not_said_again(
    said: Said, tmp_path: Path, origin: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few of the answers; `make faults` has them all."""
    assert run(said, tmp_path / "cache", origin, ANSWERS[name], monkeypatch) > 20


URL = f"https://{USER}:{PASSWORD}@bucket.s3.amazonaws.com/key?{QUERY}"


@pytest.mark.parametrize("call", ["get", "path", "tree", "open", "explain", "invalidate", "release"])
def test_a_presigned_url_in_place_of_a_name_is_not_quoted(said: Said, tmp_path: Path, call: str) -> None:
    with Cache(directory=tmp_path / "cache") as cache:
        for arguments in ((URL,), (URL, "key"), (f"key?{QUERY}",)):
            with pytest.raises(ValueError, match=r"is not an object|cannot exist") as caught:
                getattr(cache, call)(*arguments)
            said.error(caught.value)
    if call == "path":
        fetch_by_cli(said, tmp_path / "cache", URL)
    assert said.search()


@pytest.mark.parametrize("origin", ["lean", "boto3"])
@pytest.mark.parametrize(
    "endpoint",
    [
        f"http://{USER}:{PASSWORD}@127.0.0.1:1",
        f"http://{USER}:{PASSWORD}@127.0.0.1:1/?{QUERY}",
        f"http://127.0.0.1:1/?{QUERY}",
        f"http://127.0.0.1:1/#{QUERY}",
        f"ftp://{USER}:{PASSWORD}@host",
        f"http://{USER} {PASSWORD}@127.0.0.1:1",
        f"https://{USER}:{PASSWORD}@127.0.0.1:1",
    ],
)
def test_an_endpoint_is_named_without_its_secrets(
    said: Said, tmp_path: Path, origin: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    with Cache(directory=tmp_path, on_event=said.event, origin=origin) as cache:
        use(cache, said, tmp_path)
    assert said.search() > 20


CONTAINERS = {
    "none": b"",
    "no JSON": answer(200, ALL),
    "cut off": answer(200, json.dumps({"AccessKeyId": KEY_ID, "SecretAccessKey": SECRET, "Token": TOKEN})[:-4]),
    "no key": answer(200, json.dumps({"SecretAccessKey": SECRET, "Token": TOKEN})),
    "an odd time": answer(200, json.dumps({"AccessKeyId": KEY_ID, "SecretAccessKey": SECRET, "Expiration": SECRET})),
    "expired": answer(
        200, json.dumps({"AccessKeyId": KEY_ID, "SecretAccessKey": SECRET, "Expiration": "2001-01-01T00:00:00Z"})
    ),
    "refused": answer(403, ALL),
    "no HTTP": json.dumps({"AccessKeyId": KEY_ID, "SecretAccessKey": SECRET}).encode() + b"\r\n\r\n",
    "odd characters": answer(
        200, json.dumps({"AccessKeyId": KEY_ID + "\n", "SecretAccessKey": SECRET, "Token": TOKEN + "\r\n"})
    ),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_what_the_containers_endpoint_says_is_not_said_again(
    said: Said, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, s3 = Server(CONTAINERS[name]), Server(ANSWERS["expired"])
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server.port}/v1?{QUERY}")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{s3.port}")
    try:
        with Cache(directory=tmp_path, on_event=said.event, origin="lean") as cache:
            use(cache, said, tmp_path)
    finally:
        server.close()
        s3.close()
    assert server.asked
    assert said.search() > 20


def test_nothing_is_printed_of_what_requests_are_signed_with(said: Said, tmp_path: Path) -> None:
    credentials = Credentials(KEY_ID, SECRET, TOKEN)
    lean = LeanRequests(dict(os.environ))
    client = boto3.session.Session().client("s3", aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET)
    with Cache(client=client, directory=tmp_path) as cache:
        said.add(credentials, lean, lean._credentials, Signer("eu-west-1"), cache, cache.settings, Settings(), cache.budgets())
        assert cache._disk_tier is not None
        said.add(cache._disk_tier.namespace, cache._disk_tier)
    assert said.search() == 20


def test_a_damaged_copy_is_not_quoted(said: Said, tmp_path: Path) -> None:
    """Whatever lies in the row of it."""
    with FakeCache(
        FakeS3({f"s3://{BUCKET}/key": BODY.encode() * 10}), directory=tmp_path, namespace="n", on_event=said.event
    ) as cache:
        for column, value in (("tag", f'["{ALL}"]'), ("value", ALL.encode()), ("mode", 4), ("tag", ALL), ("value", ALL)):
            cache.get(BUCKET, "key", ttl=0)
            with contextlib.closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as connection:
                connection.execute(f"UPDATE Cache SET {column} = ?", (value,))
            cache._memory.clear()
            said.add(cache.explain(BUCKET, "key"))
            assert cache.get(BUCKET, "key") == BODY.encode() * 10
        assert cache.stats().corrupt == 5
        said.add(cache.stats())
    assert said.search() > 20
