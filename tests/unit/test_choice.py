"""Which supplier a bucket is asked by, and that a bucket of another region is boto3's for good."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from s3warm import Cache
from s3warm.keys import ObjectKey
from s3warm.origin import choice, lean
from s3warm.origin.base import Request, TransportError
from s3warm.origin.boto import BotoRequests
from s3warm.origin.choice import ChosenRequests
from tests.support.supplier import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

LAMBDA = {
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
}


class Supplier:
    """Answers with what it is given, and notes what it was asked for."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.done: list[str] = []

    def get(self, request: Request) -> Answer:
        self.asked.append(request.object.bucket)
        return self.answers.pop(0) if self.answers else Answer()

    def list(self, bucket: str, prefix: str, token: str, deadline: float | None = None, delimiter: str = "") -> Any:
        self.asked.append(f"{bucket}/{prefix}{delimiter}")
        return self.answers.pop(0) if self.answers else Answer()

    def refresh_credentials(self) -> bool:
        self.done.append("refresh")
        return True

    def renew(self) -> None:
        self.done.append("renew")

    def close(self) -> None:
        self.done.append("close")


class World:
    """A choice between two suppliers that never dial."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, how: str, environ: Mapping[str, str], *answers: Answer) -> None:
        self.lean, self.boto, self.made = Supplier(*answers), Supplier(), 0
        monkeypatch.setattr(choice, "BotoRequests", lambda **_: self.boto)
        monkeypatch.setattr("s3warm.origin.lean.LeanRequests", self._make)
        self.requests = ChosenRequests(how, environ)

    def _make(self, *_: Any, **__: Any) -> Supplier:
        self.made += 1
        return self.lean

    def get(self, bucket: str = "plain") -> Any:
        return self.requests.get(Request(ObjectKey(bucket, "key")))


@pytest.mark.parametrize("how", ["auto", "lean"])
def test_in_lambda_a_plain_bucket_is_the_lean_ones(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    world = World(monkeypatch, how, LAMBDA)
    assert world.made == 0, "a start from /tmp does without"
    for _ in range(3):
        world.get()
    world.requests.list("plain", "a/", "", delimiter="|")
    assert (world.lean.asked, world.boto.asked, world.made) == (["plain"] * 3 + ["plain/a/|"], [], 1)


@pytest.mark.parametrize(
    ("bucket", "more"),
    [
        ("dotted.name", {}),
        ("arn:aws:s3:eu-central-1:123456789012:accesspoint/mine", {}),
        ("mine--euc1-az1--x-s3", {}),
        ("plain", {"AWS_PROFILE": "p"}),
        ("plain", {"HTTPS_PROXY": "http://proxy"}),
        ("plain", {"AWS_LAMBDA_RUNTIME_API": ""}),
    ],
)
def test_whatever_is_unusual_is_boto3s(monkeypatch: pytest.MonkeyPatch, bucket: str, more: dict[str, str]) -> None:
    world = World(monkeypatch, "auto", {**LAMBDA, **more})
    world.get(bucket)
    world.requests.list(bucket, "a/", "")
    assert (world.boto.asked, world.made) == ([bucket, f"{bucket}/a/"], 0)


def test_the_lean_one_serves_outside_lambda_if_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {name: value for name, value in LAMBDA.items() if name != "AWS_LAMBDA_RUNTIME_API"}
    world = World(monkeypatch, "lean", environ)
    world.get()
    assert world.lean.asked == ["plain"]
    with pytest.raises(
        TransportError, match='origin="lean" cannot serve this bucket, since the bucket\'s name has a dot'
    ) as caught:
        world.get("dotted.name")
    assert not caught.value.transient
    assert not caught.value.outage
    assert world.boto.asked == []


@pytest.mark.parametrize(
    "elsewhere",
    [Answer(301, code="PermanentRedirect"), Answer(307), Answer(400, code="AuthorizationHeaderMalformed")],
    ids=["301", "307", "400"],
)
@pytest.mark.parametrize("ask", ["get", "list"])
def test_a_bucket_in_another_region_is_boto3s_for_good(monkeypatch: pytest.MonkeyPatch, elsewhere: Answer, ask: str) -> None:
    world = World(monkeypatch, "auto", LAMBDA, elsewhere)

    def send() -> Any:
        return world.get() if ask == "get" else world.requests.list("plain", "a", "", delimiter="|")

    assert send().status == 200
    assert send().status == 200
    assert len(world.lean.asked) == 1
    assert world.boto.asked == [{"get": "plain", "list": "plain/a|"}[ask]] * 2
    world.get("another")
    assert len(world.lean.asked) == 2


def test_who_insists_on_the_lean_one_is_told_what_s3_said(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, "lean", LAMBDA, Answer(301, code="PermanentRedirect"))
    assert world.get().status == 301
    assert world.boto.asked == []


def test_both_are_renewed_closed_and_refreshed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, "auto", LAMBDA)
    for _ in range(2):
        assert world.requests.refresh_credentials()
        world.requests.renew()
        world.requests.close()
        assert world.lean.done == world.boto.done[3:]  # not before it is there
        world.get()
    assert world.boto.done == ["refresh", "renew", "close"] * 2


@pytest.mark.parametrize(
    ("how", "runtime", "kind"),
    [
        ("auto", True, ChosenRequests),
        ("auto", False, BotoRequests),
        ("boto3", True, BotoRequests),
        ("lean", False, ChosenRequests),
    ],
)
def test_the_cache_has_what_its_settings_say(monkeypatch: pytest.MonkeyPatch, how: Any, runtime: bool, kind: type) -> None:
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001" if runtime else "")
    with Cache(origin=how, disk_budget=0) as cache:
        assert type(cache._origin._exchange.requests) is kind  # type: ignore[attr-defined]
    with Cache(origin=how, disk_budget=0, client=cache_client()) as given:
        assert type(given._origin._exchange.requests) is BotoRequests  # type: ignore[attr-defined]


def cache_client() -> Any:
    """A client of the user's."""

    class Client:
        def get_object(self) -> None: ...

    return Client()


def test_two_that_begin_at_once_have_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two clients one would never be closed, and its connections neither."""
    made: list[int] = []
    first, second = threading.Event(), threading.Event()

    class Client(Supplier):
        def __init__(self, *_: object, **__: object) -> None:
            super().__init__()
            made.append(threading.get_ident())
            (second if first.is_set() else first).set()
            assert second.wait(30)

    class Telling:
        """A lock that tells when somebody has to wait for it."""

        def __init__(self) -> None:
            self._lock = threading.RLock()

        def __enter__(self) -> None:
            if not self._lock.acquire(blocking=False):
                second.set()
                self._lock.acquire()

        def __exit__(self, *_: object) -> None:
            self._lock.release()

    monkeypatch.setattr(lean, "LeanRequests", Client)
    requests = ChosenRequests("auto", LAMBDA)
    monkeypatch.setattr(requests, "_making", Telling(), raising=False)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(requests._choose, "bucket")
        assert first.wait(30)
        other = pool.submit(requests._choose, "bucket")
        assert one.result(30) is other.result(30)
    assert len(made) == 1
