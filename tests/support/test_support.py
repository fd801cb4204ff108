"""The test servers themselves: a promise proved through them is worth what they are worth."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import http.server
import io
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError

from tests.support import gateway as gateway_module
from tests.support.embedded import EmbeddedS3
from tests.support.gateway import RadosGateway, missing
from tests.support.proxy import Exchange, RecordingProxy, RequestHead

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "bucket"
PATIENCE = 30.0  # for what happens at once unless it never does
MIB = 1024 * 1024
UNREACHABLE = (EndpointConnectionError, HTTPClientError)  # a reset before or after the client saw itself connected


def s3_client(endpoint: str, access_key: str = "test", secret_key: str = "test", **options: Any) -> S3Client:
    """A client that tries once, so that requests can be counted and faults show."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, **options),
    )


def read(client: S3Client, key: str) -> bytes:
    return client.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def calls(proxy: RecordingProxy) -> list[tuple[str, str, int, int]]:
    return [(each.method, each.path, each.status, each.response_body_bytes) for each in proxy.exchanges]


def http_connection(proxy: RecordingProxy) -> contextlib.closing[http.client.HTTPConnection]:
    return contextlib.closing(http.client.HTTPConnection(*proxy.address, timeout=PATIENCE))


def status_of(error: pytest.ExceptionInfo[ClientError]) -> int:
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.fixture(scope="module")
def moto() -> Iterator[EmbeddedS3]:
    with EmbeddedS3() as server:
        yield server


@pytest.fixture
def direct(moto: EmbeddedS3) -> S3Client:
    """A client that does not go through the proxy, with an empty bucket."""
    moto.reset()
    client = s3_client(moto.endpoint)
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture
def proxy(moto: EmbeddedS3) -> Iterator[RecordingProxy]:
    with RecordingProxy(moto.address) as proxy:
        yield proxy


@contextlib.contextmanager
def canned(response: bytes) -> Iterator[tuple[str, int]]:
    """A server that answers one request's head with fixed bytes and hangs up."""

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(65536)
            connection.sendall(response)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listener.getsockname()
        thread.join(PATIENCE)


class TestEmbedded:
    def test_reset_forgets_buckets(self, moto: EmbeddedS3, direct: S3Client) -> None:
        moto.reset()
        assert direct.list_buckets()["Buckets"] == []

    def test_is_quiet(self, direct: S3Client, capfd: pytest.CaptureFixture[str]) -> None:
        direct.list_buckets()
        assert capfd.readouterr() == ("", "")


