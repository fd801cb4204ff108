"""URLs of servers: what they say, and that a wrong one is refused without a word of its password."""

from __future__ import annotations

import re
import traceback
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3warm.tiers.address import Place, parse

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://cache", Place("cache")),
        ("valkey://cache:7000/", Place("cache", 7000)),
        ("redis://[::1]:7000/3", Place("::1", 7000, 3)),
        ("rediss://cache/0", Place("cache", tls=True)),
        ("valkeys://cache", Place("cache", tls=True)),
        ("redis://:a%2Fb%40c@cache", Place("cache", password="a/b@c")),
        ("redis://app:x@Cache", Place("cache", user="app", password="x")),
        ("redis://app@cache", Place("cache", user="app")),
        ("redis://cache?cluster=true", Place("cache", cluster=True)),
        ("redis://cache/0?cluster=false", Place("cache")),
        ("rediss://cache?ca=%2Fa%20b.pem", Place("cache", tls=True, ca="/a b.pem")),
        ("rediss://app@h?iam=c&region=eu-west-1", Place("h", tls=True, user="app", iam="c", region="eu-west-1")),
        ("rediss://app@h?iam=c&serverless=true", Place("h", tls=True, user="app", iam="c", serverless=True)),
        ("rediss://app@h?iam=c&service=memorydb", Place("h", tls=True, user="app", iam="c", service="memorydb")),
    ],
)
def test_what_a_url_says(url: str, place: Place) -> None:
    assert parse(url) == place


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "begin with one of redis://"),
        ("hunter2", "begin with one of redis://"),
        ("http://:hunter2@cache", "begin with one of redis://"),
        ("redis:cache", "begin with one of redis://"),
        ("redis://:hunter2@", "no host"),
        ("redis://:hunter2@cache:0", "port 0"),
        ("redis://:hunter2@cache:70000", "cannot be read"),
        ("redis://:hunter2@cache:hunter2", "cannot be read"),
        ("redis://:hunter2@[::1", "cannot be read"),
        ("redis://:hunter2%FF@cache", "cannot be read"),
        ("redis://:hunter2\n@cache", "without spaces"),
        ("redis://:hunter2 @cache", "without spaces"),
        ("redis://:a/hunter2@cache", "percent-encoded"),
        ("redis://:a?hunter2@cache", "percent-encoded"),
        ("redis://:a#hunter2@cache", "percent-encoded"),
        ("redis://:a@hunter2@cache", "percent-encoded"),
        ("redis://:hunter2@cache#", "percent-encoded"),
        ("redis://cache/hunter2", "number of a database"),
        ("redis://cache/-1", "number of a database"),
        ("redis://cache/1/2", "number of a database"),
        ("redis://:hunter2@cache?clutser=true", "no parameter 'clutser'; did you mean cluster"),
        ("redis://:hunter2@cache?zzz=1", "there are ca, cluster, iam, region, serverless, service"),
        ("redis://:hunter2@cache?cluster=yes", "accepted: true, false"),
        ("redis://:hunter2@cache?cluster=true&cluster=true", "given twice"),
        ("redis://:hunter2@cache?cluster=", "no value"),
        ("redis://:hunter2@cache/1?cluster=true", "database 0 alone"),
        ("redis://:hunter2@cache?ca=/ca.pem", "rediss:// or valkeys://"),
        ("rediss://:hunter2@cache?region=x", "are for IAM"),
        ("rediss://:hunter2@cache?serverless=true", "are for IAM"),
        ("rediss://:hunter2@cache?service=memorydb", "are for IAM"),
        ("redis://app@cache?iam=c", "TLS alone"),
        ("rediss://cache?iam=c", "user id"),
        ("rediss://app:hunter2@cache?iam=c", "no password"),
        ("rediss://app@cache?iam=c&service=s3", "accepted: elasticache, memorydb"),
        ("rediss://app@cache?iam=c&service=memorydb&serverless=true", "ElastiCache"),
    ],
)
def test_what_is_wrong_with_a_url(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as error:
        parse(url)
    assert SECRET not in "".join(traceback.format_exception_only(error.value))
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None


@given(st.text(min_size=1), st.text())
def test_any_user_and_password_can_be_written(user: str, password: str) -> None:
    try:
        written = f"redis://{quote(user, safe='')}:{quote(password, safe='')}@cache"
    except UnicodeEncodeError:  # a lone surrogate
        return
    assert parse(written)[4:6] == (user, password)


def test_a_place_does_not_show_its_password() -> None:
    place: Any = parse(f"redis://app:{SECRET}@cache")
    assert place.password == SECRET
    assert "user='app', password='***'" in repr(place)
    assert SECRET not in f"{place!r} {place}"
    assert "password=''" in repr(parse("redis://cache"))
