"""A static server that answers as S3 does, fast, paced or faulty, in a process of its own.

An embedded server shares the interpreter with the client that it serves, so that each slows the other down, and none
of S3's pace can be told from it. This one has its own process and leaves the bodies to the kernel (sendfile), so that
on the loopback the client is what is measured; or it holds them back to the latency and the rate of a distant S3; or
it breaks them off, stalls them and flips their bits. It reads only: objects come from the test that started it.

The file is both sides of it: `StaticOrigin` is the test's, and run as a script it is the server, which takes commands
from its standard input, one JSON object a line, and answers each with a line on its standard output.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote
from xml.sax.saxutils import escape

_SMALL = 64 * 1024  # what goes out together with its head
_PIECE = 1024 * 1024  # the most that is sent at a time
_BEAT = 0.004  # seconds between the pieces of a paced body
_CATCH_UP = 0.05  # seconds that a paced body may be late and make up for
_LATE = 0.3  # seconds by which a "late" head is late
_HEAD_LIMIT = 64 * 1024
_MAX_KEYS = 1000
_DRAIN = 2.0  # seconds that a client has to take what it gets before a reset
_MSG_MORE: int = getattr(socket, "MSG_MORE", 0)  # Linux only

_CUTS = ("reset", "truncate", "stall")
_IN_BODY = (*_CUTS, "flip")
KINDS = (*_IN_BODY, "503", "500", "late", "refuse")
"""The kinds of faults."""

_ERRORS = {
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidArgument": (400, "Argument not valid"),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NotImplemented": (501, "A request you provided implies functionality that is not implemented"),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold"),
    "SlowDown": (503, "Please reduce your request rate."),
}


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a response, and where in its body.

    - "reset": the connection is reset after `offset` bytes of the body, all of which the client can still read.
    - "truncate": the connection is closed in order after `offset` bytes.
    - "stall": `offset` bytes come, and then nothing until the client closes the connection.
    - "flip": the lowest bit of the byte at `offset` is flipped.
    - "503", "500": this is the answer, with the error that S3 gives (SlowDown, InternalError).
    - "late": the head comes 0.3 s late.
    - "refuse": the connection is closed without an answer.

    The first four need a body of an object to break: an error, a 304 or an empty object goes through. An offset
    counts from the start of the response's body, not of the object; one beyond the end means the end (for "flip",
    the last byte). With a `key` the fault is for this object alone.
    """

    kind: str
    offset: int = 0
    key: str | None = None

    def __post_init__(self) -> None:
        _check_kinds(self.kind)
        if self.offset < 0:
            raise ValueError(f"an offset is not negative: {self.offset}")


@dataclass(frozen=True)
class Served:
    """A request, and what it was answered. A header that was not sent is empty."""

    method: str
    bucket: str
    key: str  # percent-decoded; empty for a request to the bucket
    query: str  # as sent, without the question mark
    range: str
    if_match: str
    if_none_match: str
    status: int  # 0 for a request without an answer
    sent: int  # bytes of the body, of errors and lists too; of a response under way, so far
    fault: str  # its kind, or empty


