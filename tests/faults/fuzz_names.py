"""Targets: what users write: objects, patterns, settings and command lines."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any, Self
from unittest import mock

from s3warm.cli import fetch as cli_fetch
from s3warm.cli import simulate as cli_simulate
from s3warm.cli.main import main
from s3warm.declared import TABLE
from s3warm.errors import ConfigurationError, ObjectNotFoundError
from s3warm.globbing import parse
from s3warm.keys import ObjectKey, locate, locate_tree
from s3warm.rules.budget import Share
from s3warm.settings import Settings, resolve, switch
from s3warm.simulation.trace import Trace
from s3warm.sources import place, several
from tests.faults.fuzz import Choices, target
from tests.faults.fuzz_files import scratch

_URIS = (
    "s3://models/bert/config.json",
    "s3://b/a//../b%20+",
    "s3://arn:aws:s3:eu-west-1:1:accesspoint/p/key",
    "s3://B_.-/é🪣",
    "s3://b/k/",
)
_THINGS: tuple[Any, ...] = (
    None,
    b"s3://b/k",
    5,
    ("b", "k"),
    ("b", None),
    ("b",),
    ("s3://b/k", "k"),
    [],
    ("b", "k", "v"),
    (1, 2),
    {"a": 1},
)


def _check(found: ObjectKey) -> None:
    assert type(found.bucket) is type(found.key) is str
    assert found.bucket
    assert 0 < len(found.key.encode()) <= 1024
    if not found.bucket.startswith("arn:"):
        assert found.bucket.isascii()
        assert not {*"/:@ \r\n\0"} & {*found.bucket}
        assert locate(str(found._replace(version_id=None))) == found._replace(version_id=None, tree=False)
    assert found.version_id is None or found.version_id.isprintable()
    assert locate(found.bucket, found.key, found.version_id) == found._replace(tree=False)


@target("objects", 80)
def objects(choices: Choices) -> bool:
    """`locate`, `locate_tree`, `place` and `several` raise TypeError and ValueError."""
    uri = choices.one(_URIS)
    whole = choices.sometimes(3)
    if not whole:
        uri = (
            choices.damaged_text(uri, surrogates=True)
            if choices.sometimes(2)
            else f"s3://{choices.word(6)}/{choices.text(20, surrogates=True)}"
        )
    long = choices.one((1, 1, 1, 1, 1, 1, 100, 600))
    uri = uri + "é" * long if long > 1 else uri
    thing = choices.one(_THINGS) if choices.sometimes(4) else uri
    way = choices.below(5)
    choices.given = (way, thing)
    try:
        if way == 0:
            _check(locate(thing))
        elif way == 1:
            bucket, _, key = uri.removeprefix("s3://").partition("/")
            _check(locate(bucket, choices.one((key, key, thing)), choices.one((None, "v1", "null", choices.text(8)))))
        elif way == 2:
            found = locate_tree(thing)
            assert found.tree
            assert found.key.endswith("/")
            _check(found)
        elif way == 3:
            found = place(thing)  # type: ignore[assignment] # none of them can be called
            assert not found.key.endswith("/")
            _check(found)
        else:
            asked = choices.one(([thing, uri], (thing, uri), [uri, uri], thing))
            for each in several(asked).values():
                _check(each)
    except (TypeError, ValueError) as error:
        assert not (whole and thing is uri and way == 0 and long == 1)
        str(error).encode("utf-8", "surrogatepass")
        return False
    return True


_PATTERNS = ("*", "?", "**", "**/", "[a-c]", "[!a]", "[", "]", "[]a]", "[z-a]", "[a-", "!", "a", "b", "/", ".", "-", "\\", "(", "$", "a/b", "[[:x:]]")  # fmt: skip


@target("patterns", 60)
def patterns(choices: Choices) -> bool:
    """`parse` raises TypeError and ValueError."""
    key = "".join(choices.some(_PATTERNS, 6)) + (choices.text(4, surrogates=True) if choices.sometimes(4) else "")
    pattern = choices.one(("s3://b/", "s3://data--x-s3/", "s3://b/", "s3://b*/", "", "s3:/")) + key
    names = [choices.text(3), *("".join(choices.some(("a", "b", "/", "c", ".", "\n"), 8)) for _ in range(4)), key]
    choices.given = (pattern, names)
    try:
        parsed = parse(pattern)
    except (TypeError, ValueError):
        return False
    key = pattern.removeprefix("s3://").partition("/")[2]
    names.append(key)
    assert key.startswith(parsed.prefix)
    found = parsed.uris(names)
    assert found == sorted(found)
    for uri in found:
        name = uri.removeprefix(f"s3://{parsed.bucket}/")
        assert name in names
        assert name.startswith(parsed.prefix), "it would not have been listed"
        assert not name.endswith("/")
    if not {*"*?["} & {*key} and not key.endswith("/"):
        assert found, "without a wildcard it is the key itself"
    return True


# -- settings --------------------------------------------------------------------------------------------------------------------

_VALUES: tuple[Any, ...] = (
    None, "", "60", 60, 0, 0.5, "0.5", "64MiB", "25%", "1e3kb", " 5 % ", "100.5%", "-1", -1, 10**400, -(10**5000), 10**5000, float("inf"), float("nan"),
    float("-inf"), "inf", "nan", "٣", "²", "1_0", "9" * 5000, "1e400", True, False, [], {}, b"x", "respect", "trust", "require", "lean", "boto3", "auto",
    "/tmp/x", "~", "~/x", "~nobody-here/x", "a\0b", "\ud800", "\udc80", "x" * 201, Path("p"), Share(0.5), Share(2.0), Share(0.0), object, 3 + 0j,
)  # fmt: skip


def _check_settings(found: Settings) -> None:
    assert found.ttl is None or found.ttl >= 0
    assert 0 <= found.ttl_jitter < 1
    assert found.stale_if_error >= 0
    for size in (found.memory_budget, found.disk_budget, found.max_memory_object):
        assert size is None or (0 < size.fraction <= 1 if isinstance(size, Share) else type(size) is int and 0 <= size < 2**63)
    assert found.directory is None or (os.path.isabs(found.directory) and "\0" not in found.directory)
    assert 0 <= found.compression_level <= 22
    assert found.namespace is None or (0 < len(found.namespace) <= 200 and found.namespace.encode())
    assert (found.cache_control, found.verify, found.origin) in {
        (control, verify, origin)
        for control in ("respect", "trust", "ignore")
        for verify in ("available", "require")
        for origin in ("auto", "boto3", "lean")
    }
    assert found.replace() == found
    assert hash(found.replace()) == hash(found)
    assert repr(found)


@target("settings", 60)
def settings(choices: Choices) -> bool:
    """`resolve`, `Settings` and `switch` raise ConfigurationError, whose message names what is wrong."""
    names = [setting.name for setting in TABLE]
    given = {choices.one(names): choices.one(_VALUES) for _ in range(choices.below(2) + 1)}
    if choices.sometimes(3):
        given = {
            name: choices.damaged_text(value, surrogates=True) if isinstance(value, str) else value
            for name, value in given.items()
        }
    if choices.sometimes(32):
        given[choices.word(8) or "tll"] = "1"
    environ = {f"S3WARM_{name.upper()}": value for name, value in given.items() if isinstance(value, str)}
    way = choices.below(3)
    choices.given = (way, given)
    try:
        if way == 0:
            _check_settings(resolve(None, given, environ))  # type: ignore[arg-type] # whatever users write
        elif way == 1:
            _check_settings(resolve(None, {}, environ))
        else:
            value = choices.one(("1", "0", "on", "No", "", "2", choices.text(4)))
            assert switch("S3WARM_OFFLINE", {"S3WARM_OFFLINE": value}) == (value.strip().lower() in ("1", "true", "yes", "on"))
    except ConfigurationError as error:
        assert way == 2 or any(name in str(error).lower() for name in given)  # noqa: PT017 - it is one of two good ends
        return False
    return True


# -- the command line ------------------------------------------------------------------------------------------------------------


class Nowhere:
    """A cache that has nothing."""

    def __init__(self, settings: Settings, **_: Any) -> None:
        self.settings = settings

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def path(self, uri: str) -> Path:
        where = locate(uri)
        raise ObjectNotFoundError(f"{where} is nowhere", bucket=where.bucket, key=where.key)

    def tree(self, uri: str) -> Path:
        locate_tree(uri)
        raise ObjectNotFoundError(f"{uri} is nowhere")


_WORDS = ("fetch", "simulate", "--json", "--budget", "5%", "nan%", "%", "--policy", "lru", "fifo", "--seed", "1", "--seed=٣", "--output", "/tmp/x", "s3://b/k",
          "s3://b/t/", "s3://b", "--directory", "--help", "--", "-", "--x", "TRACE", "", "%s", "--bud=5%", "@file", "a\0b", "\udc80", "9" * 5000)  # fmt: skip


@target("command lines", 4)
def command_lines(choices: Choices) -> bool:
    """`main` returns 0, 1 or 2, and argparse ends the process with 0 or 2."""
    trace = scratch().write("cli.csv", b"1,a,10\n2,b,20\n3,a,10\n")
    words = [choices.one(("fetch", "simulate", "simulate", choices.word(6)))]
    likely = (
        ("s3://b/k", "s3://b/t/", "--output", "/tmp/x")
        if words == ["fetch"]
        else ("--budget", "5%", "--policy", "lru", "TRACE")
    )
    words += choices.some(_WORDS if choices.sometimes(2) else likely, 4)
    words = [choices.damaged_text(word, surrogates=True) if choices.sometimes(8) else word for word in words]
    words = [trace if word == "TRACE" else word for word in words]
    choices.given = words
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace")
    with (
        out,
        err,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(cli_fetch, "Cache", Nowhere),
        mock.patch.object(cli_simulate, "generate_all", return_value=[Trace("generated", [("a", 1)])]),  # it takes a minute
    ):
        try:
            status = main(words)
        except SystemExit as end:
            assert end.code in (0, 2)  # noqa: PT017 - it is one of two good ends
            return False
        assert status in (0, 1, 2)
        if status:
            err.flush()
            said = err.buffer.getvalue().decode()
            assert "s3warm: " in said
            assert "Traceback" not in said
        return status < 2
