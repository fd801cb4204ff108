"""Test a handler that uses s3warm, without AWS, without a network and without waiting.

`fake_s3` swaps in a fresh default cache over an S3 in memory, with a clock of its own. The whole cache is at work, tiers, revalidation and
errors included: only the requests never leave the process.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from email.utils import formatdate

from s3warm.beyond import Alone
from s3warm.default import making
from s3warm.factory import Cache
from s3warm.faked import FakeAnswer, FakePage
from s3warm.keys import locate
from s3warm.origin.base import Listed, TransportError
from s3warm.origin.dates import timestamp
from s3warm.record import NamedTuple
from s3warm.rules.costs import LearntCost
from s3warm.tiers.temporary import temporary_directory
from s3warm.unchanged import Unchanged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Any, Unpack

    from s3warm.beyond import Beyond
    from s3warm.keys import ObjectKey
    from s3warm.metrics import Event
    from s3warm.options import Options
    from s3warm.origin.base import Request, Upload
    from s3warm.revalidation import Revalidation
    from s3warm.rules.eviction import Cost
    from s3warm.settings import Settings

__all__ = ["FakeCache", "FakeRequest", "FakeS3", "fake_s3"]

_START = 1_700_000_000.0
_PAGE = 1000  # objects, as S3 has it


class FakeRequest(NamedTuple):
    """One request that the cache sent, and how it was answered.

    Attributes:
        uri: `"s3://bucket/key"`, or what a listing begins with.
        if_none_match: the ETag that the cache holds, or None.
        status: of the answer: 200, 206 for a range, 304, 403, 404, 412 or 416.
        bytes: of the body of the answer.
        version_id: the version that was asked for, or None.
        span: first and last byte of the range that was asked for, or None.
        method: `"GET"`, or `"PUT"` of an object of so many `bytes`.

    Example:
        >>> import s3warm
        >>> with fake_s3({"s3://cfg/flags.json": b"{}"}) as s3:
        ...     body = s3warm.get("cfg", "flags.json")
        ...     body = s3warm.get("cfg", "flags.json", ttl=0)
        >>> [(request.uri, request.status, request.bytes) for request in s3.requests]
        [('s3://cfg/flags.json', 200, 2), ('s3://cfg/flags.json', 304, 0)]
    """

    uri: str
    if_none_match: str | None
    status: int
    bytes: int
    version_id: str | None = None
    span: tuple[int, int] | None = None
    method: str = "GET"


class FakeS3:
    """An S3 in memory. `s3[uri] = body` writes an object, `s3[uri]` reads it, `del s3[uri]` deletes it.

    Args:
        objects: bodies by URI, to begin with.

    Attributes:
        requests: every `FakeRequest` so far, in order.
        down: True makes each request fail as if S3 could not be reached.
        denied: URIs that answer 403.
        now: the clock of the cache, seconds since the epoch; `advance` moves it.

    Example:
        >>> import s3warm
        >>> with fake_s3({"s3://cfg/flags.json": b"old"}, ttl=60) as s3:
        ...     body = s3warm.get("cfg", "flags.json")
        ...     s3["s3://cfg/flags.json"] = b"new"
        ...     still = s3warm.get("cfg", "flags.json")
        ...     s3.advance(61)
        ...     (still, s3warm.get("cfg", "flags.json"), len(s3.requests))
        (b'old', b'new', 2)
    """

    # Slots, so that a misspelt `down` is an error.
    __slots__ = ("_objects", "before_answer", "denied", "down", "now", "requests")

    retries = True  # so that nothing waits to ask this origin again
    connections = 64

    def __init__(self, objects: Mapping[str, bytes] | None = None) -> None:
        self.requests: list[FakeRequest] = []
        self.down = False
        self.denied: set[str] = set()
        self.now = _START
        self.before_answer: Callable[[Request], None] | None = None
        self._objects: dict[tuple[str, str], list[_Version]] = {}
        for uri, body in (objects or {}).items():
            self[uri] = body

    def __setitem__(self, uri: str, body: bytes) -> None:
        self.put(uri, body)

    def __getitem__(self, uri: str) -> bytes:
        where = locate(uri)
        versions = self._objects.get((where.bucket, where.key))
        if not versions:
            raise KeyError(uri)
        return versions[-1].body

    def __delitem__(self, uri: str) -> None:
        where = locate(uri)
        if self._objects.pop((where.bucket, where.key), None) is None:
            raise KeyError(uri)

    def put(self, uri: str, body: bytes, **headers: str) -> str:
        """Write an object and return its version id. `headers` are response headers, with `_` for `-`: `cache_control="no-cache"`.

        An `etag=` of one's own stands for objects whose ETag is no MD5; `etag=""` for an origin that sends none. The ETag of another
        body makes this one damaged.

        Args:
            uri: `"s3://bucket/key"`.
            body: the bytes.
            **headers: of the answer, in place of its own.

        Raises:
            TypeError: the body is not bytes, or the URI no string.
            ValueError: the URI cannot name an object.

        Example:
            >>> import s3warm
            >>> with fake_s3() as s3:
            ...     s3.put("s3://cfg/flags.json", b"{}", content_type="application/json")
            ...     s3warm.entry("cfg", "flags.json").content_type
            'v1'
            'application/json'
        """
        if not isinstance(body, bytes):
            raise TypeError(f"the body of {uri} must be bytes, not {type(body).__name__}")
        return self._write(uri, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def _write(self, uri: str, body: bytes, headers: Mapping[str, str]) -> str:
        where = locate(uri)
        versions = self._objects.setdefault((where.bucket, where.key), [])
        version = f"v{len(versions) + 1}"
        described = {
            "etag": f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"',
            "content-length": str(len(body)),
            "content-type": "binary/octet-stream",
            "last-modified": formatdate(self.now, usegmt=True),
            **headers,
        }
        versions.append(_Version(version, body, described))
        return version

    def advance(self, seconds: float) -> None:
        """Let so many `seconds` pass (or, with a negative number, set the clock back); nothing waits.

        Example:
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/flags.json": b"{}"}, ttl=60) as s3:
            ...     body = s3warm.get("cfg", "flags.json")
            ...     s3.advance(61)
            ...     s3warm.explain("cfg", "flags.json").fresh
            False
        """
        self.now += seconds

    def clock(self) -> float:
        """The cache's clock."""
        return self.now

    def get(self, request: Request) -> FakeAnswer:
        """See `Requests.get`."""
        if self.before_answer is not None:
            self.before_answer(request)
        if self.down:
            raise TransportError("the fake S3 is down")
        answer = self._answer(request)
        where = request.object
        uri = f"s3://{where.bucket}/{where.key}"
        noted = FakeRequest(uri, request.if_none_match, answer.status, len(answer.body), where.version_id, request.span)
        self.requests.append(noted)
        return answer

    def list(self, bucket: str, prefix: str, token: str, deadline: float | None = None, delimiter: str = "") -> FakePage:
        """See `Requests.list`."""
        if self.down:
            raise TransportError("the fake S3 is down")
        uri = f"s3://{bucket}/{prefix}"
        if uri in self.denied:
            self.requests.append(FakeRequest(uri, None, 403, 0))
            return FakePage(403, "AccessDenied", [], [], "")
        keys = (key for place, key in self._objects if place == bucket and key.startswith(prefix))
        found = sorted(each for each in {_rolled_up(key, prefix, delimiter) for key in keys} if each[0] > token)
        page = found[:_PAGE]
        listed = [_listed(name, self._objects[bucket, name][-1]) for name, is_prefix in page if not is_prefix]
        prefixes = [name for name, is_prefix in page if is_prefix]
        self.requests.append(FakeRequest(uri, None, 200, 0))
        return FakePage(200, "", listed, prefixes, page[-1][0] if len(found) > _PAGE else "")

    def write(self, upload: Upload) -> FakeAnswer:
        """See `Requests.write`."""
        if self.down:
            raise TransportError("the fake S3 is down")
        where = upload.object
        uri = f"s3://{where.bucket}/{where.key}"
        answer = FakeAnswer(403, {}, b"", "AccessDenied")
        if uri not in self.denied:
            self._write(uri, upload.body, dict(upload.headers()))
            answer = FakeAnswer(200, {"etag": self._objects[where.bucket, where.key][-1].headers["etag"]}, b"", "")
        self.requests.append(FakeRequest(uri, None, answer.status, len(upload.body), method="PUT"))
        return answer

    def refresh_credentials(self) -> bool:
        """See `Requests.refresh_credentials`."""
        return False

    def renew(self) -> None:
        """See `Requests.renew`."""

    def close(self) -> None:
        """See `Requests.close`."""

    def _answer(self, request: Request) -> FakeAnswer:
        where = request.object
        if f"s3://{where.bucket}/{where.key}" in self.denied:
            return FakeAnswer(403, {}, b"", "AccessDenied")
        version = self._find(where)
        if version is None:
            return FakeAnswer(404, {}, b"", "NoSuchVersion" if where.version_id else "NoSuchKey")
        if request.if_none_match and request.if_none_match == version.headers["etag"]:
            return FakeAnswer(304, {}, b"", "304")
        if request.if_match and request.if_match != version.headers["etag"]:
            return FakeAnswer(412, {}, b"", "PreconditionFailed")
        headers = dict(version.headers)
        if where.version_id:
            headers["x-amz-version-id"] = version.id
        if request.span is None:
            return FakeAnswer(200, headers, version.body, "")
        first, last = request.span
        if first >= len(version.body):
            return FakeAnswer(416, {}, b"", "InvalidRange")
        last = min(last, len(version.body) - 1)
        body = version.body[first : last + 1]
        headers |= {"content-length": str(len(body)), "content-range": f"bytes {first}-{last}/{len(version.body)}"}
        return FakeAnswer(206, headers, body, "")

    def _find(self, where: ObjectKey) -> _Version | None:
        versions = self._objects.get((where.bucket, where.key), [])
        if where.version_id and where.version_id != "null":
            return next((version for version in versions if version.id == where.version_id), None)
        return versions[-1] if versions else None


