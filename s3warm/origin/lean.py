"""Requests without boto3, for the common case in Lambda: a plain bucket, credentials and region from the environment (see `suits`).

boto3's import, its service model and its client are what costs in a cold start; figures are in the README's design notes ("Requests").
"""

from __future__ import annotations

import os

from s3warm.origin.answers import error_code, listing
from s3warm.origin.base import KEPT, TransportError
from s3warm.origin.connections import AGENT, Connections
from s3warm.origin.credentials import CredentialSource
from s3warm.origin.places import place_of, region_of, suits
from s3warm.origin.sigv4 import EMPTY, Signer, query_of, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3warm.origin.base import Listed, Request, Upload
    from s3warm.origin.connections import Answer
    from s3warm.origin.places import Place, Url

    Headers = list[tuple[str, str]]

__all__ = ["LeanRequests", "suits"]

_LONGEST_ERROR = 64 * 1024  # bytes
_LONGEST_PAGE = 16 * 2**20  # 1,000 keys of 1,024 bytes, each encoded threefold, with what else is said of them
_MODE = ("x-amz-checksum-mode", "ENABLED")


class LeanRequests:
    """Supplier of requests over sockets of its own; `checksums` are asked for unless the environment forbids it, as boto3 has it.

    Region, endpoint and credentials are those of the environment. Whether a bucket is one that this supplier can serve, `suits` tells.
    """

    retries = False
    connections = KEPT

    def __init__(self, environ: Mapping[str, str] = os.environ, *, checksums: bool = False) -> None:
        self._environ = environ
        self._checksums = checksums or environ.get("AWS_RESPONSE_CHECKSUM_VALIDATION", "").lower() != "when_required"
        self._connections = Connections()
        self._credentials = CredentialSource(environ, self._ask_for_credentials)
        self._places: dict[str, tuple[Place, Signer]] = {}

    def get(self, request: Request) -> Answer:
        """See `Requests.get`."""
        wanted = request.object
        headers: Headers = [] if wanted.request is None else wanted.request.headers()
        if request.if_match:
            headers.append(("if-match", _value(request.if_match)))
        if request.if_none_match:
            headers.append(("if-none-match", _value(request.if_none_match)))
        if request.span is not None:
            headers.append(("range", f"bytes={request.span[0]}-{request.span[1]}"))
        elif self._checksums:  # a range has no checksum
            headers.append(_MODE)
        query = f"versionId={quoted(wanted.version_id)}" if wanted.version_id else ""
        answer = self._send(wanted.bucket, f"/{quoted(wanted.key, path=True)}", query, headers, request.deadline)
        if answer.status >= 300 and answer.status != 304:
            _explain(answer)
        return answer

    def list(self, bucket: str, prefix: str, token: str, deadline: float | None = None, delimiter: str = "") -> LeanPage:
        """See `Requests.list`."""
        asked = [("list-type", "2"), ("encoding-type", "url"), ("prefix", prefix)]
        if delimiter:
            asked.append(("delimiter", delimiter))
        if token:
            asked.append(("continuation-token", token))
        answer = self._send(bucket, "", query_of(asked), [], deadline)
        if answer.status != 200:
            _explain(answer)
            return LeanPage(answer, [], [], "")
        try:
            body = answer.read(_LONGEST_PAGE)
            return LeanPage(answer, *listing(body))
        finally:
            answer.close()

    def write(self, upload: Upload) -> Answer:
        """See `Requests.write`. The signature covers the body, so that S3 refuses another one than was sent."""
        from hashlib import sha256

        wanted = upload.object
        headers: Headers = [] if wanted.request is None else wanted.request.headers()
        headers += [(name, _value(value)) for name, value in upload.headers()]
        headers.append(("content-length", str(len(upload.body))))
        body = upload.body, sha256(upload.body).hexdigest()
        answer = self._send(wanted.bucket, f"/{quoted(wanted.key, path=True)}", "", headers, upload.deadline, body=body)
        if answer.status == 200:
            answer.close()
        else:
            _explain(answer)
        return answer

    def refresh_credentials(self) -> bool:
        """See `Requests.refresh_credentials`."""
        self._credentials.refresh()
        return True

    def renew(self) -> None:
        """See `Requests.renew`."""
        self._connections.renew()
        self._credentials.renew()

    def close(self) -> None:
        """See `Requests.close`."""
        self._connections.close()

    def _send(
        self,
        bucket: str,
        path: str,
        query: str,
        headers: Headers,
        deadline: float | None,
        *,
        body: tuple[bytes, str] | None = None,
    ) -> Answer:
        """The answer to a GET, or to a PUT of a body with this SHA-256."""
        method, (sent, payload) = ("GET", (b"", EMPTY)) if body is None else ("PUT", body)
        place, signer = self._places.get(bucket) or self._found(bucket)
        path = f"{place.root}{path}" or "/"
        keys = self._credentials.current(deadline)
        signed = signer.headers(place.host, path, query, headers, keys, method=method, payload=payload)
        target = f"{path}?{query}" if query else path
        request = f"{method} {target} HTTP/1.1\r\n{signed}{AGENT}\r\n".encode("ascii")
        return self._connections.ask(place.scheme, place.address, place.port, request, deadline, body=sent)

    def _found(self, bucket: str) -> tuple[Place, Signer]:
        region = region_of(self._environ)
        if not region:
            raise TransportError("no region", advice="set AWS_REGION or AWS_DEFAULT_REGION", transient=False)
        try:
            place = place_of(self._environ, bucket)
        except ValueError as error:
            advice = "check AWS_ENDPOINT_URL_S3 and AWS_ENDPOINT_URL"
            raise TransportError(f"the endpoint's URL cannot be used: {error}", advice=advice, transient=False) from error
        self._places[bucket] = found = place, Signer(region)
        return found

    def _ask_for_credentials(self, url: Url, token: str, deadline: float | None) -> tuple[int, bytes]:
        from s3warm.origin.endpoint import ask_endpoint

        return ask_endpoint(self._connections, url, token, deadline)


class LeanPage:
    """One page of a listing; see `Page`."""

    def __init__(self, answer: Answer, objects: list[Listed], prefixes: list[str], token: str) -> None:
        self.status: int = answer.status
        self.headers: Mapping[str, str] = answer.headers
        self.code = answer.code
        self.cause: BaseException | None = None
        self.objects = objects
        self.prefixes = prefixes
        self.token = token


def _explain(answer: Answer) -> None:
    """Read the body of an error, which is for its code alone."""
    try:
        answer.code = error_code(answer.read(_LONGEST_ERROR))
    finally:
        answer.close()


def _value(header: str) -> str:
    """A header's value that cannot be taken for another header.

    Raises:
        ValueError: it can.
    """
    if not header.isprintable():
        raise ValueError(f"{header!r} cannot be sent in a header")
    return header