class StaticOrigin:
    """A server for static objects, on a free port of the loopback, in a process of its own.

    It answers GET and HEAD of objects (ranges, If-Match, If-None-Match) and ListObjectsV2 (without delimiter), to
    anyone and with any signature. Any bucket exists.

    `latency` is how many seconds pass before the first byte of each response, `rate` the bytes per second at which a
    connection gets the body of an object (None: as fast as it goes). What a request gets is settled when it arrives:
    neither a later `put` nor a later `pace` changes it.

    A request is in `requests` before the client has the first byte of the answer, and its `sent` is final before the
    client has the last one.
    """

    def __init__(self, *, latency: float = 0.0, rate: float | None = None) -> None:
        _check_pace(latency, rate)
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="static-origin-"))
        self._bodies = 0
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for the test, which then closes this
        )
        try:
            self.endpoint = f"http://127.0.0.1:{self._reply()}"
            self.pace(latency=latency, rate=rate)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def put(self, bucket: str, key: str, body: bytes | pathlib.Path, **headers: str) -> str:
        """Store or replace an object; returns its ETag.

        A path is served from where it lies. The ETag is the quoted MD5 of the body, or `etag`. Other headers (with _
        for -) are sent with each response for the object, x-amz-checksum-* as S3 does: to who asks for the whole
        object with x-amz-checksum-mode.
        """
        named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        etag = named.pop("etag", None) or _md5(body)
        etag = etag if etag.endswith('"') else f'"{etag}"'
        own = isinstance(body, bytes)
        if isinstance(body, bytes):
            with self._lock:
                self._bodies += 1
                path = self._folder / str(self._bodies)
            path.write_bytes(body)
        else:
            path = body.absolute()
        stored = _Object(str(path), path.stat().st_size, etag, named, time.time(), own)
        self._command("put", bucket=bucket, key=key, stored=asdict(stored))
        return etag

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object, if it is there."""
        self._command("delete", bucket=bucket, key=key)

    def pace(self, *, latency: float, rate: float | None) -> None:
        """Set latency and rate for the requests from now on."""
        _check_pace(latency, rate)
        self._command("pace", latency=latency, rate=rate)

    def fault(self, *faults: Fault) -> None:
        """Queue faults: each GET of an object from now on gets the first one that suits its response."""
        self._command("fault", faults=[asdict(fault) for fault in faults])

    def chaos(self, seed: int, share: float, kinds: Sequence[str]) -> None:
        """Give a share of the responses a random fault at a random offset of the body; 0 ends it.

        Only kinds that suit a response are drawn for it: HEADs, lists and errors get none that needs a body. What is
        drawn depends on the seed, the request (method, target, range) and how often it was made since this call, but
        not on the requests made between or at the same time.
        """
        _check_kinds(*kinds)
        self._command("chaos", seed=seed, share=share, kinds=list(kinds))

    def requests(self) -> list[Served]:
        """What was asked for so far, in the order in which the requests came."""
        return [Served(**served) for served in self._command("requests")]

    def forget(self) -> None:
        """Forget the requests so far."""
        self._command("forget")

    def close(self) -> None:
        """End the process, break off what is under way, and remove the bodies."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with self._lock:
            # A process forked from this one may hold the pipe open, so that the end of file alone will not do.
            with contextlib.suppress(OSError, ValueError):
                process.stdin.write(b'{"command": "close"}\n')
                process.stdin.flush()
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.stdout.close()
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _command(self, command: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
            return self._reply()

    def _reply(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the origin's process has ended; its standard error says why")
        return json.loads(line)


class Pacer:
    """Lets the bytes of a body go at a rate: call `wait` with the length of each piece before it is sent.

    A piece goes when its last byte would have come. A body that fell behind, as with a client that reads slowly or a
    machine that is busy, catches up no more than 0.05 s.
    """

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.piece = max(1, min(int(rate * _BEAT), _PIECE))  # what to send at a time
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._due = clock()

    def wait(self, count: int) -> None:
        """Return when `count` more bytes may go."""
        now = self._clock()
        self._due = max(self._due, now - _CATCH_UP) + count / self._rate
        if self._due > now:
            self._sleep(self._due - now)


def span(header: str, size: int) -> tuple[int, int] | None:
    """The part of `size` bytes that a Range header asks for, as start and length.

    None if it asks for all of them: without a header, and with one that S3 ignores (several ranges, other units, a
    range that ends before it starts). A range that cannot be satisfied has length 0.
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header.replace(" ", ""), re.ASCII)
    if match is None or match[0] == "bytes=-":
        return None
    if not match[1]:
        length = min(int(match[2]), size)
        return size - length, length
    first = int(match[1])
    last = int(match[2]) if match[2] else max(first, size - 1)
    if last < first:
        return None
    return first, max(0, min(last + 1, size) - first)


def _check_kinds(*kinds: str) -> None:
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(f"no such kind of fault: {', '.join(sorted(unknown))}")


def _check_pace(latency: float, rate: float | None) -> None:
    if latency < 0 or (rate is not None and rate <= 0):
        raise ValueError(f"a latency is not negative ({latency}), and a rate is positive ({rate})")


def _md5(body: bytes | pathlib.Path) -> str:
    if isinstance(body, bytes):
        return hashlib.md5(body, usedforsecurity=False).hexdigest()
    with body.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


# From here on: the server.


@dataclass(frozen=True)
class _Object:
    path: str
    size: int
    etag: str
    headers: dict[str, str]
    modified: float
    own: bool  # the file is the origin's, to be removed with the object


@dataclass(frozen=True)
class _Request:
    method: str
    target: str
    bucket: str
    key: str
    query: str
    headers: dict[str, str]  # names in lower case
    persistent: bool  # the connection stays open for another


@dataclass(frozen=True)
class _Span:
    """A part of an open file."""

    file: int
    start: int
    length: int


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes | _Span = b""

    @property
    def length(self) -> int:
        return len(self.body) if isinstance(self.body, bytes) else self.body.length

    def head(self, *, persistent: bool) -> bytes:
        headers = {"Date": formatdate(usegmt=True), "Server": "StaticOrigin", **self.headers}
        if not persistent:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}", *(f"{n}: {v}" for n, v in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def close(self) -> None:
        if isinstance(self.body, _Span):
            os.close(self.body.file)


@dataclass
class _Entry:
    """A request in the record, whose count grows."""

    served: Served
    sent: int = 0


@dataclass(frozen=True)
class _Chaos:
    seed: int
    share: float
    kinds: list[str]
    made: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # how often each request was

    def draw(self, request: _Request, answer: _Answer) -> Fault | None:
        same = (request.method, request.target, request.headers.get("range", ""))
        self.made[same] += 1
        draws = random.Random(f"{self.seed} {self.made[same]} {' '.join(same)}")
        if draws.random() >= self.share:
            return None
        suiting = [kind for kind in self.kinds if _suits(kind, answer)]
        return Fault(draws.choice(suiting), draws.randrange(max(1, answer.length))) if suiting else None


def _suits(kind: str, answer: _Answer) -> bool:
    return kind not in _IN_BODY or (isinstance(answer.body, _Span) and answer.length > 0)


class _Server:
    """The objects and the record, and a thread for each connection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: defaultdict[str, dict[str, _Object]] = defaultdict(dict)
        self._latency = 0.0
        self._rate: float | None = None
        self._faults: list[Fault] = []
        self._chaos = _Chaos(0, 0.0, [])
        self._entries: list[_Entry] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]

    def start(self) -> None:
        threading.Thread(target=self._accept, name="accept", daemon=True).start()

    # Commands

    def put(self, bucket: str, key: str, stored: dict[str, Any]) -> None:
        with self._lock:
            self._remove(bucket, key)
            self._buckets[bucket][key] = _Object(**stored)

    def delete(self, bucket: str, key: str) -> None:
        with self._lock:
            self._remove(bucket, key)

    def _remove(self, bucket: str, key: str) -> None:
        old = self._buckets[bucket].pop(key, None)
        if old is not None and old.own:
            os.unlink(old.path)  # responses under way have it open

    def pace(self, latency: float, rate: float | None) -> None:
        with self._lock:
            self._latency, self._rate = latency, rate

    def fault(self, faults: list[dict[str, Any]]) -> None:
        with self._lock:
            self._faults += [Fault(**fault) for fault in faults]

    def chaos(self, seed: int, share: float, kinds: list[str]) -> None:
        with self._lock:
            self._chaos = _Chaos(seed, share, kinds)

    def requests(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(replace(entry.served, sent=entry.sent)) for entry in self._entries]

    def forget(self) -> None:
        with self._lock:
            self._entries = []

    # Connections

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for request in _requests(sock):
                if not self._respond(sock, request):
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_WR)
                    return

    def _respond(self, sock: socket.socket, request: _Request) -> bool:
        """Answer a request; returns whether the connection can carry another."""
        with self._lock:
            latency, rate = self._latency, self._rate
            answer = self._answer(request)
            fault = self._fault(request, answer)
            kind = fault.kind if fault else ""
            if kind in {"503", "500"}:
                answer.close()
                answer = _error("SlowDown" if kind == "503" else "InternalError", request)
            entry = _Entry(_served(request, 0 if kind == "refuse" else answer.status, kind))
            self._entries.append(entry)
        try:
            if latency or kind == "late":
                time.sleep(latency + (_LATE if kind == "late" else 0.0))
            if kind == "refuse":
                return False
            head = answer.head(persistent=request.persistent)
            if isinstance(answer.body, bytes):
                entry.sent = len(answer.body)
                sock.sendall(head + answer.body)
                return request.persistent
            in_body = fault if kind in _IN_BODY else None
            pacer = Pacer(rate) if rate else None
            _transmit(sock, head, answer.body, fault=in_body, entry=entry, pacer=pacer)
            return kind not in _CUTS and request.persistent
        finally:
            answer.close()

    def _fault(self, request: _Request, answer: _Answer) -> Fault | None:
        if request.method == "GET" and request.key:
            for at, fault in enumerate(self._faults):
                if fault.key in {None, request.key} and _suits(fault.kind, answer):
                    return self._faults.pop(at)
        return self._chaos.draw(request, answer) if self._chaos.share else None

    def _answer(self, request: _Request) -> _Answer:
        if request.method not in {"GET", "HEAD"}:
            return _error("MethodNotAllowed", request)
        if request.key:
            return self._object(request)
        if request.method == "HEAD":
            return _Answer(200, {"Content-Length": "0"})
        return _list(self._buckets[request.bucket], request)

    def _object(self, request: _Request) -> _Answer:
        asked = request.headers
        stored = self._buckets[request.bucket].get(request.key)
        if stored is None:
            return _error("NoSuchKey", request)
        if "if-match" in asked and not _among(asked["if-match"], stored.etag):
            return _error("PreconditionFailed", request, Condition="If-Match")
        headers = {"Last-Modified": formatdate(stored.modified, usegmt=True), "ETag": stored.etag}
        if "if-none-match" in asked and _among(asked["if-none-match"], stored.etag):
            return _Answer(304, headers)
        part = span(asked.get("range", ""), stored.size)
        start, length = part or (0, stored.size)
        if part and not length:
            return _error("InvalidRange", request, RangeRequested=asked["range"], ActualObjectSize=str(stored.size))
        headers |= {"Accept-Ranges": "bytes", "Content-Type": "binary/octet-stream", "Content-Length": str(length)}
        if part:
            headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{stored.size}"
        canonical = {name.lower(): name for name in headers}
        checksums = not part and asked.get("x-amz-checksum-mode", "").upper() == "ENABLED"
        for name, value in stored.headers.items():
            if checksums or not name.startswith("x-amz-checksum-"):
                headers[canonical.get(name, name)] = value
        status = 206 if part else 200
        if request.method == "HEAD":
            return _Answer(status, headers)
        return _Answer(status, headers, _Span(os.open(stored.path, os.O_RDONLY), start, length))


