"""Where a bucket is asked for, held to botocore, and which buckets the lean origin may serve."""

from __future__ import annotations

import os
from typing import Any

import botocore.session
import pytest
from botocore.loaders import Loader

from s3warm.origin.places import Place, Url, place_of, suits, url_of
from s3warm.origin.sigv4 import quoted

LAMBDA = {
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
    "AWS_LAMBDA_FUNCTION_NAME": "f",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "A",
    "AWS_SECRET_ACCESS_KEY": "s",
    "AWS_SESSION_TOKEN": "t",
    "LANG": "en_US.UTF-8",
    "HOME": "/home/sbx_user1051",
}
SNAPSTART = {name: value for name, value in LAMBDA.items() if name[:7] not in ("AWS_ACC", "AWS_SEC", "AWS_SES")} | {
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9001/credentials",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN": "x",
}


def without(name: str) -> dict[str, str]:
    return {other: value for other, value in LAMBDA.items() if other != name}


def nothing_is_there(path: str) -> bool:
    return False


# -- the URL ---------------------------------------------------------------------------------------------------------------------


class Sent(Exception):
    pass


LOADER = Loader()  # reading the service model takes longest: once


def botocores_client(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> Any:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in environ.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    session = botocore.session.Session()
    session.register_component("data_loader", LOADER)
    return session.create_client("s3")


def botocores_url(client: Any, bucket: str, key: str) -> str:
    """The URL that boto3 would send a GET to."""
    seen: list[str] = []

    def stop(request: Any, **_: Any) -> None:
        seen.append(request.url)
        raise Sent

    client.meta.events.register("before-send.s3", stop, "stop")
    with pytest.raises(Sent):
        client.get_object(Bucket=bucket, Key=key)
    client.meta.events.unregister("before-send.s3", unique_id="stop")
    return seen[0]


# botocore still sends us-east-1 to the global endpoint, unless it is told to do what all other SDKs do.
REGIONAL = {"AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "regional"}


@pytest.mark.parametrize(
    "more",
    [
        *({**REGIONAL, "AWS_REGION": region, "AWS_DEFAULT_REGION": region} for region in (
            "us-east-1", "us-west-2", "eu-central-1", "ap-southeast-5", "sa-east-1", "ca-west-1", "me-south-1", "af-south-1", "il-central-1",
            "mx-central-1", "cn-north-1", "cn-northwest-1", "us-gov-west-1", "us-gov-east-1",
        )),
        {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000"},
        {"AWS_ENDPOINT_URL": "http://localhost:4566/"},
        {"AWS_ENDPOINT_URL": "http://a.example", "AWS_ENDPOINT_URL_S3": "http://b.example"},
        {"AWS_ENDPOINT_URL": "http://a.example", "AWS_ENDPOINT_URL_S3": ""},
        {"AWS_ENDPOINT_URL": "http://a.example/pre/fix"},
        {"AWS_ENDPOINT_URL": "https://minio.example.com:9443"},
        {"AWS_ENDPOINT_URL": "http://[::1]:9000"},
        {"AWS_ENDPOINT_URL": "https://s3.eu-west-1.amazonaws.com"},
        {"AWS_ENDPOINT_URL": "http://a.example", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
        {"AWS_ENDPOINT_URL": "http://a.example", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"},
    ],
    ids=lambda more: " ".join(value for name, value in more.items() if name != "AWS_REGION"),
)  # fmt: skip
def test_the_url_is_botocores(monkeypatch: pytest.MonkeyPatch, more: dict[str, str]) -> None:
    environ = LAMBDA | more
    client = botocores_client(monkeypatch, environ)
    for bucket, key in [
        ("my-bucket", "a/../b c+%é"),
        ("a1-" + "b" * 60, "//lead"),
        ("123", "."),
        ("xn--abc", "a//b"),
        ("a--b", "?#&=~"),
    ]:
        place = place_of(environ, bucket)
        ours = f"{place.scheme}://{place.host}{place.root}/{quoted(key, path=True)}"
        assert ours == botocores_url(client, bucket, key)
        assert suits(environ, bucket, exists=nothing_is_there) == ""
    client.close()


def test_a_port_that_is_the_schemes_own_is_not_in_the_header() -> None:
    assert place_of({"AWS_ENDPOINT_URL": "http://H.example:80"}, "bbb") == Place("http", "h.example", 80, "h.example", "/bbb")
    assert place_of({"AWS_ENDPOINT_URL": "https://h.example:443/"}, "bbb").host == "h.example"
    assert place_of({"AWS_ENDPOINT_URL": "https://h.example:80"}, "bbb") == Place(
        "https", "h.example", 80, "h.example:80", "/bbb"
    )


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("HTTP://A.example", Url("http", "a.example", 80, "")),
        ("https://a:8443/b?c#", None),
        ("https://a:8443/b?c", Url("https", "a", 8443, "/b?c")),
        ("https://a?c/d", Url("https", "a", 443, "?c/d")),
        ("http://[fd00:ec2::23]", Url("http", "fd00:ec2::23", 80, "")),
        ("http://[::1]9", None),
        ("http://[::1", None),
        ("http://u:p@a/", None),
        ("http://a b/", None),
        ("http://a/\n", None),
        ("http://a:65536", None),
        ("http://a:+1", None),
        ("http://", None),
        ("//a", None),
        ("a:80", None),
        ("", None),
    ],
)  # fmt: skip
def test_urls(text: str, parts: Url | None) -> None:
    if parts is None:
        with pytest.raises(ValueError, match="it"):
            url_of(text)
    else:
        assert url_of(text) == parts


# -- which buckets ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "bucket", "why"),
    [
        (LAMBDA, "my-bucket", ""),
        (SNAPSTART, "my-bucket", ""),
        ({**LAMBDA, "AWS_USE_FIPS_ENDPOINT": "false", "AWS_USE_DUALSTACK_ENDPOINT": "False"}, "my-bucket", ""),
        ({**LAMBDA, "AWS_ENDPOINT_URL": "http://127.0.0.1:9000", "AWS_REGION": "x", "AWS_DEFAULT_REGION": ""}, "my-bucket", ""),
        (without("AWS_DEFAULT_REGION"), "my-bucket", ""),
        (without("AWS_REGION"), "my-bucket", ""),
        ({}, "my-bucket", "not Lambda"),
        (without("AWS_LAMBDA_RUNTIME_API"), "my-bucket", "not Lambda"),
        # names
        (LAMBDA, "arn:aws:s3:eu-west-1:123456789012:accesspoint/x", "ARN"),
        (LAMBDA, "my.bucket", "dot"),
        (LAMBDA, "mfzwi23gnjvgw.mrap", "dot"),
        (LAMBDA, "My-Bucket", "no host name"),
        (LAMBDA, "my_bucket", "no host name"),
        (LAMBDA, "-my-bucket", "no host name"),
        (LAMBDA, "my-bucket-", "no host name"),
        (LAMBDA, "ab", "no host name"),
        (LAMBDA, "a" * 64, "no host name"),
        (LAMBDA, "b\u00fccket", "no host name"),
        (LAMBDA, "my-ap-hash-s3alias", "access point"),
        (LAMBDA, "my-ap-hash--ol-s3", "Object Lambda"),
        (LAMBDA, "my-bucket--use1-az4--x-s3", "directory bucket"),
        (LAMBDA, "my-ap--use1-az4--xa-s3", "directory bucket"),
        (LAMBDA, "my-table--table-s3", "table bucket"),
        # settings
        *(
            ({**LAMBDA, name: "x"}, "my-bucket", f"{name} is set")
            for name in (
                "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE",
                "AWS_DATA_PATH", "AWS_AUTH_SCHEME_PREFERENCE", "AWS_SIGV4A_SIGNING_REGION_SET", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
            )
        ),
        ({**LAMBDA, "https_proxy": "http://p"}, "my-bucket", "HTTPS_PROXY is set"),
        ({**LAMBDA, "AWS_USE_FIPS_ENDPOINT": "TRUE"}, "my-bucket", "AWS_USE_FIPS_ENDPOINT is set"),
        # credentials
        (without("AWS_ACCESS_KEY_ID"), "my-bucket", "credentials are neither"),
        (without("AWS_SECRET_ACCESS_KEY"), "my-bucket", "AWS_SECRET_ACCESS_KEY is missing"),
        ({**SNAPSTART, "AWS_WEB_IDENTITY_TOKEN_FILE": "x"}, "my-bucket", "credentials are neither"),
        # region and endpoint
        ({**without("AWS_REGION"), "AWS_DEFAULT_REGION": ""}, "my-bucket", "no region"),
        ({**LAMBDA, "AWS_DEFAULT_REGION": "eu-west-2"}, "my-bucket", "differ"),
        *(
            ({**LAMBDA, "AWS_REGION": region, "AWS_DEFAULT_REGION": region}, "my-bucket", "other host names")
            for region in ("aws-global", "us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1", "us-isof-south-1", "eusc-de-east-1", "x", "eu-west-²", "eu-wést-1", "eu-west-1a",
                           "eu-west", "fips-us-east-1", "eu.evil-west-1", "cn-gov-north-1", "eu-west-1.evil.example")
        ),
        ({**LAMBDA, "AWS_ENDPOINT_URL": "127.0.0.1:9000"}, "my-bucket", "endpoint's URL"),
        ({**LAMBDA, "AWS_ENDPOINT_URL_S3": "http://u@h"}, "my-bucket", "endpoint's URL"),
        ({**LAMBDA, "AWS_ENDPOINT_URL_S3": "http://h/?x"}, "my-bucket", "query"),
    ],
    ids=str,
)  # fmt: skip
def test_what_the_lean_origin_may_serve(environ: dict[str, str], bucket: str, why: str) -> None:
    said = suits(environ, bucket, exists=nothing_is_there)
    assert bool(said) is bool(why)
    assert why in said


@pytest.mark.parametrize("file", ["config", "credentials"])
def test_a_configuration_in_the_home_directory_is_boto3s_business(file: str) -> None:
    asked: list[str] = []

    def exists(path: str) -> bool:
        asked.append(path)
        return path.endswith(f"/.aws/{file}")

    assert "configuration" in suits(LAMBDA, "my-bucket", exists=exists)
    assert asked[-1] == f"/home/sbx_user1051/.aws/{file}"
