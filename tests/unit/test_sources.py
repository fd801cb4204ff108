"""What can be a source, and which keys a pattern matches."""

from __future__ import annotations

import functools
import random
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3warm.globbing import checked_limit, parse
from s3warm.keys import ObjectKey
from s3warm.sources import called, located, place, several

ARN = "arn:aws:s3:eu-west-1:123456789012:accesspoint/point"


def function() -> None:
    """A source."""


class Loader:
    def load(self) -> None:
        """A source."""

    def __call__(self) -> None:
        """A source."""


# -- sources -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["s3://cfg/a b.json", ("cfg", "a b.json")])
def test_a_uri_and_a_pair_name_the_same_object(source: Any) -> None:
    assert located(source) == place(source) == ObjectKey("cfg", "a b.json")


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        (None, TypeError, r'a source must be "s3://bucket/key".* not NoneType: None'),
        (7, TypeError, "not int: 7"),
        (b"s3://cfg/a", TypeError, "not bytes"),
        (("cfg",), TypeError, r"not tuple: \('cfg',\)"),
        (("cfg", "a", "v1"), TypeError, r"not tuple: \('cfg', 'a', 'v1'\)"),
        (("cfg", None), TypeError, r"source \('cfg', None\): key must be a string, not NoneType"),
        (("cfg", ""), ValueError, r"source \('cfg', ''\): the key is empty"),
        (("s3://cfg/a", "b"), ValueError, "takes no second argument"),
        ("cfg/a", ValueError, "'cfg/a' is no source"),
        ("s3://cfg", ValueError, "names a bucket, not an object"),
    ],
)
def test_what_names_no_object_is_refused_by_both(source: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        several([source])
    words = words.replace('"s3://bucket/key".*', '"s3://bucket/key", a tuple .* or a function without arguments,')
    with pytest.raises(error, match=words):
        place(source)


@pytest.mark.parametrize("source", [["s3://cfg/a"], {"s3://cfg/a"}, iter(["s3://cfg/a"])])
def test_preload_takes_sources_one_by_one(source: Any) -> None:
    with pytest.raises(TypeError, match=r"one by one, as in preload\(\*sources\)"):
        place(source)


def test_a_prefix_is_no_source_and_the_message_says_what_is() -> None:
    with pytest.raises(ValueError, match=r"give lambda: s3warm.tree\('s3://models/bert/'\)"):
        place("s3://models/bert/")


def test_callables_are_called_by_their_names() -> None:
    assert place(function) is function
    assert called(function) == "function"
    assert called(Loader().load) == "Loader.load"
    assert called(Loader()) == "Loader"
    assert called(Loader) == "Loader"
    assert called(functools.partial(Loader.load, Loader())) == "Loader.load"
    line = test_callables_are_called_by_their_names.__code__.co_firstlineno + 8
    assert called(lambda: None).endswith(f"<lambda> (test_sources.py:{line})")


def test_several_keeps_the_order_and_each_source_once() -> None:
    given = ["s3://cfg/b", ("cfg", "a"), "s3://cfg/a", "s3://cfg/b"]
    objects = several(iter(given))
    assert list(objects) == ["s3://cfg/b", ("cfg", "a"), "s3://cfg/a"]
    assert objects[("cfg", "a")] == objects["s3://cfg/a"]


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ("s3://cfg/a", r"get_many\(\['s3://cfg/a'\]\); get takes one: get\('s3://cfg/a'\)"),
        (b"s3://cfg/a", "takes several sources"),
        (("cfg", "a"), r"for one pair write get_many\(\[\('cfg', 'a'\)\]\) or get\('cfg', 'a'\)"),
        (None, "takes an iterable of sources, not NoneType"),
        (7, "not int: 7"),
        ([["cfg", "a"]], "not list"),
        ([lambda: b""], "not function"),
    ],
)
def test_get_many_says_what_it_takes(sources: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        several(sources)


def test_an_error_of_the_iterable_is_its_own() -> None:
    def sources() -> Any:
        yield "s3://cfg/a"
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        several(sources())


def test_a_pair_of_uris_are_two_sources() -> None:
    assert list(several(("s3://cfg/a", "s3://cfg/b"))) == ["s3://cfg/a", "s3://cfg/b"]


# -- patterns ------------------------------------------------------------------------------------------------------------------


def matches(pattern: str, *keys: str) -> list[str]:
    return [uri.removeprefix("s3://b/") for uri in parse(f"s3://b/{pattern}").uris(keys)]


@pytest.mark.parametrize(
    ("pattern", "key", "matched"),
    [
        ("a*.json", "a.json", True),
        ("a*.json", "abc.json", True),
        ("a*.json", "a/b.json", False),
        ("a*.json", "xa.json", False),
        ("a*.json", "a.json\n", False),
        ("a*", "a\nb", True),
        ("a.b", "axb", False),
        ("*/x", "a/x", True),
        ("*/x", "a/b/x", False),
        ("*/x", "/x", True),
        ("?", "a", True),
        ("?", "é", True),
        ("?", "/", False),
        ("a?c", "ac", False),
        ("**", "a/b/c", True),
        ("a**", "a", True),
        ("a**c", "a/b/c", True),
        ("a***c", "a/b/c", True),
        ("a/**/c", "a/c", True),
        ("a/**/c", "a/b/c", True),
        ("a/**/c", "a/b/b/c", True),
        ("a/**/c", "ac", False),
        ("a/**/c", "a/bc", False),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("**/c", "c", True),
        ("**/c", "a/b/c", True),
        ("**/c", "abc", False),
        ("x**/c", "x/c", True),
        ("x**/c", "xc", False),
        ("[ab]", "b", True),
        ("[a-c]x", "bx", True),
        ("[!ab]", "c", True),
        ("[!ab]", "a", False),
        ("[^a]", "^", True),
        ("[^a]", "b", False),
        ("a[!b]c", "a/c", False),
        ("a[.-0]c", "a/c", False),
        ("[]]", "]", True),
        ("[!]]", "]", False),
        ("[*]", "*", True),
        ("[*]", "a", False),
        ("[z-a]", "b", False),
        ("a[", "a[", True),
        ("a[b", "a[b", True),
        ("[]", "[]", True),
        ("a\\*", "a\\b", True),
        ("a{b,c}", "a{b,c}", True),
        ("a%20*", "a%20b", True),
    ],
)
def test_what_a_pattern_matches(pattern: str, key: str, matched: bool) -> None:
    assert (matches(pattern, key) == [key]) is matched


@pytest.mark.parametrize(
    ("pattern", "bucket", "prefix"),
    [
        ("s3://b/a/b*.json", "b", "a/b"),
        ("s3://b/a?", "b", "a"),
        ("s3://b/x[ab]*", "b", "x"),
        ("s3://b/x[a*", "b", "x[a"),
        ("s3://b/*", "b", ""),
        ("s3://b/**/x", "b", ""),
        ("s3://b/a/plain.json", "b", "a/plain.json"),
        (f"s3://{ARN}/a/*", ARN, "a/"),
        ("s3://cfg--euw1-az1--x-s3/a/b*", "cfg--euw1-az1--x-s3", "a/"),
        ("s3://cfg--euw1-az1--x-s3/a*", "cfg--euw1-az1--x-s3", ""),
    ],
)
def test_what_is_listed_is_as_long_as_can_be(pattern: str, bucket: str, prefix: str) -> None:
    parsed = parse(pattern)
    assert (parsed.bucket, parsed.prefix) == (bucket, prefix)


@pytest.mark.parametrize(
    ("pattern", "error", "words"),
    [
        (None, TypeError, "a pattern must be a string"),
        (("b", "*"), TypeError, "not tuple"),
        ("b/*.json", ValueError, "pattern 'b/.*' is not an object"),
        ("s3://*/a", ValueError, "the bucket may hold no wildcard"),
        ("s3://c[f]g/a", ValueError, "the bucket may hold no wildcard"),
        ("s3://b", ValueError, "pattern 's3://b': the key is empty"),
    ],
)
def test_what_is_no_pattern_is_refused(pattern: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        parse(pattern)


@pytest.mark.parametrize(
    ("limit", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), (1.5, TypeError), ("9", TypeError)]
)
def test_what_is_no_limit_is_refused(limit: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="limit must be"):
        checked_limit(limit)


def test_consoles_folders_are_left_out_and_the_order_is_that_of_keys() -> None:
    keys = ["a/é", "a/z", "a/", "a/b/", "a/Z", "a/\U0001f600", "a/\ufffd"]
    assert matches("a/**", *keys) == sorted(set(keys) - {"a/", "a/b/"}, key=str.encode)


def simply(pattern: str, key: str) -> bool:
    """The same by trying everything: no regular expression, no cleverness."""

    @functools.cache
    def rest(p: int, k: int) -> bool:
        if p == len(pattern):
            return k == len(key)
        if pattern.startswith("**/", p) and (p == 0 or pattern[p - 1] == "/"):
            return rest(p + 3, k) or any(key[end - 1] == "/" and rest(p + 3, end) for end in range(k + 1, len(key) + 1))
        if pattern.startswith("**", p):
            return any(rest(p + 2, end) for end in range(k, len(key) + 1))
        if pattern[p] == "*":
            return any("/" not in key[k:end] and rest(p + 1, end) for end in range(k, len(key) + 1))
        if k == len(key):
            return False
        if pattern[p] == "[":
            start = p + 2 if pattern[p + 1 : p + 2] == "!" else p + 1
            end = pattern.find("]", start + 1)
            if end >= 0:
                return key[k] != "/" and fnmatchcase(key[k], pattern[p : end + 1]) and rest(end + 1, k + 1)
        if pattern[p] == "?":
            return key[k] != "/" and rest(p + 1, k + 1)
        return pattern[p] == key[k] and rest(p + 1, k + 1)

    return rest(0, 0)


KEYS = st.text("ab/-.\n", min_size=1, max_size=8)
PIECES = st.sampled_from(["a", "b", "/", "*", "**", "?", "[ab]", "[!a]", "[", "]", "-", "**/", "/**/", "[a-b]", "."])
PATTERNS = st.lists(PIECES, min_size=1, max_size=6).map("".join).filter(lambda text: "***" not in text)


@given(PATTERNS, st.lists(KEYS, unique=True, min_size=1, max_size=30))
def test_random_patterns_match_what_a_simple_matcher_says(pattern: str, keys: list[str]) -> None:
    wanted = sorted(key for key in keys if not key.endswith("/") and simply(pattern, key))
    assert matches(pattern, *keys) == wanted
    prefix = parse(f"s3://b/{pattern}").prefix
    assert all(key.startswith(prefix) for key in wanted)


def test_the_simple_matcher_and_random_keys_do_meet() -> None:
    """The test above would hold of nothing if hardly anything matched."""
    draw = random.Random(1)
    pieces = ["a", "b", "/", "*", "**", "?", "[ab]", "**/"]
    both = [0, 0]
    for _ in range(3000):
        pattern = "".join(draw.choices(pieces, k=4))
        key = "".join(draw.choices("ab/", k=draw.randint(1, 5)))
        if "***" not in pattern and not key.endswith("/"):
            matched = simply(pattern, key)
            both[matched] += 1
            assert bool(matches(pattern, key)) is matched, (pattern, key)
    assert min(both) > 100
