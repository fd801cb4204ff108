"""Credentials from the environment and from the container's endpoint, and when they are replaced."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from s3warm.origin import credentials
from s3warm.origin.base import Late, TransportError
from s3warm.origin.credentials import Credentials, CredentialSource
from s3warm.origin.places import Url
from tests.support.supplier import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = ("the-secret-key", "the-session-token", "the-bearer")
FULL_URI = "http://169.254.170.23/v1/credentials?a=b"
SNAPSTART = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": FULL_URI, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "the-bearer"}


class Endpoint:
    """The container's endpoint, and the clock: each answer has another access key, and is good for an hour."""

    def __init__(self, life: float = 3600.0) -> None:
        self.now = 1_800_000_000.0
        self.life = life
        self.asked: list[tuple[Url, str, float | None]] = []
        self.answers: list[Any] = []  # in the place of its own: exceptions are raised, others returned

    def clock(self) -> float:
        return self.now

    def ask(self, url: Url, token: str, deadline: float | None) -> tuple[int, bytes]:
        self.asked.append((url, token, deadline))
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, BaseException):
                raise answer
            given: tuple[int, bytes] = answer
            return given
        return 200, self.body(f"KEY{len(self.asked)}")

    def body(self, key: str, **more: Any) -> bytes:
        end = datetime.fromtimestamp(self.now + self.life, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        said = {"AccessKeyId": key, "SecretAccessKey": SECRETS[0], "Token": SECRETS[1], "Expiration": end, **more}
        return json.dumps({name: value for name, value in said.items() if value is not None}).encode()

    def source(self, environ: dict[str, str] = SNAPSTART) -> CredentialSource:
        return CredentialSource(environ, self.ask, clock=self.clock)


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


def no_secrets(error: BaseException) -> bool:
    """Whether neither the error nor what it comes from gives anything away."""
    seen: BaseException | None = error
    while seen is not None:
        if any(secret in repr(seen) or secret in str(seen) for secret in SECRETS):
            return False
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return True


# -- the environment -------------------------------------------------------------------------------------------------------------


def test_the_environment_is_looked_at_each_time(endpoint: Endpoint) -> None:
    environ = {**SNAPSTART, "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s"}
    source = endpoint.source(environ)
    assert source.current() == Credentials("A", "s", "")
    environ.update(AWS_ACCESS_KEY_ID="B", AWS_SECRET_ACCESS_KEY="t", AWS_SESSION_TOKEN="u")
    assert source.current() == Credentials("B", "t", "u")
    assert endpoint.asked == []


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({}, "there are none in the environment"),
        ({"AWS_ACCESS_KEY_ID": ""}, "there are none in the environment"),
        ({"AWS_SECRET_ACCESS_KEY": "the-secret-key"}, "there are none in the environment"),
        ({"AWS_ACCESS_KEY_ID": "A"}, "AWS_SECRET_ACCESS_KEY is missing"),
        ({"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY is missing"),
    ],
)
def test_without_credentials(endpoint: Endpoint, environ: dict[str, str], why: str) -> None:
    with pytest.raises(TransportError, match=why) as caught:
        endpoint.source(environ).current()
    error = caught.value
    assert (error.credentials, error.transient, error.outage) == (True, False, True)
    assert "give the function a role" in error.advice
    assert no_secrets(error)


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize("odd", ["the-session-token\n", "é", "the-session-token\r\nx: y"])
def test_what_no_header_may_have_is_not_sent(endpoint: Endpoint, name: str, odd: str) -> None:
    with pytest.raises(TransportError, match="characters that no header may have") as caught:
        endpoint.source({"AWS_ACCESS_KEY_ID": "KEY", "AWS_SECRET_ACCESS_KEY": "the-secret-key", name: odd}).current()
    assert caught.value.credentials
    assert no_secrets(caught.value)


def test_nothing_of_them_is_printed() -> None:
    shown = Credentials("AKIA", SECRETS[0], SECRETS[1])
    assert repr(shown) == str(shown) == f"{shown}" == f"{shown!r}" == "Credentials(***)"


# -- the endpoint ----------------------------------------------------------------------------------------------------------------


def test_the_endpoint_is_asked_once(endpoint: Endpoint) -> None:
    source = endpoint.source()
    assert [source.current() for _ in range(3)] == [Credentials("KEY1", SECRETS[0], SECRETS[1])] * 3
    assert [asked[:2] for asked in endpoint.asked] == [(Url("http", "169.254.170.23", 80, "/v1/credentials?a=b"), "the-bearer")]


