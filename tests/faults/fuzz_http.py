"""Targets: what servers say in HTTP: heads and bodies on a socket, and the headers that s3warm obeys."""

from __future__ import annotations

import hashlib
import math
import socket
import zlib
from base64 import b64encode
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING

from s3warm.errors import IntegrityError, OriginUnavailableError, S3WarmError
from s3warm.keys import ObjectKey
from s3warm.metrics import Counters
from s3warm.origin.base import NotModified, Request, TransportError
from s3warm.origin.connections import Answer
from s3warm.origin.dates import timestamp
from s3warm.origin.exchange import Changed, Exchange
from s3warm.origin.fetch import ConditionalFetch
from s3warm.origin.integrity import Digest, Mismatch
from s3warm.origin.wire import Connection
from s3warm.rules.freshness import expires_at, is_fresh, lifetime, may_serve_stale, parse_cache_control
from tests.faults.fuzz import Choices, target
from tests.support.supplier import KEY
from tests.support.supplier import Answer as Scripted

if TYPE_CHECKING:
    from s3warm.origin.base import Page, Response, Upload

REQUEST = b"GET / HTTP/1.1\r\n\r\n"
LARGEST = 4096  # bytes of a body
LONGEST_HEAD = 64 * 1024
BODY = b"the body"
BODILESS = (204, 304)  # whatever length they say
_NAMES = ("Content-Length", "Transfer-Encoding", "Connection", "ETag", "x-amz-meta-a", "Content-Range", "Set-Cookie", "X")
_VALUES = ("8", "0", "chunked", "close", "keep-alive", '"e"', "bytes 0-7/8", "8, 8", "", "gzip, chunked")


# -- heads and bodies ------------------------------------------------------------------------------------------------------------


def _chunked(choices: Choices, body: bytes) -> bytes:
    """The body in chunks, with extensions and trailers now and then."""
    said, position, scale = b"", 0, 1 + len(body) // 100
    while position < len(body):
        size = (1 + choices.below(8)) * scale
        piece = body[position : position + size]
        extension = b";name=value" if choices.sometimes(4) else b""
        said += f"{len(piece):{choices.one(('x', 'X', '04x'))}}".encode() + extension + b"\r\n" + piece + b"\r\n"
        position += size
    return said + b"0\r\n" + (b"trailer: x\r\n" if choices.sometimes(4) else b"") + b"\r\n"


def _answer(choices: Choices) -> tuple[bytes, bytes | None]:
    """An answer, and the body that it means; None where it may mean anything."""
    if choices.sometimes(8):
        return choices.data(90), None
    status = choices.one((200, 200, 200, 206, 304, 404, 503))
    lines = [f"HTTP/1.{choices.below(2)} {status} {choices.one(('OK', '', 'No'))}".encode()]
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" if choices.sometimes(8) else b""
    body = choices.data(24) * choices.one((1, 1, 1, 1, 1, 1, 1, 1000))
    framing = choices.below(3)
    if framing == 0:
        lines.append(b"content-length: %d" % len(body))
    elif framing == 1:
        lines.append(b"Transfer-Encoding: chunked")
    lines += [b"x-amz-meta-n: %d" % number for number in range(choices.below(3))]
    if choices.sometimes(64):
        lines += [b"x-long: " + b"x" * choices.one((16_000, 30_000, 70_000))]
    said = body if framing != 1 else _chunked(choices, body)
    meant: bytes | None = b"" if status == 304 else body
    if choices.sometimes(4):
        name, value = choices.one(_NAMES), choices.maybe_damaged(choices.one(_VALUES))
        lines.insert(1, f"{name}:{value}".encode("utf-8", "replace"))
        meant = None
    if sum(map(len, lines)) > LONGEST_HEAD - 200:
        meant = None
    whole = interim + b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if status == 304 else said)
    return (choices.damaged(whole), None) if choices.sometimes(2) else (whole, meant)