def _requests(sock: socket.socket) -> Iterator[_Request]:
    """The requests of a connection, until the client closes it or sends what is none."""
    buffer = b""
    while True:
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            data = sock.recv(_HEAD_LIMIT)
            if not data or len(buffer) > _HEAD_LIMIT:
                return
            buffer += data
        start, *lines = buffer[:end].decode("latin-1").split("\r\n")
        buffer = buffer[end + 4 :]
        method, target, version = (*start.split(" "), "", "")[:3]
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        path, _, query = target.partition("?")
        bucket, _, key = path.removeprefix("/").partition("/")
        bodiless = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        persistent = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close" and bodiless
        yield _Request(method, target, unquote(bucket), unquote(key), query, headers, persistent)


def _served(request: _Request, status: int, fault: str) -> Served:
    return Served(
        method=request.method,
        bucket=request.bucket,
        key=request.key,
        query=request.query,
        range=request.headers.get("range", ""),
        if_match=request.headers.get("if-match", ""),
        if_none_match=request.headers.get("if-none-match", ""),
        status=status,
        sent=0,
        fault=fault,
    )


def _among(header: str, etag: str) -> bool:
    """Whether a list of ETags names this one."""
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")}
    return "*" in tags or etag.strip('"') in tags


def _xml(status: int, root: str, text: str, request: _Request) -> _Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{root}'.encode() + text.encode()
    headers = {"Content-Type": "application/xml", "Content-Length": str(len(body))}
    return _Answer(status, headers, b"" if request.method == "HEAD" else body)


