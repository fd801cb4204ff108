"""Whose entries of a shared tier are whose."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from s3warm.origin.identity import fleet_namespace

LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "app", "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "ASIAROLE"}


def client(endpoint: str | None = None, **keys: str) -> Any:
    made = {"aws_access_key_id": "AKIASTATIC", "aws_secret_access_key": "s", **keys}
    return boto3.client("s3", endpoint_url=endpoint, region_name="eu-west-1", **made)  # type: ignore[call-overload]


def test_outside_lambda_nothing_but_a_name_tells() -> None:
    assert fleet_namespace(None, None, {}) is None
    assert fleet_namespace(None, client(), {}) is None
    assert fleet_namespace("app", None, {}) == "named app at aws"


def test_in_lambda_it_is_the_function_where_the_role_reads() -> None:
    assert fleet_namespace(None, None, LAMBDA) == "function app in eu-west-1 at aws"
    assert fleet_namespace(None, client(), LAMBDA) is None, "a client of the user's may read what the role may not"


def test_a_client_with_the_roles_own_credentials_reads_as_the_role(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LAMBDA.items():
        monkeypatch.setenv(name, value)
    own = client(aws_access_key_id="ASIAROLE", aws_session_token="t")
    assert fleet_namespace(None, own, LAMBDA) == "function app in eu-west-1 at aws", "it is the same S3"
    assert fleet_namespace(None, client(aws_access_key_id="ASIAOTHER", aws_session_token="t"), LAMBDA) is None


def test_another_endpoint_is_another_place_whatever_the_name() -> None:
    places = [
        fleet_namespace("app", None, {}),
        fleet_namespace("app", None, {"AWS_ENDPOINT_URL": "http://one:1"}),
        fleet_namespace("app", None, {"AWS_ENDPOINT_URL": "http://one:1", "AWS_ENDPOINT_URL_S3": "http://two:2"}),
        fleet_namespace("app", client("http://three:3"), {"AWS_ENDPOINT_URL": "http://one:1"}),
        fleet_namespace("app", object(), {}),
        fleet_namespace("app2", None, {}),
        fleet_namespace(None, None, LAMBDA),
        fleet_namespace(None, None, {**LAMBDA, "AWS_REGION": "us-east-1"}),
        fleet_namespace(None, None, {**LAMBDA, "AWS_LAMBDA_FUNCTION_NAME": "app2"}),
        fleet_namespace("app in eu-west-1", None, LAMBDA),
    ]
    assert len(set(places)) == len(places)
    assert None not in places