class TestRecording:
    def test_counts_each_exchange_with_its_body(self, direct: S3Client, proxy: RecordingProxy) -> None:
        client = s3_client(proxy.endpoint)
        etag = client.put_object(Bucket=BUCKET, Key="a b/ü", Body=b"12345")["ETag"]
        assert read(client, "a b/ü") == b"12345"
        client.head_object(Bucket=BUCKET, Key="a b/ü")
        with pytest.raises(ClientError) as error:
            client.get_object(Bucket=BUCKET, Key="a b/ü", IfNoneMatch=etag)
        assert status_of(error) == 304
        path = f"/{BUCKET}/a b/ü"
        assert calls(proxy) == [
            ("PUT", path, 200, 0),
            ("GET", path, 200, 5),
            ("HEAD", path, 200, 0),
            ("GET", path, 304, 0),
        ]
        assert proxy.exchanges[-1].headers["if-none-match"] == etag
        assert proxy.exchanges[-1].headers["host"] == proxy.endpoint.removeprefix("http://")
        proxy.clear()
        client.list_objects_v2(Bucket=BUCKET, Prefix="a b")
        assert [each.query for each in proxy.exchanges] == ["list-type=2&prefix=a%20b&encoding-type=url"]

    def test_passes_a_large_object_both_ways(self, direct: S3Client, proxy: RecordingProxy) -> None:
        body = b"".join(hashlib.sha256(bytes([n % 251])).digest() for n in range(20 * MIB // 32))
        client = s3_client(proxy.endpoint)
        client.put_object(Bucket=BUCKET, Key="large", Body=io.BytesIO(body))
        assert read(direct, "large") == body
        assert read(client, "large") == body
        assert [each[2:] for each in calls(proxy)] == [(200, 0), (200, len(body))]

    def test_passes_a_chunked_upload(self, direct: S3Client, proxy: RecordingProxy) -> None:
        class Stream:
            """A body of unknown length: botocore can only send it in chunks."""

            def __init__(self) -> None:
                self._parts = itertools.chain([b"x" * 70_000, b"y" * 70_000], itertools.repeat(b""))

            def read(self, size: int = -1) -> bytes:
                return next(self._parts)

        client = s3_client(proxy.endpoint, signature_version=UNSIGNED, request_checksum_calculation="when_required")
        client.put_object(Bucket=BUCKET, Key="stream", Body=Stream())  # type: ignore[arg-type]
        (upload,) = proxy.exchanges
        assert upload.headers["transfer-encoding"] == "chunked"
        assert upload.headers["expect"] == "100-continue"
        assert read(direct, "stream") == b"x" * 70_000 + b"y" * 70_000

    @pytest.mark.parametrize(
        ("response", "body"),
        [
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: t\r\n\r\n",
                b"abcde",
            ),
            (b"HTTP/1.0 200 OK\r\n\r\nabcde", b"abcde"),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\nContent-Length: 5\r\n\r\nabcde", b"abcde"),
            (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        ],
        ids=["chunked", "until-close", "interim", "no-content"],
    )
    def test_understands_response_framings(self, response: bytes, body: bytes) -> None:
        with canned(response) as upstream, RecordingProxy(upstream) as proxy:
            with http_connection(proxy) as connection:
                connection.request("GET", "/")
                assert connection.getresponse().read() == body
            assert [each.response_body_bytes for each in proxy.exchanges] == [len(body)]

    def test_records_a_truncated_response_and_passes_it_on(self) -> None:
        with (
            canned(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabcde") as upstream,
            RecordingProxy(upstream) as proxy,
            http_connection(proxy) as connection,
        ):
            connection.request("GET", "/")
            with pytest.raises(http.client.IncompleteRead):
                connection.getresponse().read()
            assert calls(proxy) == [("GET", "/", 200, 5)]

    def test_a_refusal_before_the_body_closes_the_connection(self) -> None:
        with (
            canned(b"HTTP/1.1 403 Forbidden\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nno") as upstream,
            RecordingProxy(upstream) as proxy,
            http_connection(proxy) as connection,
        ):
            connection.request("PUT", "/", headers={"Content-Length": "9", "Expect": "100-continue"})
            response = connection.getresponse()
            assert (response.status, response.getheader("Connection"), response.read()) == (403, "close", b"no")

    def test_keeps_both_connections(self) -> None:
        """Not shown with moto, whose server closes after each response."""
        callers: list[object] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                callers.append(self.client_address)
                self.send_response_only(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            with RecordingProxy(("127.0.0.1", server.server_port)) as proxy, http_connection(proxy) as connection:
                connection.connect()
                sock = connection.sock
                for _ in range(3):
                    connection.request("GET", "/")
                    assert connection.getresponse().read() == b"ok"
                assert connection.sock is sock
            server.shutdown()
        assert len(callers) == 3
        assert len(set(callers)) == 1

    def test_connects_again_if_upstream_hung_up(self) -> None:
        response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        with (
            canned(response) as first,
            canned(response) as second,
            RecordingProxy(first) as proxy,
            http_connection(proxy) as connection,
        ):
            for upstream in (first, second):
                proxy.upstream = upstream
                connection.request("GET", "/")
                assert connection.getresponse().read() == b"ok"
            assert len(proxy.exchanges) == 2


class TestFaults:
    def test_down_resets_open_and_new_connections(self, direct: S3Client, proxy: RecordingProxy) -> None:
        direct.put_object(Bucket=BUCKET, Key="key", Body=b"body")
        client = s3_client(proxy.endpoint)
        assert read(client, "key") == b"body"
        proxy.down = True
        for _ in range(3):
            with pytest.raises(UNREACHABLE):
                read(client, "key")
        assert len(proxy.exchanges) == 1
        proxy.down = False
        assert read(client, "key") == b"body"
        assert len(proxy.exchanges) == 2

    def test_down_cuts_off_a_request_that_is_held(self, direct: S3Client, proxy: RecordingProxy) -> None:
        held = threading.Event()

        def hold(_: RequestHead) -> None:
            held.set()
            threading.Event().wait()

        proxy.before_request = hold
        with ThreadPoolExecutor() as pool:
            listing = pool.submit(s3_client(proxy.endpoint).list_buckets)
            assert held.wait(PATIENCE)
            proxy.down = True
            assert isinstance(listing.exception(PATIENCE), UNREACHABLE)
        assert proxy.exchanges == []

    def test_without_upstream_a_request_fails(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            address = gone.getsockname()
        with RecordingProxy(address) as proxy:
            with pytest.raises(UNREACHABLE):
                s3_client(proxy.endpoint).list_buckets()
            assert proxy.exchanges == []

    def test_delay_holds_each_request_back(self, direct: S3Client, proxy: RecordingProxy) -> None:
        forwarded: list[float] = []
        proxy.before_request = lambda _: forwarded.append(time.monotonic())
        proxy.delay = 0.05
        client = s3_client(proxy.endpoint)
        for _ in range(2):
            start = time.monotonic()
            client.list_buckets()
            assert forwarded.pop() - start >= 0.05

    def test_a_hook_may_break_the_connection(self, direct: S3Client, proxy: RecordingProxy) -> None:
        def fail(_: object) -> None:
            raise OSError

        client = s3_client(proxy.endpoint)
        proxy.before_request = fail
        with pytest.raises(UNREACHABLE):
            client.list_buckets()
        assert proxy.exchanges == []
        proxy.before_request, proxy.before_response = None, fail
        with pytest.raises(UNREACHABLE):
            client.list_buckets()
        assert calls(proxy) == [("GET", "/", 200, 0)]

    def test_close_raises_what_a_hook_raised(self, moto: EmbeddedS3) -> None:
        def fail(_: RequestHead) -> None:
            raise AssertionError("of a hook")

        proxy = RecordingProxy(moto.address)
        proxy.before_request = fail
        with pytest.raises(UNREACHABLE):
            s3_client(proxy.endpoint).list_buckets()
        with pytest.raises(AssertionError, match="of a hook"):
            proxy.close()
        proxy.close()


class TestRaces:
    def test_before_request_holds_a_request_before_it_reaches_s3(self, direct: S3Client, proxy: RecordingProxy) -> None:
        assert self._read_while_overwriting(direct, proxy, "before_request") == b"new"

    def test_before_response_holds_an_answer_of_s3(self, direct: S3Client, proxy: RecordingProxy) -> None:
        assert self._read_while_overwriting(direct, proxy, "before_response") == b"old"

    def _read_while_overwriting(self, direct: S3Client, proxy: RecordingProxy, hook: str) -> bytes:
        held, release = threading.Event(), threading.Event()

        def hold(asked: RequestHead | Exchange) -> None:
            assert asked.path == f"/{BUCKET}/key"
            held.set()
            assert release.wait(PATIENCE)

        direct.put_object(Bucket=BUCKET, Key="key", Body=b"old")
        setattr(proxy, hook, hold)
        with ThreadPoolExecutor() as pool:
            reading = pool.submit(read, s3_client(proxy.endpoint), "key")
            assert held.wait(PATIENCE)
            direct.put_object(Bucket=BUCKET, Key="key", Body=b"new")
            release.set()
            return reading.result(PATIENCE)

    def test_sixteen_requests_are_in_flight_at_once(self, direct: S3Client, proxy: RecordingProxy) -> None:
        together = threading.Barrier(16)

        def meet(_: RequestHead) -> None:
            together.wait(PATIENCE)

        proxy.before_request = meet
        client = s3_client(proxy.endpoint, max_pool_connections=16)
        bodies = {f"key{n}": bytes([n]) * 100_000 for n in range(16)}
        for key, body in bodies.items():
            direct.put_object(Bucket=BUCKET, Key=key, Body=body)
        with ThreadPoolExecutor(16) as pool:
            for _ in range(3):
                assert list(pool.map(lambda key: read(client, key), bodies)) == list(bodies.values())
        assert len(proxy.exchanges) == 3 * 16
        assert {each.response_body_bytes for each in proxy.exchanges} == {100_000}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RadosGateway]:
    if lacking := missing():
        pytest.skip(lacking)
    with RadosGateway(tmp_path_factory.mktemp("gateway")) as server:
        client = s3_client(server.endpoint, server.access_key, server.secret_key)
        client.create_bucket(Bucket=BUCKET)
        yield server


@pytest.mark.e2e
class TestGateway:
    @pytest.fixture(params=["direct", "proxied"])
    def endpoint(self, request: pytest.FixtureRequest, gateway: RadosGateway) -> Iterator[str]:
        with RecordingProxy(gateway.address) as proxy:
            yield proxy.endpoint if request.param == "proxied" else gateway.endpoint

    def test_reads_what_was_written(self, gateway: RadosGateway, endpoint: str) -> None:
        client = s3_client(endpoint, gateway.access_key, gateway.secret_key)
        for body in (b"", b"body", bytes(20 * MIB)):
            client.put_object(Bucket=BUCKET, Key="a b/ü", Body=body)
            assert read(client, "a b/ü") == body

    def test_honours_conditions(self, gateway: RadosGateway, endpoint: str) -> None:
        client = s3_client(endpoint, gateway.access_key, gateway.secret_key)
        etag = client.put_object(Bucket=BUCKET, Key="key", Body=b"body")["ETag"]
        with pytest.raises(ClientError) as unchanged:
            client.get_object(Bucket=BUCKET, Key="key", IfNoneMatch=etag)
        with pytest.raises(ClientError) as changed:
            client.get_object(Bucket=BUCKET, Key="key", IfMatch='"another"', Range="bytes=0-1")
        assert (status_of(unchanged), status_of(changed)) == (304, 412)

    def test_checks_signatures(self, gateway: RadosGateway, endpoint: str) -> None:
        impostor = s3_client(endpoint, gateway.access_key, "wrong")
        for _ in range(3):
            with pytest.raises(ClientError) as error:
                impostor.get_object(Bucket=BUCKET, Key="key")
            assert status_of(error) == 403
            with pytest.raises(ClientError) as error:
                impostor.put_object(Bucket=BUCKET, Key="key", Body=bytes(MIB))
            assert status_of(error) == 403

    def test_a_304_has_no_body(self, gateway: RadosGateway) -> None:
        with RecordingProxy(gateway.address) as proxy:
            client = s3_client(proxy.endpoint, gateway.access_key, gateway.secret_key)
            etag = client.put_object(Bucket=BUCKET, Key="key", Body=b"body")["ETag"]
            with pytest.raises(ClientError):
                client.get_object(Bucket=BUCKET, Key="key", IfNoneMatch=etag)
            assert read(client, "key") == b"body"
            path = f"/{BUCKET}/key"
            assert calls(proxy) == [("PUT", path, 200, 0), ("GET", path, 304, 0), ("GET", path, 200, 4)]

    def test_a_failed_start_shows_the_log(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        if lacking := missing():
            pytest.skip(lacking)
        with socket.create_server(("127.0.0.1", 0)) as other, socket.create_server(("127.0.0.1", 0)) as free:
            taken = [free.getsockname()[1], other.getsockname()[1]]
            free.close()
            monkeypatch.setattr(gateway_module, "_free_ports", lambda count: taken)
            with (
                pytest.raises(RuntimeError, match=rf"(?s)radosgw died with status {errno.EADDRINUSE} .*osdmap"),
                RadosGateway(tmp_path),
            ):
                pass
