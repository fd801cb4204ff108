"""Credentials as Lambda gives them: in the environment, or, after a restore by SnapStart, at the container credentials endpoint."""

from __future__ import annotations

import threading
import time

from s3warm.origin.base import Late, TransportError
from s3warm.origin.places import url_of
from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from s3warm.origin.places import Url

    Ask = Callable[[Url, str, float | None], tuple[int, bytes]]  # URL, token, deadline -> status, body

__all__ = ["CredentialSource", "Credentials"]

_MARGIN = 300.0  # seconds before they expire: new ones are fetched by one thread, the others go on with the old ones
_AGAIN = 30.0  # seconds until the endpoint is asked again after it has failed, while the old ones are still good
_PATIENCE = 4.0  # seconds for the endpoint, which is next door
_ADVICE = "in Lambda give the function a role; elsewhere set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
# Without TLS, loopback addresses aside: those of ECS and EKS
# (https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html).
_HOSTS = frozenset(("localhost", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"))


class Credentials(NamedTuple):
    """What requests are signed with; a token of "" is none. Nothing of it is ever printed."""

    access_key: str
    secret_key: str
    token: str = ""

    def __repr__(self) -> str:
        return "Credentials(***)"


class CredentialSource:
    """Where credentials come from: the environment, looked at each time as they may rotate, else the endpoint that it names."""

    def __init__(self, environ: Mapping[str, str], ask: Ask, *, clock: Callable[[], float] = time.time) -> None:
        self._environ = environ
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        # What the endpoint gave, until when it is good, and from when on it is to be replaced.
        self._held: tuple[Credentials, float, float] | None = None

    def current(self, deadline: float | None = None) -> Credentials:
        """The credentials for a request.

        Raises:
            TransportError: there are none, with `credentials`.
            Late: the endpoint has not given any before the deadline.
        """
        key = self._environ.get("AWS_ACCESS_KEY_ID")
        if not key:
            return self._of_container(deadline)
        secret = self._environ.get("AWS_SECRET_ACCESS_KEY")
        if not secret:
            raise _none("AWS_SECRET_ACCESS_KEY is missing")
        token = self._environ.get("AWS_SESSION_TOKEN") or ""
        if not _fits(key) or not _fits(token):
            raise _none("AWS_ACCESS_KEY_ID or AWS_SESSION_TOKEN has characters that no header may have")
        return Credentials(key, secret, token)

    def refresh(self) -> None:
        """Replace what is held at its next use."""
        held = self._held
        if held is not None:
            self._held = (held[0], held[1], 0.0)

    def renew(self) -> None:
        """This is a forked child: replace locks."""
        self._lock = threading.Lock()

    def _of_container(self, deadline: float | None) -> Credentials:
        held, now = self._held, self._clock()
        if held is not None and now < held[2]:
            return held[0]
        good = held is not None and now < held[1]
        # One thread fetches; the others wait for it only if they have nothing that is still good.
        if good and held is not None and held[2]:
            if not self._lock.acquire(blocking=False):
                return held[0]
        elif not self._lock.acquire(timeout=-1 if deadline is None else max(0.0, deadline - time.monotonic())):
            raise Late("no credentials in the time that was left")
        try:
            held, now = self._held, self._clock()
            if held is not None and now < held[2]:
                return held[0]  # another thread has been there
            try:
                self._held = held = self._fetched(now, deadline)
            except TransportError:
                if held is None or now >= held[1]:
                    raise
                self._held = held = (held[0], held[1], min(held[1], now + _AGAIN))
            return held[0]
        finally:
            self._lock.release()

    def _fetched(self, now: float, deadline: float | None) -> tuple[Credentials, float, float]:
        place = self._environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        if not place:
            raise _none("there are none in the environment")
        try:
            url = url_of(place)
        except ValueError as error:
            raise _none(f"AWS_CONTAINER_CREDENTIALS_FULL_URI cannot be used: {error}") from error
        if url.scheme != "https" and not _may_be_asked(url.host):
            raise _none(f"AWS_CONTAINER_CREDENTIALS_FULL_URI names a host that credentials are not taken from: {url.host}")
        patience = time.monotonic() + _PATIENCE
        try:
            status, body = self._ask(url, self._token(), patience if deadline is None else min(deadline, patience))
        except Late as late:
            if deadline is not None and time.monotonic() >= deadline:
                raise
            raise _none(f"the endpoint did not answer: {late}") from late
        except TransportError as error:
            raise _none(f"the endpoint did not answer: {error}") from error
        if status != 200:
            raise _none(f"the endpoint answered {status}")
        return _parsed(body, now)

    def _token(self) -> str:
        """The header Authorization: from a file, which may be replaced at any time, or from the environment."""
        path = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        if path:
            token: str | None
            try:
                with open(path, encoding="ascii") as file:
                    token = file.read().rstrip("\r\n")
            except (OSError, UnicodeError):
                token = None
            if token is None:  # without the error: a decoding error holds what it could not decode
                raise _none("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE cannot be read")
        else:
            token = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN") or ""
        if not _fits(token):
            raise _none("the token for the endpoint has characters that no header may have")
        return token


def _parsed(body: bytes, now: float) -> tuple[Credentials, float, float]:
    """What the endpoint gave, until when it is good, and from when on it is to be replaced."""
    import json
    from datetime import UTC, datetime

    credentials: Credentials | None
    good = float("inf")
    try:
        said = json.loads(body)
        credentials = Credentials(str(said["AccessKeyId"]), str(said["SecretAccessKey"]), str(said.get("Token") or ""))
        expiration = said.get("Expiration")
        if expiration is not None:
            end = datetime.fromisoformat(expiration)
            good = (end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        credentials = None
    if credentials is None or not all(credentials[:2]) or not _fits(credentials.access_key) or not _fits(credentials.token):
        # Without the error: its message may quote the body.
        raise _none("the endpoint's answer cannot be read")
    if good == float("inf"):
        return credentials, good, good
    if good <= now:
        raise _none("the endpoint gave some that have expired")
    # Short-lived ones are used for half of their life at least.
    return credentials, good, max(good - _MARGIN, (now + good) / 2)


def _may_be_asked(host: str) -> bool:
    numbers = host.split(".")
    return host in _HOSTS or (numbers[0] == "127" and len(numbers) == 4 and all(number.isdigit() for number in numbers))


def _fits(text: str) -> bool:
    """Whether a header can carry it, and nothing of it is taken for another header."""
    return text.isascii() and text.isprintable()


def _none(why: str) -> TransportError:
    return TransportError(f"no credentials ({why})", advice=_ADVICE, transient=False, credentials=True)
