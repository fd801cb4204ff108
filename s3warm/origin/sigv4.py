"""AWS Signature Version 4 for requests to S3, by headers, and for requests that are handed on, by their query.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html: for S3 a path is encoded once and never normalised, so
that keys like `a/../b` and `//lead` are what they are. tests/unit/test_sigv4.py holds it to AWS's test suite and to botocore's signatures.
"""

from __future__ import annotations

import time
from hashlib import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Protocol

    class Keys(Protocol):
        """What is signed with; a token of "" is none."""

        @property
        def access_key(self) -> str: ...
        @property
        def secret_key(self) -> str: ...
        @property
        def token(self) -> str: ...


__all__ = ["EMPTY", "Signer", "query_of", "quoted"]

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of no bytes: the body of a GET

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"  # RFC 3986, section 2.3
_QUOTED = [chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in range(256)]
_QUOTED_PATH = [*_QUOTED]
_QUOTED_PATH[ord("/")] = "/"
_PLAIN_PATH = _UNRESERVED + b"/"


def quoted(text: str, *, path: bool = False) -> str:
    """The text percent-encoded, each byte of its UTF-8 that is not unreserved; of a path the slashes stay.

    Raises:
        ValueError: a lone surrogate, which has no UTF-8.

    Example:
        >>> quoted("a/../b c+~%é", path=True)
        'a/../b%20c%2B~%25%C3%A9'
    """
    data = text.encode()
    if not data.translate(None, _PLAIN_PATH if path else _UNRESERVED):
        return text
    return "".join(map((_QUOTED_PATH if path else _QUOTED).__getitem__, data))


def query_of(parameters: Iterable[tuple[str, str]]) -> str:
    """The canonical query string, which is sent as it is signed: names and values encoded, then sorted.

    Example:
        >>> query_of([("prefix", "a b/"), ("list-type", "2")])
        'list-type=2&prefix=a%20b%2F'
    """
    return "&".join(f"{name}={value}" for name, value in sorted((quoted(name), quoted(value)) for name, value in parameters))


class Signer:
    """Signs requests. The key of a day is kept, as it costs four of the five HMACs."""

    def __init__(self, region: str, service: str = "s3", *, clock: Callable[[], float] = time.time) -> None:
        self._region = region
        self._service = service
        self._clock = clock
        self._stamp: tuple[int, str] = (-1, "")  # a second, and how AWS writes it
        # Day and secret, and the two halves of the HMAC with their key.
        self._key: tuple[str, str, Any, Any] = ("", "", None, None)

    def headers(
        self,
        host: str,
        path: str,
        query: str,
        extra: Iterable[tuple[str, str]],
        keys: Keys,
        *,
        method: str = "GET",
        payload: str = EMPTY,
    ) -> str:
        """All header lines of a request to S3, each with its end.

        Args:
            host: name, and port if it is not the scheme's own.
            path: encoded, with its leading slash.
            query: canonical, without its question mark.
            extra: further headers, names in lower case; all are signed.
            keys: the credentials.
            method: such as `"PUT"`.
            payload: SHA-256 of the body, in hexadecimal.
        """
        stamp = self.stamp()
        headers = [("host", host), *extra, ("x-amz-content-sha256", payload), ("x-amz-date", stamp)]
        if keys.token:
            headers.append(("x-amz-security-token", keys.token))
        headers.sort()
        authorization = self.authorization(keys, stamp, path, query, headers, method=method, payload=payload)
        return "".join([f"{name}: {value}\r\n" for name, value in headers]) + f"authorization: {authorization}\r\n"

    def stamp(self) -> str:
        """The time, to the second: `20150830T123600Z`."""
        now = int(self._clock())
        second, stamp = self._stamp
        if second != now:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
            self._stamp = now, stamp
        return stamp

    def authorization(
        self,
        keys: Keys,
        stamp: str,
        path: str,
        query: str,
        headers: Sequence[tuple[str, str]],
        *,
        method: str = "GET",
        payload: str = EMPTY,
    ) -> str:
        """The value of the header Authorization, for headers that are sorted by their names, which are in lower case."""
        names = ";".join([name for name, _ in headers])
        lines = "".join([f"{name}:{' '.join(value.split())}\n" for name, value in headers])
        scope = self._scope(stamp)
        signature = self._signature(keys, stamp, f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}")
        return f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"

    def presigned(self, host: str, path: str, parameters: Iterable[tuple[str, str]], keys: Keys, *, expires: int) -> str:
        """The query of a GET without a body that whoever has it can send, for `expires` seconds.

        https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html, but that the body counts as the empty one.

        Args:
            host: the header, the only one that is signed.
            path: encoded, with its leading slash.
            parameters: further ones, neither encoded nor sorted.
            keys: the credentials.
            expires: seconds.
        """
        stamp = self.stamp()
        signing = [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", f"{keys.access_key}/{self._scope(stamp)}"),
            ("X-Amz-Date", stamp),
            ("X-Amz-Expires", str(expires)),
            ("X-Amz-SignedHeaders", "host"),
        ]
        if keys.token:
            signing.append(("X-Amz-Security-Token", keys.token))
        query = query_of([*parameters, *signing])
        signature = self._signature(keys, stamp, f"GET\n{path}\n{query}\nhost:{host}\n\nhost\n{EMPTY}")
        return f"{query}&X-Amz-Signature={signature}"

    def _scope(self, stamp: str) -> str:
        return f"{stamp[:8]}/{self._region}/{self._service}/aws4_request"

    def _signature(self, keys: Keys, stamp: str, request: str) -> str:
        """In hexadecimal, of a canonical request."""
        day = stamp[:8]
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{self._scope(stamp)}\n{sha256(request.encode()).hexdigest()}"
        of_day, of_secret, inner, outer = self._key
        if of_day != day or of_secret != keys.secret_key:
            inner, outer = _hmac(self._signing_key(keys.secret_key, day))
            self._key = day, keys.secret_key, inner, outer
        return _digest(inner, outer, to_sign).hex()

    def _signing_key(self, secret: str, day: str) -> bytes:
        key = f"AWS4{secret}".encode()
        for part in (day, self._region, self._service, "aws4_request"):
            key = _digest(*_hmac(key), part)
        return key


def _hmac(key: bytes) -> tuple[Any, Any]:
    """Both halves of an HMAC with this key (RFC 2104); a copy of them costs 1 µs, `hmac.digest` 2.5 and the import of hmac 0.8 ms."""
    if len(key) > 64:
        key = sha256(key).digest()
    key = key.ljust(64, b"\0")
    return sha256(bytes([byte ^ 0x36 for byte in key])), sha256(bytes([byte ^ 0x5C for byte in key]))


def _digest(inner: Any, outer: Any, text: str) -> bytes:
    inner, outer = inner.copy(), outer.copy()
    inner.update(text.encode())
    outer.update(inner.digest())
    digest: bytes = outer.digest()
    return digest
