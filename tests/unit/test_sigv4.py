"""Signatures: AWS's own test suite, AWS's examples for S3, and botocore's signature for the same request."""

from __future__ import annotations

import calendar
import datetime as dt
import json
import random
from pathlib import Path
from typing import Any, NamedTuple

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from s3warm.origin.sigv4 import EMPTY, Signer, query_of, quoted

# The vectors of `aws-signing-test-suite/v4` (awslabs/aws-c-auth) that are GETs, one header a name, with the path as it is; what they are
# signed with and when is the same for all (their context.json).
VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("data").joinpath("sigv4.json").read_text(encoding="utf-8"))
STAMP, AT = "20150830T123600Z", calendar.timegm((2015, 8, 30, 12, 36, 0))


class Keys(NamedTuple):
    access_key: str
    secret_key: str
    token: str = ""


SUITE = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
EXAMPLES = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_aws_test_suite(vector: dict[str, Any]) -> None:
    headers = [("host", "example.amazonaws.com"), *map(tuple, vector.get("headers", [])), ("x-amz-date", STAMP)]
    if "token" in vector:
        headers.append(("x-amz-security-token", vector["token"]))
    keys = SUITE._replace(token=vector.get("token", ""))
    signer = Signer("us-east-1", "service")
    said = signer.authorization(keys, STAMP, quoted(vector["path"], path=True), query_of(vector.get("query", [])), headers)
    assert said == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={';'.join(name for name, _ in headers)}, Signature={vector['signature']}"
    )


