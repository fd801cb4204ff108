"""Requests through boto3: the user's own client, or one made at the first request. The only module that imports botocore."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time

from s3warm.origin.base import KEPT, Damaged, Late, Listed, Request, TransportError
from s3warm.origin.failures import UNREACHED
from s3warm.origin.mocked import is_mocked
from s3warm.rules.freshness import MOCKED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from threading import Timer
    from typing import Any

    from s3warm.origin.base import Upload

__all__ = ["BotoRequests", "memory_to_come"]

CONNECT_TIMEOUT = 2.0  # seconds
READ_TIMEOUT = 5.0  # seconds
BOTO3_MEMORY = 40 * 2**20  # bytes; measured: 44, with boto3 1.44 in a bare interpreter, some of which the runtime has loaded
_POOL = 10  # of a client that does not say; it warns of those that it drops (botocore's default)


def memory_to_come() -> int:
    """Bytes that boto3, its service model and a client will take, if they are not in memory yet."""
    return 0 if "boto3.session" in sys.modules else BOTO3_MEMORY


class BotoRequests:
    """Supplier of requests over a boto3 S3 client; `checksums` are asked for whatever the client is set up to do."""

    def __init__(self, client: Any = None, *, checksums: bool = False) -> None:
        self._checksums = checksums
        self.retries = client is not None  # a client that the user gave is used as it is: its retries rule
        self.connections = KEPT if client is None else _pool_of(client)
        self._given = client
        self._made: Any = None
        self._made_for: tuple[int, str | None] | None = None
        self._left_to_parent: Any = None
        self._lock = threading.Lock()

    def get(self, request: Request) -> BotoResponse:
        """See `Requests.get`."""
        import botocore.exceptions as failed
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError

        # A range has no checksum.
        mode = {"ChecksumMode": "ENABLED"} if self._checksums and request.span is None else {}
        try:
            answer = _sent(
                lambda: self._client().get_object(**_parameters(request), **mode),
                request.deadline,
                drop=lambda answer: answer["Body"].close(),
            )
            return BotoResponse(answer, answer["Body"], None, request.deadline)
        except failed.ClientError as error:
            return BotoResponse(error.response, None, error)
        except (failed.BotoCoreError, ResponseParserError, HTTPError) as error:  # urllib3's: while the body of an error is read
            raise _no_answer(error) from error
        except ValueError as error:
            unanswered, cause = _no_answer(error), _quotes_nothing(error)
        raise unanswered from cause  # without the error, which may quote what was received

    def list(self, bucket: str, prefix: str, token: str, deadline: float | None = None, delimiter: str = "") -> BotoPage:
        """See `Requests.list`."""
        import botocore.exceptions as failed
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError

        more = {name: value for name, value in (("ContinuationToken", token), ("Delimiter", delimiter)) if value}
        try:
            listed = _sent(lambda: self._client().list_objects_v2(Bucket=bucket, Prefix=prefix, **more), deadline)
            return BotoPage(listed, None)
        except failed.ClientError as error:
            return BotoPage(error.response, error)
        except (failed.BotoCoreError, ResponseParserError, HTTPError) as error:
            raise _no_answer(error) from error
        except KeyError:
            unanswered, cause = TransportError("this is no page of a listing"), None
        except ValueError as error:
            unanswered, cause = _no_answer(error), _quotes_nothing(error)
        raise unanswered from cause  # without the error, which may quote what is listed

    def write(self, upload: Upload) -> BotoResponse:
        """See `Requests.write`."""
        import botocore.exceptions as failed
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError

        try:
            answer = _sent(lambda: self._client().put_object(**_written(upload)), upload.deadline)
            return BotoResponse(answer, None, None)
        except failed.ClientError as error:
            return BotoResponse(error.response, None, error)
        except (failed.BotoCoreError, ResponseParserError, HTTPError) as error:
            raise _no_answer(error) from error
        except ValueError as error:
            unanswered, cause = _no_answer(error), _quotes_nothing(error)
        raise unanswered from cause

    def refresh_credentials(self) -> bool:
        """A new client of ours reads credentials anew; the user's client refreshes its own."""
        with self._lock:
            self._made = None
        return self._given is None

    def renew(self) -> None:
        """See `Requests.renew`."""
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the client's connections, if the client is ours."""
        with self._lock:
            client, self._made = self._made, None
        if client is not None:
            client.close()

    def _client(self) -> Any:
        if self._given is not None:
            return self._given
        with self._lock:
            # A forked child must not read from its parent's connections: answers would reach the wrong process. Test tools (moto
            # among them) work by changing the environment under a process that lives on.
            identity = os.getpid(), os.environ.get("AWS_ACCESS_KEY_ID")
            if self._made is None or self._made_for != identity:
                self._left_to_parent = self._made  # never closed here: the sockets are the parent's
                self._made, self._made_for = _new_client(), identity
            return self._made