def _elements(**texts: str) -> str:
    return "".join(f"<{name}>{escape(text)}</{name}>" for name, text in texts.items())


def _error(code: str, request: _Request, **more: str) -> _Answer:
    status, message = _ERRORS[code]
    path = unquote(request.target.partition("?")[0])
    text = _elements(Code=code, Message=message, **more, Resource=path, RequestId="0", HostId="0")
    return _xml(status, "<Error>", f"{text}</Error>", request)


def _list(objects: dict[str, _Object], request: _Request) -> _Answer:
    """ListObjectsV2."""
    query = {name: values[-1] for name, values in parse_qs(request.query, keep_blank_values=True).items()}
    if query.get("list-type") != "2" or query.get("delimiter"):
        return _error("NotImplemented", request)
    prefix, token = query.get("prefix", ""), query.get("continuation-token")
    try:
        limit = min(int(query.get("max-keys", _MAX_KEYS)), _MAX_KEYS)
        after = query.get("start-after", "") if token is None else base64.urlsafe_b64decode(token).decode()
    except ValueError:
        return _error("InvalidArgument", request)
    in_url = query.get("encoding-type") == "url"

    def encoded(text: str) -> str:
        return quote(text) if in_url else text

    keys = sorted(key for key in objects if key.startswith(prefix) and key > after)
    page = keys[: max(0, limit)]
    truncated = 0 < len(page) < len(keys)
    head = {"Name": request.bucket, "Prefix": encoded(prefix), "KeyCount": str(len(page)), "MaxKeys": str(limit)}
    head["IsTruncated"] = str(truncated).lower()
    if in_url:
        head["EncodingType"] = "url"
    if token is not None:
        head["ContinuationToken"] = token
    elif after:
        head["StartAfter"] = encoded(after)
    if truncated:
        head["NextContinuationToken"] = base64.urlsafe_b64encode(page[-1].encode()).decode()
    parts = [_elements(**head)]
    for key in page:
        stored = objects[key]
        text = _elements(
            Key=encoded(key),
            LastModified=time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(stored.modified)),
            ETag=stored.etag,
            Size=str(stored.size),
            StorageClass="STANDARD",
        )
        parts.append(f"<Contents>{text}</Contents>")
    root = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    return _xml(200, root, f"{''.join(parts)}</ListBucketResult>", request)