def test_a_token_in_a_file_is_read_each_time(endpoint: Endpoint, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    source = endpoint.source({**SNAPSTART, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file)})
    source.current()
    file.write_text("second")
    source.refresh()
    source.current()
    assert [token for _, token, _ in endpoint.asked] == ["first", "second"]


@pytest.mark.parametrize("content", [None, b"the-bearer\xff", b"the-bearer\r\nx: y"])
def test_a_token_that_cannot_be_sent(endpoint: Endpoint, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    source = endpoint.source({**SNAPSTART, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file)})
    with pytest.raises(TransportError, match=r"token|TOKEN") as caught:
        source.current()
    assert caught.value.credentials
    assert no_secrets(caught.value)
    assert endpoint.asked == []


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://169.254.170.2/", True),
        ("http://169.254.170.23/", True),
        ("http://[fd00:ec2::23]/", True),
        ("http://localhost:9001/", True),
        ("http://127.0.0.1:9001/x", True),
        ("http://127.1.2.3/", True),
        ("http://[::1]:80/", True),
        ("https://anything.example/", True),
        ("http://anything.example/", False),
        ("http://127.evil.example/", False),
        ("http://127.0.0.1.evil.example/", False),
        ("http://169.254.169.254/", False),
        ("http://169.254.170.2.example/", False),
        ("http://user@127.0.0.1/", False),
        ("http://127.0.0.1#@evil.example/", False),
        ("http://evil.example?@127.0.0.1/", False),
        ("ftp://127.0.0.1/", False),
        ("http://", False),
        ("http://127.0.0.1:0/", False),
        ("http://127.0.0.1:99999/", False),
        ("http://127.0.0.1/\r\nx: y", False),
    ],
)
def test_whom_credentials_are_taken_from(endpoint: Endpoint, url: str, allowed: bool) -> None:
    source = endpoint.source({**SNAPSTART, "AWS_CONTAINER_CREDENTIALS_FULL_URI": url})
    if allowed:
        assert source.current().access_key == "KEY1"
        return
    with pytest.raises(TransportError, match="AWS_CONTAINER_CREDENTIALS_FULL_URI") as caught:
        source.current()
    assert caught.value.credentials
    assert endpoint.asked == []


def test_the_hosts_that_botocore_allows_are_those_that_are_allowed_here() -> None:
    from botocore.utils import ContainerMetadataFetcher

    theirs: Any = ContainerMetadataFetcher
    assert {*theirs._ALLOWED_HOSTS, "::1"} == credentials._HOSTS


def test_the_endpoint_has_no_more_time_than_there_is(endpoint: Endpoint) -> None:
    source, soon = endpoint.source(), time.monotonic() + 1
    source.current(soon)
    source.refresh()
    before = time.monotonic()
    source.current(before + 3600)
    (_, _, first), (_, _, second) = endpoint.asked
    assert first == soon
    assert second is not None
    assert before < second <= time.monotonic() + credentials._PATIENCE


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"the-secret-key"),
        (200, b"the-secret-key"),
        (200, b'{"SecretAccessKey": "the-secret-key"'),
        (200, b'["the-secret-key"]'),
        (200, b"\xff"),
        pytest.param((200, b"[" * 60_000), id="nested"),
        (200, b'{"AccessKeyId": "A\\r\\nx: y", "SecretAccessKey": "the-secret-key"}'),
        (200, b'{"AccessKeyId": "A", "SecretAccessKey": "the-secret-key", "Token": "\\u00e9"}'),
        (200, b'{"AccessKeyId": "A"}'),
        (200, b'{"AccessKeyId": "", "SecretAccessKey": "the-secret-key"}'),
        (200, b'{"AccessKeyId": "A", "SecretAccessKey": "the-secret-key", "Expiration": "the-secret-key"}'),
        (200, b'{"AccessKeyId": "A", "SecretAccessKey": "the-secret-key", "Expiration": 5}'),
        (200, b'{"AccessKeyId": "A", "SecretAccessKey": "the-secret-key", "Expiration": "2001-01-01T00:00:00Z"}'),
        TransportError("refused"),
        Late(waited=4.0),
    ],
    ids=str,
)
def test_an_endpoint_that_gives_none(endpoint: Endpoint, answer: Any) -> None:
    source = endpoint.source()
    endpoint.answers = [answer]
    with pytest.raises(TransportError, match="no credentials") as caught:
        source.current()
    assert (caught.value.credentials, caught.value.transient) == (True, False)
    assert not isinstance(caught.value, Late)
    assert no_secrets(caught.value)
    assert source.current().access_key == "KEY2"


def test_the_deadline_is_the_requests(endpoint: Endpoint) -> None:
    endpoint.answers = [Late()]
    with pytest.raises(Late):
        endpoint.source().current(time.monotonic())