def _pool_of(client: Any) -> int:
    """How many connections a client keeps."""
    pool = getattr(getattr(getattr(client, "meta", None), "config", None), "max_pool_connections", None)
    return pool if isinstance(pool, int) and pool > 0 else _POOL


def _sent(send: Callable[[], Any], deadline: float | None, drop: Callable[[Any], object] = lambda _: None) -> Any:
    """What a call of the client brings, before the deadline."""
    if deadline is None:
        return send()
    from s3warm.origin.intime import in_time

    return in_time(send, deadline, drop)


def _no_answer(error: Exception) -> TransportError:
    """What kept a request from being answered, and what can be done about it."""
    import botocore.exceptions as failed
    from urllib3.exceptions import ReadTimeoutError

    said = _said(error)
    if isinstance(error, (failed.NoCredentialsError, failed.PartialCredentialsError, failed.CredentialRetrievalError)):
        advice = "in Lambda give the function a role; elsewhere set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE"
        return TransportError(f"no credentials ({said})", advice=advice, transient=False, credentials=True)
    if isinstance(error, failed.NoRegionError):
        return TransportError("no region", advice="set AWS_REGION or AWS_DEFAULT_REGION", transient=False)
    if isinstance(error, failed.ParamValidationError):
        return TransportError(said, transient=False, outage=False)
    # Repeating a request that timed out would keep the handler waiting for as long once more.
    if isinstance(error, (failed.ReadTimeoutError, ReadTimeoutError)):
        return TransportError(f"no answer in time ({said})", transient=False)
    if isinstance(error, failed.ConnectTimeoutError):
        return TransportError(f"no connection in time ({said})", advice=UNREACHED, transient=False)
    if isinstance(error, (failed.ProfileNotFound, failed.InvalidEndpointConfigurationError, ValueError)):
        advice = "check AWS_PROFILE, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL and the region"
        return TransportError(f"no client can be made: {said}", advice=advice, transient=False)
    return TransportError(said)


def _quotes_nothing(error: Exception) -> Exception | None:
    """The error, if all that it says may be said, so that it may stand as a cause."""
    return error if _said(error) == str(error) else None


def _said(error: Exception) -> str:
    """What an error says, without what an answer or a URL has brought into it: a body, credentials, a signature."""
    import re

    from botocore.parsers import ResponseParserError

    if isinstance(error, ResponseParserError):
        return "the answer cannot be read"
    quoted = r"'[^']*'" if isinstance(error, ValueError) else r"\bb'[^']*'|\bb\"[^\"]*\""
    return re.sub(r"(?<=://)[^/\"']*@|\?[^\s\"']*", "", re.sub(quoted, "...", str(error)))


def _new_client() -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        max_pool_connections=KEPT,
        # One attempt: repeats are the fetch's own, which knows whether a stale copy could be served instead.
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    # A session of its own: boto3's default session is not made for threads.
    return boto3.session.Session().client("s3", config=config)


def _parameters(request: Request) -> dict[str, str | bytes]:
    """The request in boto3's words."""
    parameters: dict[str, str | bytes] = {"Bucket": request.object.bucket, "Key": request.object.key}
    if request.object.request is not None:
        parameters |= request.object.request.parameters()
    if request.object.version_id:
        parameters["VersionId"] = request.object.version_id
    if request.if_none_match:
        parameters["IfNoneMatch"] = request.if_none_match
    if request.if_match:
        parameters["IfMatch"] = request.if_match
    if request.span is not None:
        parameters["Range"] = f"bytes={request.span[0]}-{request.span[1]}"
    return parameters