class _Version(NamedTuple):
    id: str
    body: bytes
    headers: dict[str, str]


def _rolled_up(key: str, prefix: str, delimiter: str) -> tuple[str, bool]:
    """The key, or, where a delimiter follows the prefix, the common prefix that is listed in its place; and which of the two."""
    end = key.find(delimiter, len(prefix)) if delimiter else -1
    return (key, False) if end < 0 else (key[: end + len(delimiter)], True)


def _listed(key: str, version: _Version) -> Listed:
    return Listed(key, version.headers["etag"], len(version.body), timestamp(version.headers.get("last-modified")))


class _Known(LearntCost):
    """The cost of what no network is asked for: as in production, on any machine."""

    __slots__ = ()

    def note(self, size: int, seconds: float) -> None:
        """Learns nothing."""


class _Solitary(Alone):
    """A fleet of one, whatever server the handler names: everywhere is here."""

    def tell(self, where: ObjectKey) -> None:
        """There is nobody to tell."""


class FakeCache(Cache):
    """The real cache over a `FakeS3`, for tests of several caches over one S3: two environments, or one before and after a crash.

    It has the fake's clock. Unless they are given, it has a namespace and a temporary directory to itself, and no jitter. Takes what
    `Cache` takes.

    Args:
        s3: the `FakeS3` to read from.

    Raises:
        ConfigurationError: a setting cannot be understood, or there is no such setting.
        TypeError: `settings` or `on_event` is something else.

    Example:
        >>> s3 = FakeS3({"s3://cfg/flags.json": b"{}"})
        >>> with FakeCache(s3) as one, FakeCache(s3) as another:
        ...     bodies = one.get("cfg", "flags.json"), another.get("cfg", "flags.json")
        ...     len(s3.requests)
        2
    """

    def __init__(
        self,
        s3: FakeS3,
        settings: Settings | None = None,
        *,
        on_event: Callable[[Event], None] | None = None,
        **options: Unpack[Options],
    ) -> None:
        self._s3 = s3
        self._unchanged = Unchanged()
        if settings is None:
            options = {"ttl_jitter": 0.0, **options}
        super().__init__(settings, clock=s3.clock, on_event=on_event, **options)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        if error is None:
            self.check_values()

    def check_values(self) -> None:
        """See that values which were decoded are as they were made; a `with` block does it at its end.

        Raises:
            AssertionError: one was changed, so that the next call would get it changed.

        Example:
            >>> with FakeCache(FakeS3({"s3://cfg/flags.json": b"[1]"})) as cache:
            ...     flags = cache.get("cfg", "flags.json", transform="json")
            ...     flags = [*flags, 2]  # not flags.append(2)
            ...     cache.check_values()
        """
        self._unchanged.check()

    def _made(self, where: ObjectKey, made_by: str, value: object) -> None:
        self._unchanged.note(where, made_by, value)

    def _supplier(self, client: Any, settings: Settings) -> FakeS3:
        return self._s3

    def _learnt(self, prior: Cost) -> LearntCost:
        return _Known(prior)

    def _place(self, settings: Settings) -> tuple[str, bool]:
        return (temporary_directory(), True) if settings.directory is None else (settings.directory, False)

    def _fleet(self, settings: Settings, **_others: Any) -> Callable[[Revalidation], Beyond]:
        return _Solitary

    def _namespace(self, settings: Settings, client: Any) -> str:
        return settings.namespace or f"fake {os.urandom(16).hex()}"