# -- when they are replaced ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("life", "kept", "replaced"),
    [(3600.0, 3299.0, 3301.0), (600.0, 299.0, 301.0), (60.0, 29.0, 31.0), (1e6, 1e6 - 301, 1e6 - 299)],
)
def test_they_are_replaced_before_they_expire(life: float, kept: float, replaced: float) -> None:
    endpoint = Endpoint(life)
    source, begin = endpoint.source(), endpoint.now
    source.current()
    endpoint.now = begin + kept
    assert source.current().access_key == "KEY1"
    endpoint.now = begin + replaced
    assert source.current().access_key == "KEY2"


@pytest.mark.parametrize("zone", ["Z", "+00:00", "", ".000Z"])
def test_how_the_expiration_is_written(endpoint: Endpoint, zone: str) -> None:
    end = datetime.fromtimestamp(endpoint.now + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%S") + zone
    endpoint.answers = [(200, endpoint.body("KEY1", Expiration=end))]
    source = endpoint.source()
    source.current()
    endpoint.now += 3299
    assert source.current().access_key == "KEY1"
    endpoint.now += 2
    assert source.current().access_key == "KEY2"


def test_some_never_expire(endpoint: Endpoint) -> None:
    endpoint.answers = [(200, endpoint.body("KEY1", Expiration=None, Token=None))]
    source = endpoint.source()
    assert source.current() == Credentials("KEY1", SECRETS[0])
    endpoint.now += 1e9
    assert source.current().access_key == "KEY1"
    source.refresh()
    assert source.current().access_key == "KEY2"


def test_old_ones_do_while_new_ones_cannot_be_had(endpoint: Endpoint) -> None:
    source = endpoint.source()
    source.current()
    endpoint.now += 3400
    endpoint.answers = [(500, b""), (500, b""), (500, b"")]
    assert [source.current().access_key for _ in range(5)] == ["KEY1"] * 5
    assert len(endpoint.asked) == 2  # it is left in peace for a while
    endpoint.now += 31
    assert source.current().access_key == "KEY1"
    assert len(endpoint.asked) == 3
    endpoint.now += 170  # they have expired
    with pytest.raises(TransportError, match="the endpoint answered 500"):
        source.current()
    assert source.current().access_key == "KEY5"


def test_they_are_read_anew_when_they_were_refused(endpoint: Endpoint) -> None:
    source = endpoint.source()
    source.refresh()
    assert source.current().access_key == "KEY1"
    source.refresh()
    assert source.current().access_key == "KEY2"
    source.refresh()
    endpoint.answers = [(500, b"")]
    assert source.current().access_key == "KEY2"  # better than none
    endpoint.now += 31
    assert source.current().access_key == "KEY4"


class Slow(Endpoint):
    """It answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.busy, self.release = threading.Event(), threading.Event()
        self.release.set()

    def ask(self, url: Url, token: str, deadline: float | None) -> tuple[int, bytes]:
        answer = super().ask(url, token, deadline)
        self.busy.set()
        assert self.release.wait(PATIENCE)
        return answer


def in_threads(source: CredentialSource, count: int, got: list[str]) -> list[threading.Thread]:
    threads = [threading.Thread(target=lambda: got.append(source.current().access_key)) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def test_one_thread_asks_and_the_others_wait() -> None:
    endpoint = Slow()
    endpoint.release.clear()
    source, got = endpoint.source(), list[str]()
    threads = in_threads(source, 8, got)
    assert endpoint.busy.wait(PATIENCE)
    with pytest.raises(Late):
        source.current(time.monotonic() + 0.02)
    assert got == []
    endpoint.release.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert got == ["KEY1"] * 8
    assert len(endpoint.asked) == 1


def test_nobody_waits_while_the_old_ones_are_good() -> None:
    endpoint = Slow()
    source, got = endpoint.source(), list[str]()
    source.current()
    endpoint.now += 3400
    endpoint.busy.clear()
    endpoint.release.clear()
    (thread,) = in_threads(source, 1, got)
    assert endpoint.busy.wait(PATIENCE)
    assert source.current().access_key == "KEY1"
    endpoint.release.set()
    thread.join(PATIENCE)
    assert (got, source.current().access_key) == (["KEY2"], "KEY2")
    assert len(endpoint.asked) == 2


def test_a_forked_child_has_locks_of_its_own(endpoint: Endpoint) -> None:
    source = endpoint.source()
    source._lock.acquire()
    source.renew()
    assert source.current(time.monotonic() + PATIENCE).access_key == "KEY1"