@target("wire", 150)
def wire(choices: Choices) -> bool:
    """`Connection.ask` and `readinto` raise TransportError (`Late` is one)."""
    said, meant = _answer(choices)
    choices.given = (said, meant)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        connection = Connection(ours)
        try:
            status, headers = connection.ask(REQUEST, None)
            body = b""
            with closing(Answer(status, headers, connection, lambda _: None)) as answer:
                if "content-length" in headers and status not in BODILESS:
                    assert 0 <= int(headers["content-length"]) < 10**18
                room = memoryview(bytearray(1 + choices.below(5000) + len(said) // 100))
                while count := answer.readinto(room):
                    assert 0 < count <= len(room)
                    body += room[:count]
        except TransportError:
            assert meant is None, "it was well formed"
            assert not connection.reusable
            return False
        finally:
            assert len(connection._buffer) <= LONGEST_HEAD
        assert meant is None or body == meant
        assert 200 <= status <= 599
        assert len(body) <= len(said), "more than was sent"
        assert status in BODILESS or len(body) == int(headers.get("content-length", len(body)))
        for name, value in headers.items():
            assert name == name.lower()
            assert not {"\r", "\n", "\0"} & {*name, *value}
        return True


# -- headers ---------------------------------------------------------------------------------------------------------------------

_DIRECTIVES = ("max-age=60", "max-age=0", "max-age=99999999999999999999", 'max-age="5"', "no-cache", "no-store", "must-revalidate",
               "public", 'private="a, no-cache"', "s-maxage=1", "max-age=-1", "max-age=1.5", "max-age=²", "max-age=٣", "max-age")  # fmt: skip
_AGES = {"max-age=60": 60.0, "max-age=0": 0.0, 'max-age="5"': 5.0, "max-age=99999999999999999999": 2.0**31}


@target("cache-control", 60)
def cache_control(choices: Choices) -> bool:
    """`parse_cache_control` raises nothing."""
    directives = choices.some(_DIRECTIVES, 4)
    said = choices.one((",", ", ", " ,\t")).join(each.upper() if choices.sometimes(3) else each for each in directives)
    whole = choices.sometimes(2)
    if not whole:
        said = choices.text(40) if choices.sometimes(4) else choices.damaged_text(said)
    choices.given = said
    control = parse_cache_control(said)
    assert control.max_age is None or (control.max_age == int(control.max_age) and 0 <= control.max_age <= 2**31)
    if whole:
        ages = [_AGES.get(each, 0.0) for each in directives if each.startswith("max-age")]
        assert control.max_age == (ages[0] if ages else None)
        assert control.no_cache == ("no-cache" in directives)
        assert control.no_store == ("no-store" in directives)
        assert control.must_revalidate == ("must-revalidate" in directives)
    ttl, now = float(choices.one((0, 1, 300, 10**9))), 1e9
    for mode in ("respect", "trust", "ignore"):
        until = expires_at(now, ttl, control, mode, jitter=0.1, draw=choices.below(100) / 100)
        assert math.isfinite(until)
        assert 0 <= lifetime(ttl, control, mode) <= max(ttl, 2**31)
        assert mode == "trust" or until <= now + ttl, "it lengthens"
        assert not (control.no_cache and mode != "ignore" and is_fresh(now, until, now, 10.0))
        assert not (control.no_cache and mode != "ignore" and may_serve_stale(until, now, 1e9, control, mode))
    return control.max_age is not None


@target("dates", 60)
def dates(choices: Choices) -> bool:
    """`timestamp` raises nothing."""
    moment = datetime(1, 1, 1, tzinfo=UTC) + timedelta(days=choices.below(65_536) * 55, seconds=choices.below(65_536))
    kind, zone = choices.below(4), choices.one(("GMT", "+0000", "-2359", "+2359", "+9999", "EST", "-0000", ""))
    said = format_datetime(moment, usegmt=True)
    if kind == 1:
        said = said[:-3] + zone
    elif kind == 2:
        said = choices.one(
            (
                moment.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
                moment.ctime(),
                moment.isoformat(),
                choices.text(40, surrogates=True),
            )
        )
    elif kind == 3 and choices.sometimes(2):
        day, month, hour, minute = choices.below(33), choices.one(("Feb", "Apr", "Dec")), choices.below(26), choices.below(62)
        said = f"Wed, {day:02} {month} {moment.year:04} {hour:02}:{minute:02}:{choices.below(62):02} GMT"
    elif kind == 3:
        said = choices.damaged_text(said, surrogates=True)
    choices.given = said
    found = timestamp(said)
    if kind == 0:
        assert found == moment.timestamp()
    try:
        other = parsedate_to_datetime(said)
        expected = (other if other.tzinfo else other.replace(tzinfo=UTC)).astimezone(UTC).timestamp()
    except Exception:  # noqa: BLE001 - it raises many things for what it cannot read
        expected = None
    if said[12:14] != "00":  # RFC 9110's years have four digits; email.utils takes 0001 for 2001
        assert found == expected
    if found is not None:
        assert datetime.fromtimestamp(found, UTC).timestamp() == found, "Entry.last_modified has to be a date"
    return found is not None


_SUMS = {
    "sha256": hashlib.sha256(BODY).digest(),
    "sha1": hashlib.sha1(BODY).digest(),
    "crc32": zlib.crc32(BODY).to_bytes(4, "big"),
}


@target("checksums", 60)
def checksums(choices: Choices) -> bool:
    """`Digest` raises nothing, and `verify` Mismatch."""
    headers: dict[str, str] = {}
    right = True
    if choices.sometimes(2):
        etag = f'"{hashlib.md5(BODY).hexdigest()}"'
        headers["etag"] = etag if choices.sometimes(2) else choices.damaged_text(etag)
        right = headers["etag"] == etag
    for name in choices.some(("sha256", "sha1", "crc32", "crc32c", "crc64nvme", "md5", "x"), 3):
        value = b64encode(_SUMS.get(name, choices.data(8))).decode()
        kept = value if choices.sometimes(2) else choices.damaged_text(value)
        headers[f"x-amz-checksum-{name}"] = kept
        right = right and kept == value and name in _SUMS
    if choices.sometimes(4):
        headers["x-amz-checksum-type"] = choices.one(("FULL_OBJECT", "COMPOSITE", "", "full_object", choices.text(8)))
    if choices.sometimes(4):
        headers["x-amz-server-side-encryption"] = choices.one(("AES256", "aws:kms", "", choices.text(8)))
    choices.given = headers
    digest = Digest(ObjectKey(choices.one(("bucket", "data--use1-az4--x-s3")), "key"), headers)
    digest.update(BODY[:3])
    digest.update(memoryview(BODY)[3:])
    assert digest.name in ("md5", "sha256", "sha1", "crc64nvme", "crc32c", "crc32", "length")
    assert digest.wanted == (digest.name != "length")
    try:
        assert digest.verify() == digest.name
    except Mismatch:
        assert not right, "the body is what the headers say"
        return False
    if digest.name in _SUMS:
        assert digest._expected == _SUMS[digest.name], "another checksum was believed"
    return digest.wanted


class Supplier:
    """A supplier that has one answer, however often it is asked."""

    retries = False
    connections = 1

    def __init__(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.status, self.body, self.headers = status, body, headers
        self.given: list[Scripted] = []

    def get(self, request: Request) -> Scripted:
        self.given.append(Scripted(self.status, *([self.body] if self.body else []), headers=self.headers))
        return self.given[-1]

    def write(self, upload: Upload) -> Response:
        raise AssertionError("nothing is written here")

    def list(self, bucket: str, prefix: str, token: str, deadline: float | None = None, delimiter: str = "") -> Page:
        raise NotImplementedError

    def refresh_credentials(self) -> bool:
        return False

    def renew(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def _headers(choices: Choices, body: bytes) -> dict[str, str]:
    """Headers of an answer, as a supplier gives them: names in lower case."""
    said = {"content-length": str(len(body)), "etag": '"e"', "last-modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
    if choices.sometimes(3):
        said["x-amz-version-id"] = choices.one(("null", "v1", choices.text(8)))
    for name in choices.some((*said, "content-length", "cache-control", "x-amz-meta-a", "x-amz-meta-", "content-encoding"), 2):
        value = choices.one((said.get(name, ""), str(choices.number()) if choices.sometimes(2) else "", f"{len(body)}"))
        said[name] = choices.damaged_text(value).replace("\r", "").replace("\n", "").strip()
    return said


@target("fetch", 60)
def fetch(choices: Choices) -> bool:
    """`Origin.fetch` and `Incoming.read` raise S3WarmErrors."""
    body = choices.data(12)
    headers = _headers(choices, body)
    condition = choices.one((None, '"e"'))
    supplier = Supplier(choices.one((200, 200, 200, 200, 206, 304, 404, 403, 412, 416, 500, 99)), body, headers)
    choices.given = (supplier.status, condition, body, headers)
    origin = ConditionalFetch(supplier, Counters(), sleep=lambda _: None)
    try:
        incoming = origin.fetch(KEY, if_none_match=condition)
        if isinstance(incoming, NotModified):
            assert (supplier.status, incoming.etag) == (304, condition)
            return True
        with closing(incoming):
            info, brought = incoming.read(LARGEST, lambda *_: None)
    except S3WarmError:
        return False
    finally:
        assert all(answer.closed == 1 for answer in supplier.given)
    assert supplier.status == 200
    assert info.size == len(brought) <= LARGEST
    assert body.startswith(brought)
    assert info.etag.isascii(), "it could not be asked about again: no header of a request can carry it"
    assert info.etag.isprintable(), "it could be taken for another header"
    if info.last_modified is not None:
        datetime.fromtimestamp(info.last_modified, UTC)
    return True


@target("ranges", 40)
def ranges(choices: Choices) -> bool:
    """`Exchange.open` raises Changed and S3WarmErrors for what is another range than was asked for."""
    start = abs(choices.number()) % 10**30
    span = start, start + choices.below(100)
    said_start = choices.one((span[0], span[0], 10 * span[0], choices.number()))
    said = f"bytes {said_start}-{span[1]}/{choices.one(('*', span[1] + 1))}"
    said = said if choices.sometimes(2) else choices.damaged_text(said)
    etag = choices.one(('"e"', '"e"', '"f"', 'W/"e"'))
    headers = {"content-range": said, "etag": etag}
    if choices.sometimes(8):
        del headers["content-range"]
    supplier = Supplier(choices.one((206, 206, 206, 200, 416, 304, 500)), b"x", headers)
    choices.given = (span, supplier.status, headers)
    exchange = Exchange(supplier, Counters(), sleep=lambda _: None)
    try:
        response = exchange.open(Request(KEY, if_match='"e"', span=span))
    except (Changed, OriginUnavailableError, IntegrityError):
        assert not (supplier.status == 206 and etag == '"e"' and said == f"bytes {span[0]}-{span[1]}/*")
        return False
    assert response.status == 206
    assert etag == '"e"'
    if "content-range" in headers:
        assert said.removeprefix("bytes ").partition("-")[0] == str(span[0])
    response.close()
    return True