@pytest.mark.parametrize(
    ("path", "query", "extra", "signature"),
    [
        ("/test.txt", [], [("range", "bytes=0-9")], "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        ("/", [("lifecycle", "")], [], "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("/", [("prefix", "J"), ("max-keys", "2")], [], "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_aws_examples_for_s3(path: str, query: list[tuple[str, str]], extra: list[tuple[str, str]], signature: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html#example-signature-calculations."""
    signer = Signer("us-east-1", clock=lambda: calendar.timegm((2013, 5, 24, 0, 0, 0)))
    lines = signer.headers("examplebucket.s3.amazonaws.com", path, query_of(query), extra, EXAMPLES)
    assert lines.endswith(f"Signature={signature}\r\n")
    assert "x-amz-date: 20130524T000000Z\r\n" in lines
    assert f"x-amz-content-sha256: {EMPTY}\r\n" in lines


# -- botocore --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore's clock stands still at `AT`."""
    then = dt.datetime.fromtimestamp(AT, dt.UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda remove_tzinfo=True: then.replace(tzinfo=None))


class Get(NamedTuple):
    host: str
    path: str
    query: str
    extra: list[tuple[str, str]]


def botocores(keys: Keys, get: Get) -> str:
    host, path, query, extra = get
    url = f"https://{host}{path}" + (f"?{query}" if query else "")
    request = AWSRequest("GET", url, headers=dict(extra))
    S3SigV4Auth(BotoCredentials(*keys[:2], keys.token or None), "s3", "eu-central-1").add_auth(request)
    return str(request.headers["Authorization"])


def ours(signer: Signer, keys: Keys, get: Get) -> str:
    lines = dict(line.split(": ", 1) for line in signer.headers(*get, keys).split("\r\n") if line)
    return lines["authorization"]


ODD = ["a/../b", "//lead", "a//b", "/", ".", "..", "../..", "a b", "+", "%", "%2F", "~", "a?b=c&d", "#", "é", "e\u0301", "🪣/🔥", "\x00", "\x7f",
       "a\nb", "\u2028", "'\"<>&;", "a" * 1024, "ü" * 512, "\ud7ff\ue000\uffff\U0010ffff", "=", "*", "!'()", "\\", "a/./b/", " ", "\t x \t"]  # fmt: skip


def odd_keys(count: int) -> list[str]:
    draw = random.Random(4)
    alphabets = [
        "abcABC019-._~/", "/.", " +%&=?#", "".join(map(chr, range(256))), "éßñ漢字🪣\u0301\u200d", "%0123456789ABCDEFabcdef", "~*'()!:@$,;",
    ]  # fmt: skip

    def any_text(length: int) -> str:
        points = (draw.choice((draw.randrange(0x80), draw.randrange(0x800), draw.randrange(0x110000))) for _ in range(length))
        return "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)

    keys = dict.fromkeys(ODD)
    while len(keys) < count:
        length = draw.choice((1, 2, 3, 8, 30, 200, 1024))
        key = any_text(length) if draw.random() < 0.3 else "".join(draw.choices(draw.choice(alphabets), k=length))
        key = key.encode()[:1024].decode("utf-8", "ignore")
        if key:
            keys[key] = None
    return list(keys)


@pytest.mark.usefixtures("frozen")
def test_ten_thousand_odd_keys_are_signed_as_botocore_signs_them() -> None:
    signer = Signer("eu-central-1", clock=lambda: AT)
    draw = random.Random(7)
    for key in odd_keys(10_000):
        credentials = draw.choice((SUITE, EXAMPLES, SUITE._replace(token="x/+=" * 100)))
        host, root = draw.choice((("bucket.s3.eu-central-1.amazonaws.com", ""), ("127.0.0.1:9000", "/bucket")))
        extra: list[tuple[str, str]] = []
        if draw.random() < 0.3:
            extra.append(("if-match", '"0123  abc-2"'))
        if draw.random() < 0.3:
            extra.append(("if-none-match", ' "e"'))
        extra.append(draw.choice((("range", "bytes=0-8388607"), ("x-amz-checksum-mode", "ENABLED"))))
        query = (
            query_of([("versionId", draw.choice(("3/L4kqtJlcpXroDTDmJ+rmSpXd3", "null", key)))]) if draw.random() < 0.3 else ""
        )
        request = Get(host, f"{root}/{quoted(key, path=True)}", query, extra)
        assert ours(signer, credentials, request) == botocores(credentials, request), (key, query, extra)


@pytest.mark.usefixtures("frozen")
def test_listings_with_odd_prefixes_and_tokens_are_signed_as_botocore_signs_them() -> None:
    signer = Signer("eu-central-1", clock=lambda: AT)
    for prefix in odd_keys(1_000):
        query = query_of(
            [("list-type", "2"), ("encoding-type", "url"), ("prefix", prefix), ("continuation-token", prefix[::-1])]
        )
        request = Get("bucket.s3.eu-central-1.amazonaws.com", "/", query, [])
        assert ours(signer, SUITE, request) == botocores(SUITE, request), prefix


@pytest.mark.parametrize("key", ODD)
def test_a_path_is_encoded_as_botocore_encodes_it(key: str) -> None:
    from botocore.serialize import percent_encode

    assert quoted(key, path=True) == percent_encode(key, safe="/~")
    assert quoted(key) == percent_encode(key, safe="~")


def test_a_lone_surrogate_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        quoted("a\ud800")


# -- what is kept ----------------------------------------------------------------------------------------------------------------


def test_another_day_another_secret_and_another_region_have_other_keys() -> None:
    now = [AT]
    signer, fresh = Signer("us-east-1", clock=lambda: now[0]), {}
    for keys, day, region in [
        (SUITE, 0, "us-east-1"),
        (EXAMPLES, 0, "us-east-1"),
        (SUITE, 1, "us-east-1"),
        (SUITE, 2, "us-east-1"),
        (SUITE, 1, "eu-west-1"),
    ]:
        now[0] = AT + day * 86400
        kept = signer if region == "us-east-1" else Signer(region, clock=lambda: now[0])
        fresh[keys, day, region] = ours(kept, keys, Get("h", "/", "", []))
        assert fresh[keys, day, region] == ours(Signer(region, clock=lambda: now[0]), keys, Get("h", "/", "", []))
    assert len(set(fresh.values())) == 5


def test_the_date_is_that_of_the_request() -> None:
    now = [AT + 0.9]
    signer = Signer("us-east-1", clock=lambda: now[0])
    assert signer.stamp() == STAMP
    now[0] += 0.2
    assert signer.stamp() == "20150830T123601Z"
    now[0] -= 3600
    assert signer.stamp() == "20150830T113601Z"


def test_a_secret_longer_than_a_block_of_the_hash() -> None:
    keys = SUITE._replace(secret_key="s" * 100)
    assert keys.secret_key not in ours(Signer("us-east-1", clock=lambda: AT), keys, Get("h", "/", "", []))
    import hashlib
    import hmac

    key = b"AWS4" + keys.secret_key.encode()
    for part in (b"20150830", b"us-east-1", b"s3", b"aws4_request"):
        key = hmac.digest(key, part, "sha256")
    assert Signer("us-east-1")._signing_key(keys.secret_key, "20150830") == key
    assert hashlib.sha256(b"").hexdigest() == EMPTY