@contextlib.contextmanager
def fake_s3(
    objects: Mapping[str, bytes] | None = None,
    settings: Settings | None = None,
    *,
    on_event: Callable[[Event], None] | None = None,
    **options: Unpack[Options],
) -> Iterator[FakeS3]:
    """Inside the block `s3warm.get` and its like use a fresh cache over the given `objects` (`{uri: body}`). Takes what `Cache` takes.

    The TTL has no jitter unless `ttl_jitter` is given, so that `advance` is exact. A handler module that calls `s3warm.configure` in the
    block gets a cache with those settings, over the fake all the same. A value (`transform`, `loader`) that was changed since it was decoded
    fails the test at the end of the block, as the next invocation would get it changed. The pytest fixture of the same name is an empty one:
    `def test_handler(fake_s3): fake_s3["s3://cfg/flags.json"] = b"{}"`.

    Raises:
        ConfigurationError: a setting cannot be understood, or there is no such setting.
        TypeError: a body is not bytes; `settings` or `on_event` is something else.
        ValueError: a URI cannot name an object.

    Example:
        >>> import s3warm
        >>> with fake_s3({"s3://cfg/flags.json": b"{}"}, stale_if_error=600) as s3:
        ...     body = s3warm.get("cfg", "flags.json")
        ...     s3.down = True
        ...     s3.advance(301)
        ...     s3warm.entry("cfg", "flags.json").stale
        True
    """
    s3 = FakeS3(objects)
    caches: list[FakeCache] = []

    def make(
        settings: Settings | None = settings,
        *,
        client: Any = None,  # noqa: ARG001  # whatever the handler configures, its requests go to the fake
        shared_client: Any = None,  # noqa: ARG001
        clock: Any = None,  # noqa: ARG001  # and time is the test's
        on_event: Callable[[Event], None] | None = on_event,
        **options: Unpack[Options],
    ) -> FakeCache:
        caches.append(FakeCache(s3, settings, on_event=on_event, **options))
        return caches[-1]

    with making(make, make(settings, **options)):
        yield s3
    for cache in caches:
        cache.check_values()