def _written(upload: Upload) -> dict[str, Any]:
    """The upload in boto3's words."""
    named = {
        "CacheControl": upload.cache_control,
        "ContentEncoding": upload.content_encoding,
        "ContentType": upload.content_type,
        "Metadata": dict(upload.user) or None,
    }
    given = {name: value for name, value in named.items() if value is not None}
    return {**_parameters(Request(upload.object)), "Body": upload.body, **given}


class BotoPage:
    """One page of a listing; see `Page`."""

    def __init__(self, answer: Any, cause: BaseException | None) -> None:
        described = answer.get("ResponseMetadata", {})
        self.status: int = described.get("HTTPStatusCode", 0)
        self.headers: Mapping[str, str] = described.get("HTTPHeaders", {})
        self.code = "" if cause is None else _code(answer)
        self.cause = cause
        self.objects = [_listed(found) for found in answer.get("Contents", ())]
        self.prefixes: list[str] = [found["Prefix"] for found in answer.get("CommonPrefixes", ())]
        self.token: str = answer.get("NextContinuationToken", "")


def _listed(found: Any) -> Listed:
    """An object of a listing in boto3's words."""
    modified = found.get("LastModified")
    return Listed(found["Key"], found["ETag"], found["Size"], None if modified is None else modified.timestamp())


class BotoResponse:
    """One answer, its body read from botocore's stream."""

    def __init__(self, answer: Any, body: Any, cause: BaseException | None, deadline: float | None = None) -> None:
        self.deadline = deadline
        self._timer: Timer | None = None
        self._timed: float | None = None  # the deadline of the timer
        described = answer.get("ResponseMetadata", {})
        self.status: int = described.get("HTTPStatusCode", 0)
        self.headers: Mapping[str, str] = described.get("HTTPHeaders", {})
        self.code: str = "" if body is not None else _code(answer)
        self.cause = cause
        self._body = body
        declared = self.headers.get("content-length", "")
        self._left = int(declared) if declared.isdigit() else None
        if is_mocked():
            self.headers = {**self.headers, "cache-control": MOCKED}

    def readinto(self, buffer: memoryview) -> int:
        """See `Response.readinto`."""
        import botocore.exceptions as failed
        from urllib3.exceptions import HTTPError

        if self.deadline != self._timed:
            self._mind(self.deadline)
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise Late("there was no time left for the rest of the body")
        try:
            count = 0 if self._body is None else int(self._body.readinto(buffer))
        except failed.FlexibleChecksumError as error:
            raise Damaged(_said(error)) from error
        except (failed.BotoCoreError, HTTPError, OSError) as error:
            raise TransportError(f"the body broke off ({_said(error)})") from error
        if self._left is not None:
            self._left -= count
        if self._left == 0:
            self._mind(None)  # the connection is another request's from now on
        elif not count and self._body is not None and self.deadline is not None and time.monotonic() >= self.deadline:
            raise Late("there was no time left for the rest of the body")  # it is the timer that has ended it
        return count

    def close(self) -> None:
        """See `Response.close`."""
        self._mind(None)
        if self._body is not None:
            self._body.close()

    def _mind(self, deadline: float | None) -> None:
        """Let no read last longer than to the deadline, and than to none that was before."""
        self._timed = deadline
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline is not None and self._body is not None:
            from s3warm.origin.intime import shut_at

            with contextlib.suppress(AttributeError):  # a stub's body has no socket
                self._timer = shut_at(deadline, self._body._raw_stream._fp.fp.raw._sock)  # noqa: SLF001  # as botocore has it


def _code(answer: Any) -> str:
    """S3's error code. An error without a body makes botocore put the status in its place."""
    code = str(answer.get("Error", {}).get("Code", ""))
    return "" if code.isdigit() else code
