"""Targets: the environment of the lean client, and its signatures."""

from __future__ import annotations

import datetime as dt
from unittest import mock
from urllib.parse import unquote, urlsplit

import botocore.auth
from botocore.serialize import percent_encode

from s3warm.origin.places import can_serve, place_of, url_of
from s3warm.origin.sigv4 import Signer, query_of, quoted
from tests.faults.fuzz import Choices, target
from tests.unit.test_sigv4 import AT, EXAMPLES, SUITE, Get, botocores, ours

_URLS = ("http://127.0.0.1:9000", "https://s3.example.com/root/", "http://[::1]:80/a?b", "HTTPS://Host", "http://a_b:65535/x/y")


@target("urls", 50)
def urls(choices: Choices) -> bool:
    """`url_of` raises ValueError."""
    text = choices.maybe_damaged(choices.one(_URLS)) if choices.below(8) else choices.text(30, surrogates=True)
    choices.given = text
    try:
        url = url_of(text)
    except ValueError:
        assert text not in _URLS
        return False
    assert url.scheme in ("http", "https")
    assert 0 < url.port < 65536
    assert url.host.isascii()
    assert not {*"/?#@[] \r\n\0"} & {*url.host}
    assert url.path.isascii()
    assert url.path.isprintable()
    assert url_of(f"{url.scheme}://{url.authority}{url.path}") == url
    authority = text.partition("://")[2].partition("/")[0].partition("?")[0]
    assert authority.count("[") == authority.count("]")
    if not {*"[]"} & {
        *text
    }:  # what stands in brackets urlsplit wants to be an address; to connect to another one fails soon enough
        other = urlsplit(text)
        assert other.hostname == url.host
        assert (other.port or {"http": 80, "https": 443}[url.scheme]) == url.port
    return True


_BUCKETS = ("my-bucket", "a.b.c", "data--use1-az4--x-s3", "arn:aws:s3:::x", "x" * 63)
_REGIONS = ("eu-central-1", "us-gov-west-1", "cn-north-1", "us-iso-east-1", "eu-isoe-west-1")


@target("places", 40)
def places(choices: Choices) -> bool:
    """`can_serve` raises nothing, and what it takes `place_of` does."""
    environ = {
        "AWS_REGION": choices.maybe_damaged(choices.one(_REGIONS)),
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }
    if choices.sometimes(2):
        environ["AWS_ENDPOINT_URL_S3"] = choices.maybe_damaged(choices.one(_URLS))
    for name in choices.some(
        ("AWS_DEFAULT_REGION", "HTTP_PROXY", "AWS_PROFILE", "AWS_USE_FIPS_ENDPOINT", "AWS_ENDPOINT_URL"), 1
    ):
        environ[name] = choices.one((environ["AWS_REGION"], "", "false", "True", choices.text(8)))
    bucket = choices.maybe_damaged(choices.one(_BUCKETS))
    choices.given = (bucket, environ)
    if why := can_serve(environ, bucket, exists=lambda _: False):
        assert isinstance(why, str)
        return False
    place = place_of(environ, bucket)
    for text in (place.host, place.address, place.root):
        assert text.isascii(), "no request can carry it"
        assert text.isprintable()
        assert " " not in text
    assert place.root.endswith(bucket) or place.host.startswith(f"{bucket}.")
    return True


@target("signatures", 60)
def signatures(choices: Choices) -> bool:
    """`quoted` raises ValueError for half of a surrogate pair alone; a signature is botocore's."""
    key = choices.text(24, surrogates=True) or "k"
    version = choices.text(8, surrogates=True)
    choices.given = (key, version)
    try:
        path = f"/{quoted(key, path=True)}"
        query = query_of([("versionId", version)]) if version else ""
    except ValueError:
        assert any("\ud800" <= character <= "\udfff" for character in key + version)
        return False
    assert unquote(path, errors="strict") == f"/{key}"
    assert path == f"/{percent_encode(key, safe='/~')}", "botocore encodes it otherwise"
    assert path.isascii()
    assert path.isprintable()
    credentials = choices.one((SUITE, EXAMPLES, SUITE._replace(token="x/+=" * 100)))
    extra = choices.one(
        ([], [("if-match", f'"{choices.word(6)}"')], [("if-none-match", ' "e  f"')], [("range", "bytes=0-8388607")])
    )
    get = Get(choices.one(("bucket.s3.eu-central-1.amazonaws.com", "127.0.0.1:9000")), path, query, extra)
    said = ours(Signer("eu-central-1", clock=lambda: AT), credentials, get)
    if choices.sometimes(4):
        then = dt.datetime.fromtimestamp(AT, dt.UTC)
        with mock.patch.object(botocore.auth, "get_current_datetime", return_value=then.replace(tzinfo=None)):
            assert said == botocores(credentials, get)
    return True
