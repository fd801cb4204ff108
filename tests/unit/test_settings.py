"""Settings: what each accepts, how it refuses, and which source wins."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from s3warm import ConfigurationError
from s3warm.declared import TABLE
from s3warm.factory import Cache
from s3warm.rules.budget import Share
from s3warm.rules.prefixes import Rule
from s3warm.settings import SWITCHES, Settings, from_environment, resolve, switch
from s3warm.values import Hidden, seconds

MIB = 2**20
NAMES = [setting.name for setting in TABLE]
BUDGETS = ("memory_budget", "disk_budget", "max_memory_object")

ACCEPTED: list[tuple[str, Any, Any]] = [
    ("ttl", None, None),
    ("ttl", "", None),
    ("ttl", 0, 0.0),
    ("ttl", 60, 60.0),
    ("ttl", 0.5, 0.5),
    ("ttl", "60", 60.0),
    ("ttl", " 1.5 ", 1.5),
    ("ttl", timedelta(minutes=2), 120.0),
    ("ttl", float("inf"), float("inf")),
    ("ttl_jitter", 0, 0.0),
    ("ttl_jitter", 0.999, 0.999),
    ("ttl_jitter", "0.25", 0.25),
    ("stale_if_error", 0, 0.0),
    ("stale_if_error", "7200", 7200.0),
    ("stale_if_error", timedelta(days=1), 86400.0),
    ("stale_while_revalidate", "30", 30.0),
    ("stale_while_revalidate", timedelta(minutes=1), 60.0),
    ("negative_ttl", 0, 0.0),
    ("negative_ttl", "2.5", 2.5),
    *(
        (name, given, meant)
        for name in BUDGETS
        for given, meant in [
            (None, None),
            ("", None),
            (0, 0),
            ("0", 0),
            (1, 1),
            (2**40, 2**40),
            ("1048576", MIB),
            ("64MiB", 64 * MIB),
            ("64 mib", 64 * MIB),
            (" 64 MiB ", 64 * MIB),
            ("1.5GiB", 1536 * MIB),
            ("2KiB", 2048),
            ("10b", 10),
            ("1kB", 1000),
            ("1MB", 10**6),
            ("1GB", 10**9),
            ("25%", Share(0.25)),
            (" 12.5 % ", Share(0.125)),
            ("0%", 0),
            ("100%", Share(1.0)),
            (Share(0.3), Share(0.3)),
        ]
    ),
    ("directory", None, None),
    ("directory", "", None),
    ("directory", "/tmp/x", "/tmp/x"),
    ("directory", Path("/tmp/x"), "/tmp/x"),
    ("directory", "/tmp/a/../x/", "/tmp/x"),
    ("directory", "rel", os.path.abspath("rel")),
    ("compression_level", 0, 0),
    ("compression_level", 22, 22),
    ("compression_level", "3", 3),
    ("compression_level", 3.0, 3),
    ("namespace", None, None),
    ("namespace", "", None),
    ("namespace", "team a/ü", "team a/ü"),
    ("namespace", "n" * 200, "n" * 200),
    ("cache_control", "respect", "respect"),
    ("cache_control", "trust", "trust"),
    ("cache_control", "ignore", "ignore"),
    ("verify", "available", "available"),
    ("verify", "require", "require"),
    ("origin", "auto", "auto"),
    ("origin", "boto3", "boto3"),
    ("origin", "lean", "lean"),
    ("rules", (), ()),
    ("rules", None, ()),
    ("rules", "", ()),
    ("rules", {}, ()),
    ("rules", {"s3://b": {"ttl": timedelta(minutes=1)}}, (Rule("s3://b/", 60.0),)),
    ("rules", [Rule("s3://b/x", 5, None, False)], (Rule("s3://b/x", 5.0, None, False),)),
    ("rules", {"s3://b/": {"shared": True}}, (Rule("s3://b/", shared=True),)),
    ("shared_url", None, None),
    ("shared_url", "", None),
    ("shared_url", "rediss://user:password@host:6379", Hidden("rediss://user:password@host:6379")),
    ("shared_secret", None, None),
    ("shared_secret", "", None),
    ("shared_secret", "s" * 16, Hidden("s" * 16)),
    ("shared_secret", "ü" * 8, Hidden("ü" * 8)),
    ("shared_unauthenticated", True, True),
    ("shared_unauthenticated", "1", True),
    ("shared_unauthenticated", "no", False),
    ("shared_max_object", 0, 0),
    ("shared_max_object", "4MiB", 4 * 2**20),
    ("shared_timeout", 1, 1.0),
    ("shared_timeout", "0.5", 0.5),
    ("shared_connect_timeout", timedelta(milliseconds=250), 0.25),
    (
        "rules",
        '{"s3://b/secret": {"disk": false, "stale_if_error": "30"}, "s3://b/": {"ttl": 0}}',
        (Rule("s3://b/secret", None, 30.0, False), Rule("s3://b/", 0.0)),
    ),
]


def refused(name: str, *values: object) -> list[tuple[str, object]]:
    """The setting with each of the values."""
    return [(name, value) for value in values]


NO_DURATIONS: tuple[Any, ...] = (
    -1,
    -0.001,
    "-1",
    "soon",
    "1m",
    float("nan"),
    "nan",
    True,
    [],
    b"60",
    timedelta(seconds=-1),
    10**400,
)
NO_SIZES: tuple[Any, ...] = (-1, "-1", "-64MiB", 1.5, True, "lots", "64XB", "64 Mi B", "MiB", "%", "101%", "-1%", "nan%")
NO_NUMBERS: tuple[Any, ...] = ("nan", "inf", "infMiB", 2**63, "1e300", b"64MiB", [], {}, "1 2")

REFUSED: list[tuple[str, Any]] = [
    *refused("ttl", *NO_DURATIONS),
    *refused("stale_if_error", None, *NO_DURATIONS),
    *refused("stale_while_revalidate", None, *NO_DURATIONS),
    *refused("negative_ttl", None, *NO_DURATIONS),
    *refused("ttl_jitter", -0.1, 1, 1.0, 2, "1", "ten", None, True, float("nan"), float("inf"), timedelta(seconds=0.5)),
    *refused("memory_budget", *NO_SIZES, *NO_NUMBERS),
    *refused("disk_budget", *NO_SIZES, *NO_NUMBERS),
    *refused("max_memory_object", *NO_SIZES, *NO_NUMBERS),
    *refused("directory", 5, b"/tmp/x", "a\0b", [], True),
    *refused("compression_level", -1, 23, 1.5, "1.5", "fast", None, True, float("inf"), []),
    *refused("namespace", 5, b"team", "n" * 201, "\ud800", [], True),
    *refused("cache_control", "Trust", "no-cache", None, "", 1, [], True),
    *refused("verify", "Require", "md5", None, "", 1, [], True),
    *refused("origin", "Boto3", "s3", None, "", 1, [], True),
    *refused(
        "rules", "ttl=5", "[1]", 5, True, [("s3://b/", 5)], {"b/": {}}, {"s3://": {}}, {"s3:///x": {}}, {5: {}}, {"s3://b/": 5}
    ),
    *refused("rules", *({"s3://b/": {"ttl": value}} for value in NO_DURATIONS)),
    *refused("rules", *({"s3://b/": each} for each in ({"disk": 0}, {"disk": "no"}, {"tll": 5}, {"memory": False}, [1]))),
    *refused("rules", {"s3://b/": {"shared": 1}}),
    *refused("shared_url", 5, b"redis://host", "host:6379", "http://host", "redis://user:hunter2@host:port", [], True),
    *refused("shared_secret", 5, b"s" * 16, "s" * 15, [], True),
    *refused("shared_unauthenticated", None, 2, "maybe", [], b"1"),
    *refused("shared_max_object", None, "", "25%", *NO_SIZES, *NO_NUMBERS),
    *refused("shared_timeout", 0, *NO_DURATIONS),
    *refused("shared_connect_timeout", 0, float("inf"), *NO_DURATIONS),
]


def test_the_tables_here_cover_every_setting() -> None:
    assert {name for name, _, _ in ACCEPTED} == {name for name, _ in REFUSED} == set(NAMES)


@pytest.mark.parametrize(("name", "given", "meant"), ACCEPTED)
def test_a_setting_accepts(name: str, given: Any, meant: Any) -> None:
    value = getattr(Settings(**{name: given}), name)
    assert value == meant
    assert type(value) is type(meant)


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_a_setting_refuses_naming_itself_the_value_and_what_it_accepts(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings(**{name: value})
    accepts = next(setting.accepts for setting in TABLE if setting.name == name)
    said, _, why = str(caught.value).partition(f" is not understood; accepted: {accepts}")
    assert said == f"{name}=" + ("'***'" if name in ("shared_url", "shared_secret") else repr(value))
    assert not why or name in ("rules", "shared_url")


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ({"b/": {}}, "the prefix 'b/' must begin with"),
        ({"s3://b/*.json": {}}, "is no pattern"),
        ({"s3://b/": {"tttl": 5}}, "'s3://b/' takes ttl, stale_if_error, disk and shared, not 'tttl'"),
        ({"s3://b/": {"ttl": "x"}}, "ttl of 's3://b/' must be seconds"),
        ({"s3://b/": {"disk": "no"}}, "disk of 's3://b/' must be True or False, not 'no'"),
    ],
)
def test_a_rule_that_cannot_be_meant_says_which(rules: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Settings(rules=rules)


def test_defaults() -> None:
    defaults = Settings()
    assert {name: getattr(defaults, name) for name in NAMES} == {
        "ttl": None,
        "ttl_jitter": 0.1,
        "stale_if_error": 3600.0,
        "stale_while_revalidate": 0.0,
        "negative_ttl": 0.0,
        "memory_budget": None,
        "disk_budget": None,
        "directory": None,
        "max_memory_object": None,
        "compression_level": 1,
        "namespace": None,
        "cache_control": "respect",
        "verify": "available",
        "origin": "auto",
        "rules": (),
        "shared_url": None,
        "shared_secret": None,
        "shared_unauthenticated": False,
        "shared_max_object": 2**20,
        "shared_timeout": 0.02,
        "shared_connect_timeout": 0.05,
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [("tll", "did you mean ttl?"), ("memory_bugdet", "did you mean memory_budget?"), ("xyz", "there are ttl, ttl_jitter, ")],
)
def test_an_unknown_option_is_refused_with_the_nearest_name(name: str, words: str) -> None:
    makers: list[Any] = [Settings, Cache, Settings().replace]
    for make in makers:
        with pytest.raises(ConfigurationError, match=re.escape(f"there is no setting {name!r}; {words}")):
            make(**{name: 1})


@pytest.mark.parametrize(
    ("options", "given", "environ", "ttl"),
    [
        ({}, None, {}, None),
        ({}, None, {"S3WARM_TTL": "3"}, 3.0),
        ({}, Settings(ttl=2), {}, 2.0),
        ({}, Settings(ttl=2), {"S3WARM_TTL": "3"}, 2.0),
        ({}, Settings(), {"S3WARM_TTL": "3"}, None),
        ({"ttl": 1}, None, {"S3WARM_TTL": "3"}, 1.0),
        ({"ttl": 1}, Settings(ttl=2), {}, 1.0),
        ({"ttl": 1}, Settings(ttl=2), {"S3WARM_TTL": "3"}, 1.0),
        ({"ttl": None}, Settings(ttl=2), {}, None),
        ({"ttl": None}, None, {"S3WARM_TTL": "3"}, None),
        ({"namespace": "n"}, None, {"S3WARM_TTL": "3"}, 3.0),
        ({"namespace": "n"}, Settings(ttl=2), {}, 2.0),
    ],
)
def test_options_win_over_settings_and_those_over_the_environment(
    options: Any, given: Settings | None, environ: dict[str, str], ttl: float | None
) -> None:
    assert resolve(given, options, environ).ttl == ttl


def test_the_environment_is_not_even_looked_at_when_settings_are_given(caplog: pytest.LogCaptureFixture) -> None:
    broken = {"S3WARM_TTL": "soon", "S3WARM_TTTL": "1"}
    assert resolve(Settings(), {}, broken) == Settings()
    assert caplog.records == []
    with pytest.raises(ConfigurationError):
        resolve(None, {}, broken)


def test_a_cache_reads_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3WARM_TTL", "7")
    monkeypatch.setenv("S3WARM_DISK_BUDGET", "0")
    with Cache() as cache, Cache(Settings(disk_budget=0)) as other:
        assert (cache.settings.ttl, cache.settings.disk_budget) == (7.0, 0)
        assert other.settings.ttl is None


@pytest.mark.parametrize("given", [{}, "settings", 5, {"ttl": 1}])
def test_settings_must_be_settings(given: Any) -> None:
    with pytest.raises(TypeError, match="settings must be a Settings object or None"):
        resolve(given, {}, {})


@pytest.mark.parametrize(("name", "given", "meant"), [row for row in ACCEPTED if isinstance(row[1], str)])
def test_every_text_that_an_option_takes_is_taken_from_the_environment_too(name: str, given: str, meant: Any) -> None:
    assert getattr(from_environment({f"S3WARM_{name.upper()}": given, "PATH": "/bin", "TTL": "x"}), name) == meant


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_variable_counts_as_not_set(name: str) -> None:
    assert from_environment({f"S3WARM_{name.upper()}": ""}) == Settings()


@pytest.mark.parametrize("name", ["ttl", "memory_budget", "compression_level"])
def test_a_number_too_long_to_print_is_refused_all_the_same(name: str) -> None:
    options: dict[str, Any] = {name: 10**5000}
    with pytest.raises(ConfigurationError, match=rf"{name}=<int> is not understood"):
        Settings(**options)


def test_a_variable_that_cannot_be_understood_is_named_as_it_was_set() -> None:
    with pytest.raises(
        ConfigurationError, match=r"S3WARM_MEMORY_BUDGET='64XB' is not understood; accepted: bytes, a size like"
    ):
        from_environment({"S3WARM_MEMORY_BUDGET": "64XB"})


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("S3WARM_TLL", "S3WARM_TTL"),
        ("S3WARM_MEMORY", "S3WARM_MEMORY_BUDGET"),
        ("S3WARM_DISABLE", "S3WARM_DISABLED"),
        ("S3WARM_OFLINE", "S3WARM_OFFLINE"),
        ("S3WARM_TTL_JITER", "S3WARM_TTL_JITTER"),
    ],
)
def test_an_unknown_variable_is_one_warning_with_the_nearest_name(
    variable: str, nearest: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert from_environment({variable: "1", "S3WARM_TTL": "5", "S3WARM_DISABLED": "0"}).ttl == 5.0
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("s3warm", logging.WARNING)
    assert variable in record.getMessage()
    assert f"did you mean {nearest}?" in record.getMessage()
    assert vars(record)["s3warm_variable"] == variable


def test_each_unknown_variable_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    from_environment({"S3WARM_TLL": "1", "S3WARM_NAMESPCE": "1"})
    assert [vars(record)["s3warm_variable"] for record in caplog.records] == ["S3WARM_NAMESPCE", "S3WARM_TLL"]


def test_the_options_for_type_checkers_are_the_settings() -> None:
    from s3warm.options import Options

    assert list(Options.__annotations__) == NAMES == list(Settings.__slots__)
    assert list(get_type_hints(Settings, localns={"Rule": Rule, "Share": Share})) == NAMES
    assert Options.__total__ is False


@pytest.mark.parametrize("setting", TABLE, ids=NAMES)
def test_every_row_of_the_table_explains_itself_and_accepts_its_own_default(setting: Any) -> None:
    assert setting.accepts
    assert setting.meaning
    assert setting.parse(setting.default) == setting.default


@pytest.mark.parametrize("name", [*NAMES, "new"])
def test_settings_are_immutable_and_say_how_to_change_them(name: str) -> None:
    settings = Settings(ttl=60)
    with pytest.raises(AttributeError, match=rf"immutable; use settings\.replace\({name}=\.\.\.\)"):
        setattr(settings, name, 1)
    assert settings == Settings(ttl=60)


def test_a_setting_cannot_be_deleted() -> None:
    settings = Settings(ttl=60)
    with pytest.raises(AttributeError):
        del settings.ttl
    assert settings.ttl == 60.0


def test_replace_changes_what_it_names_and_checks_it() -> None:
    first = Settings(ttl=60, namespace="n")
    second = first.replace(ttl=None, memory_budget="25%")
    assert (second.ttl, second.namespace, second.memory_budget) == (None, "n", Share(0.25))
    assert first == Settings(ttl=60, namespace="n")
    with pytest.raises(ConfigurationError, match="ttl=-1"):
        first.replace(ttl=-1)


def test_the_repr_shows_what_differs_from_the_defaults_and_can_be_evaluated() -> None:
    assert repr(Settings()) == "Settings()"
    settings = Settings(ttl=60, memory_budget="25%", namespace="n")
    assert repr(settings) == "Settings(ttl=60.0, memory_budget=Share(fraction=0.25), namespace='n')"
    assert eval(repr(settings)) == settings


def test_equal_settings_are_equal_and_hash_alike() -> None:
    assert Settings(ttl=60) == Settings(ttl="60")  # type: ignore[arg-type]
    assert len({Settings(ttl=60), Settings(ttl=60.0), Settings(ttl=61)}) == 2
    assert Settings() != Settings(ttl=0)
    assert Settings() != "Settings()"


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda settings: pickle.loads(pickle.dumps(settings))])
def test_settings_travel(again: Any) -> None:
    settings = Settings(ttl=60, memory_budget="25%", directory="/tmp/x")
    assert again(settings) == settings


@pytest.mark.parametrize(
    ("value", "on"),
    [
        (None, False),
        *((text, False) for text in ("", "0", "false", "No", "OFF", " 0 ")),
        *((text, True) for text in ("1", "true", "YES", "on", " 1 ")),
    ],
)
@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_on_or_off(name: str, value: str | None, on: bool) -> None:
    assert switch(name, {} if value is None else {name: value}) is on


@pytest.mark.parametrize("value", ["2", "maybe", "-"])
def test_a_switch_that_is_neither_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"S3WARM_DISABLED='{value}' is not understood; accepted: 1 or 0"):
        switch("S3WARM_DISABLED", {"S3WARM_DISABLED": value})


def test_the_switches_are_no_settings_and_cause_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert from_environment(dict.fromkeys(SWITCHES, "1")) == Settings()
    assert caplog.records == []


def test_disabled_turns_both_tiers_off_whatever_the_code_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3WARM_DISABLED", "1")
    with Cache(memory_budget="64MiB", disk_budget="64MiB") as cache:
        assert cache.budgets().memory.bytes == 0
        assert cache.budgets().disk is None


@pytest.mark.parametrize("budget", [0, "0", "0%"])
def test_nothing_at_all_turns_the_disk_tier_off(budget: int | str) -> None:
    with Cache(disk_budget=budget, memory_budget="1MiB") as cache:
        assert cache.budgets().disk is None


@pytest.mark.parametrize("value", [-1, float("nan"), timedelta(seconds=-1), pytest.param(10**400, id="10**400")])
def test_a_duration_of_a_call_that_makes_no_sense_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(value)


@pytest.mark.parametrize("value", ["60", None, True, b"1", [], object()])
def test_a_duration_of_a_call_that_is_none_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="a duration must be seconds or a timedelta"):
        seconds(value)


@pytest.mark.parametrize(("argument", "value"), [("clock", 5), ("on_event", "print")])
def test_what_must_be_called_is_refused_if_it_cannot_be(argument: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{argument} must be a function"):
        Cache(**{argument: value})


def test_neither_a_password_nor_a_secret_is_printed() -> None:
    settings = Settings(shared_url="rediss://user:hunter2@host:6379", shared_secret="correct horse battery")
    printed = f"{settings!r} {settings}"
    assert "hunter2" not in printed
    assert "horse" not in printed
    copied = pickle.loads(pickle.dumps(settings))
    assert copied == settings
    assert "hunter2" not in repr(copied)