def _transmit(
    sock: socket.socket, head: bytes, body: _Span, *, fault: Fault | None, entry: _Entry, pacer: Pacer | None
) -> None:
    """Send a response with the body of an object, and with the fault in it. The count is ahead of what is sent."""
    end = min(fault.offset, body.length) if fault and fault.kind in _CUTS else body.length
    flipped = min(fault.offset, body.length - 1) if fault and fault.kind == "flip" else None
    if pacer is None and end <= _SMALL:
        data = bytearray(os.pread(body.file, end, body.start))
        if flipped is not None:
            data[flipped] ^= 1
        entry.sent = end
        sock.sendall(head + data)
    else:
        sock.sendall(head, _MSG_MORE if pacer is None and end else 0)
        if flipped is None:
            _send(sock, body, 0, end, entry=entry, pacer=pacer)
        else:
            _send(sock, body, 0, flipped, entry=entry, pacer=pacer)
            entry.sent += 1
            sock.sendall(bytes([os.pread(body.file, 1, body.start + flipped)[0] ^ 1]))
            _send(sock, body, flipped + 1, end, entry=entry, pacer=pacer)
    if fault and fault.kind == "stall":
        while sock.recv(_SMALL):
            pass
    elif fault and fault.kind == "reset":
        _reset(sock)


def _send(sock: socket.socket, body: _Span, at: int, end: int, *, entry: _Entry, pacer: Pacer | None) -> None:
    while at < end:
        count = min(end - at, pacer.piece if pacer else _PIECE)
        if pacer:
            pacer.wait(count)
        entry.sent += count
        sent = 0
        try:
            sent = os.sendfile(sock.fileno(), body.file, body.start + at, count)
        finally:
            entry.sent -= count - sent
        if not sent:
            raise OSError("the file got shorter")
        at += sent
        if pacer and sent < count:  # the rest of the piece has been waited for
            _send(sock, body, at, at + count - sent, entry=entry, pacer=None)
            at += count - sent


def _reset(sock: socket.socket) -> None:
    """Reset a connection after the client's side has received everything: a reset discards what is on its way."""
    patience = time.monotonic() + _DRAIN
    with contextlib.suppress(OSError):  # not a question that each system answers about sockets
        while struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0] and time.monotonic() < patience:
            time.sleep(0.001)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _main(folder: str) -> None:
    """Serve until told to close, or until who told is gone."""
    server = _Server()
    server.start()
    reply: Any = server.port
    try:
        while True:
            print(json.dumps(reply), flush=True)
            arguments = json.loads(sys.stdin.readline() or '{"command": "close"}')
            command = arguments.pop("command")
            if command == "close":
                break
            reply = getattr(server, command)(**arguments)
    except Exception:  # noqa: BLE001 - it says so, and then ends
        traceback.print_exc()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)  # at once, whatever the connections are waiting for


if __name__ == "__main__":
    _main(sys.argv[1])
