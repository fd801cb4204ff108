"""Tokens of IAM: the same as botocore signs, a fresh one each time, and credentials from where they are."""

from __future__ import annotations

import calendar
import datetime as dt
import threading
import time
from typing import Any
from urllib.parse import parse_qsl, quote

import boto3
import botocore.auth
import botocore.exceptions
import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from botocore.credentials import ReadOnlyCredentials

from s3warm.errors import ConfigurationError
from s3warm.origin.base import Late, TransportError
from s3warm.origin.credentials import Credentials
from s3warm.tiers.address import parse
from s3warm.tiers.iam import GOOD, IamLogin, login_of

AT = calendar.timegm((2026, 11, 22, 7, 30, 0))
KEYS = Credentials("AKIDEXAMPLE", "secret/key", "a token+/=")
LAMBDA = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001", "AWS_REGION": "eu-central-1"}


def login(url: str, keys: Credentials = KEYS, at: float = AT) -> IamLogin:
    return IamLogin(parse(url), "eu-central-1", lambda _: keys, clock=lambda: at)


@pytest.mark.parametrize(
    ("url", "service", "extra"),
    [
        ("rediss://app-1@h?iam=My-Cache", "elasticache", ""),
        ("rediss://app%2B1@h?iam=my-cache&serverless=true", "elasticache", "&ResourceType=ServerlessCache"),
        ("rediss://app-1@h?iam=my-cache&service=memorydb", "memorydb", ""),
    ],
)
@pytest.mark.parametrize("keys", [KEYS, KEYS._replace(token="")], ids=["role", "user"])
def test_a_token_is_what_botocore_signs(
    url: str, service: str, extra: str, keys: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = parse(url)
    user, token = login(url, keys).get_credentials()

    monkeypatch.setattr(
        botocore.auth, "get_current_datetime", lambda: dt.datetime.fromtimestamp(AT, dt.UTC).replace(tzinfo=None)
    )
    name = place.iam.lower()
    request = AWSRequest("GET", f"http://{name}/", params=dict(parse_qsl(f"Action=connect&User={quote(place.user)}{extra}")))
    boto_keys = BotoCredentials(keys.access_key, keys.secret_key, keys.token or None)
    SigV4QueryAuth(boto_keys, service, "eu-central-1", expires=GOOD).add_auth(request)

    assert user == place.user
    assert token.startswith(f"{name}/?")
    assert sorted(token.partition("?")[2].split("&")) == sorted(str(request.url).partition("?")[2].split("&"))


def test_a_token_is_made_for_each_connection() -> None:
    now = float(AT)
    made = IamLogin(parse("rediss://app@h?iam=c"), "eu-central-1", lambda _: KEYS, clock=lambda: now)
    first = made.get_credentials()
    now += 1.0
    assert made.get_credentials() != first


def test_nothing_of_it_is_printed() -> None:
    assert KEYS.secret_key not in repr(login("rediss://app@h?iam=c"))


def test_in_lambda_credentials_are_the_roles() -> None:
    environ = LAMBDA | {"AWS_ACCESS_KEY_ID": "FIRST", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
    made = login_of(parse("rediss://app@h?iam=c"), environ)
    assert "X-Amz-Credential=FIRST%2F" in made.get_credentials(time.monotonic() + 30.0)[1]
    environ["AWS_ACCESS_KEY_ID"] = "SECOND"  # they rotate
    assert "X-Amz-Credential=SECOND%2F" in made.get_credentials()[1]


def test_in_lambda_without_credentials_it_says_so() -> None:
    with pytest.raises(TransportError, match="no credentials"):
        login_of(parse("rediss://app@h?iam=c"), LAMBDA).get_credentials(time.monotonic() + 30.0)


@pytest.mark.parametrize(("query", "region"), [("", "eu-central-1"), ("&region=us-west-2", "us-west-2")])
def test_the_region_is_the_urls_or_the_environments(query: str, region: str) -> None:
    environ = LAMBDA | {"AWS_ACCESS_KEY_ID": "K", "AWS_SECRET_ACCESS_KEY": "s"}
    token = login_of(parse(f"rediss://app@h?iam=c{query}"), environ).get_credentials()[1]
    assert f"%2F{region}%2Felasticache%2Faws4_request" in token


def test_without_a_region_it_says_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match="AWS_REGION, or add region="):
        login_of(parse("rediss://app@h?iam=c"), {"AWS_LAMBDA_RUNTIME_API": "x"})


class Session:
    """What `boto3.session.Session` gives: credentials after a while, and others after that."""

    found: Any = None
    made = 0
    answered = threading.Event()

    def __init__(self) -> None:
        type(self).made += 1

    def get_credentials(self) -> Any:
        assert self.answered.wait(30.0)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> type[Session]:
    class Fresh(Session):
        made = 0
        answered = threading.Event()

    Fresh.answered.set()
    monkeypatch.setattr(boto3.session, "Session", Fresh)
    return Fresh


def test_elsewhere_credentials_are_those_that_boto3_finds(session: type[Session]) -> None:
    class Refreshed:
        names = iter(("FIRST", "SECOND"))

        def get_frozen_credentials(self) -> ReadOnlyCredentials:
            return ReadOnlyCredentials(next(self.names), "s", None)

    session.found = Refreshed()
    made = login_of(parse("rediss://app@h?iam=c"), {"AWS_REGION": "eu-central-1"})
    assert session.made == 0  # nothing is looked for before a connection is made
    assert "X-Amz-Credential=FIRST%2F" in made.get_credentials()[1]
    assert "X-Amz-Credential=SECOND%2F" in made.get_credentials(time.monotonic() + 30.0)[1]
    assert session.made == 1


@pytest.mark.parametrize(
    "found", [None, OSError("no such file"), botocore.exceptions.PartialCredentialsError(provider="env", cred_var="x")]
)
def test_where_boto3_finds_none_it_says_so(session: type[Session], found: Any) -> None:
    session.found = found
    with pytest.raises(TransportError, match="no credentials"):
        login_of(parse("rediss://app@h?iam=c"), {"AWS_REGION": "eu-central-1"}).get_credentials()


def test_credentials_that_take_too_long_are_left_to_the_next_connection(session: type[Session]) -> None:
    session.found = BotoCredentials("LATE", "s")
    session.answered.clear()
    made = login_of(parse("rediss://app@h?iam=c"), {"AWS_REGION": "eu-central-1"})
    with pytest.raises(Late):
        made.get_credentials(time.monotonic() + 0.05)
    session.answered.set()
    assert "X-Amz-Credential=LATE%2F" in made.get_credentials()[1]
