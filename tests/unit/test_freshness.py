"""Freshness: when an answer may be used, as tables and as properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3warm.rules.freshness import (
    CacheControl,
    expires_at,
    is_fresh,
    lifetime,
    may_serve_stale,
    never_fresh,
    parse_cache_control,
)

NOTHING = CacheControl()
MOST = float(2**31)

times = st.floats(0, 4e9)
durations = st.floats(0, 1e7)
shares = st.floats(0, 1, exclude_max=True)
headers = st.one_of(
    st.none(),
    st.text(),
    st.lists(
        st.sampled_from(["no-cache", "no-store", "max-age=60", "max-age=0", "public", "must-revalidate", "max-age", "=", ""])
    ).map(",".join),
)


@pytest.mark.parametrize(
    ("header", "control"),
    [
        (None, NOTHING),
        ("", NOTHING),
        (" , ,", NOTHING),
        ("public", NOTHING),
        ("max-age=60", CacheControl(60.0)),
        ("MAX-AGE=60", CacheControl(60.0)),
        ("max-age=0", CacheControl(0.0)),
        ("public,max-age=60,immutable", CacheControl(60.0)),
        ("  max-age=60  ;", CacheControl(0.0)),
        ('max-age="60"', CacheControl(60.0)),  # section 5.2: quoted arguments are to be understood too
        ("max-age=31536000", CacheControl(31536000.0)),
        ("no-cache", CacheControl(no_cache=True)),
        ('no-cache="Set-Cookie"', CacheControl(no_cache=True)),
        ("no-store", CacheControl(no_store=True)),
        ("must-revalidate", CacheControl(must_revalidate=True)),
        ("No-Cache, NO-STORE, Must-Revalidate", CacheControl(None, no_cache=True, no_store=True, must_revalidate=True)),
        ("s-maxage=10, private", NOTHING),  # for shared caches
        ("x-max-age=10", NOTHING),
    ],
)
def test_cache_control_is_read(header: str | None, control: CacheControl) -> None:
    assert parse_cache_control(header) == control


@pytest.mark.parametrize(
    ("header", "age"),
    [
        ("max-age", 0.0),
        ("max-age=", 0.0),
        ("max-age=-1", 0.0),
        ("max-age=+60", 0.0),
        ("max-age=1.5", 0.0),
        ("max-age=1e3", 0.0),
        ("max-age=60s", 0.0),
        ("max-age=60 60", 0.0),
        ("max-age=soon", 0.0),
        ("max-age=٣", 0.0),
        ("max-age=²", 0.0),
        ("max-age=60, max-age=10", 60.0),
        ("max-age=x, max-age=10", 0.0),
        ("max-age=2147483648", MOST),
        ("max-age=99999999999", MOST),
        ("max-age=" + "9" * 10_000, MOST),
        ("max-age=000000000000060", 60.0),  # 1*DIGIT: zeros in front are allowed
    ],
)
def test_a_malformed_max_age_is_stale_and_an_endless_one_is_capped(header: str, age: float) -> None:
    assert parse_cache_control(header).max_age == age


def test_commas_in_quoted_strings_separate_nothing() -> None:
    assert parse_cache_control('ext="a, max-age=5, no-store, b", no-cache') == CacheControl(no_cache=True)


@given(headers)
def test_no_header_makes_the_parser_fail(header: str | None) -> None:
    age = parse_cache_control(header).max_age
    assert age is None or 0 <= age <= MOST


@pytest.mark.parametrize(
    ("mode", "max_age", "seconds"),
    [
        ("respect", None, 300.0),
        ("respect", 60.0, 60.0),
        ("respect", 0.0, 0.0),
        ("respect", 31536000.0, 300.0),
        ("trust", None, 300.0),
        ("trust", 60.0, 60.0),
        ("trust", 31536000.0, 31536000.0),
        ("ignore", None, 300.0),
        ("ignore", 60.0, 300.0),
        ("ignore", 31536000.0, 300.0),
    ],
)
def test_max_age_shortens_the_ttl_and_lengthens_it_only_where_it_is_trusted(
    mode: str, max_age: float | None, seconds: float
) -> None:
    assert lifetime(300.0, CacheControl(max_age), mode) == seconds


@pytest.mark.parametrize(
    ("jitter", "draw", "end"), [(0.0, 0.9, 1300.0), (0.1, 0.0, 1300.0), (0.1, 0.5, 1285.0), (0.5, 0.5, 1225.0)]
)
def test_jitter_takes_its_share_of_the_ttl(jitter: float, draw: float, end: float) -> None:
    assert expires_at(1000.0, 300.0, NOTHING, "respect", jitter=jitter, draw=draw) == end


@pytest.mark.parametrize("mode", ["respect", "trust"])
def test_no_cache_is_never_fresh_unless_it_is_ignored(mode: str) -> None:
    control = CacheControl(60.0, no_cache=True)
    assert expires_at(1000.0, 300.0, control, mode, jitter=0.0, draw=0.0) == never_fresh(1000.0)
    assert expires_at(1000.0, 300.0, control, "ignore", jitter=0.0, draw=0.0) == 1300.0


@given(times, durations, st.one_of(st.none(), durations), st.sampled_from(["respect", "trust", "ignore"]), shares, shares)
def test_jitter_never_lengthens_and_never_ends_before_the_beginning(  # noqa: PLR0917  # Hypothesis gives them in order
    validated_at: float, ttl: float, max_age: float | None, mode: str, jitter: float, draw: float
) -> None:
    control = CacheControl(max_age)
    end = expires_at(validated_at, ttl, control, mode, jitter=jitter, draw=draw)
    assert validated_at <= end <= validated_at + lifetime(ttl, control, mode)


@pytest.mark.parametrize(
    ("now", "bound", "fresh"),
    [
        (1000.0, None, True),
        (1299.999, None, True),
        (1300.0, None, False),
        (5000.0, None, False),
        (999.999, None, False),  # the clock was set back
        (0.0, None, False),
        (1000.0, 0.0, False),
        (1059.9, 60.0, True),
        (1060.0, 60.0, False),
        (1300.0, 600.0, True),
        (1600.0, 600.0, False),
        (999.0, 600.0, False),
        (1e12, float("inf"), True),
    ],
)
def test_fresh_from_the_validation_up_to_but_not_including_the_end(now: float, bound: float | None, fresh: bool) -> None:
    assert is_fresh(1000.0, 1300.0, now, bound) is fresh


@given(times, st.one_of(st.none(), durations), times)
def test_what_must_be_revalidated_is_fresh_at_no_time_and_for_no_bound(
    validated_at: float, bound: float | None, now: float
) -> None:
    assert not is_fresh(validated_at, never_fresh(validated_at), now, bound)


@given(times, durations, times, durations)
def test_a_bound_is_the_greatest_age_that_is_answered(validated_at: float, ttl: float, now: float, bound: float) -> None:
    if is_fresh(validated_at, validated_at + ttl, now, bound):
        assert validated_at <= now
        assert now - validated_at <= bound


@given(times, st.floats(0, 4e9), durations)
def test_setting_the_clock_back_before_the_validation_is_never_fresh(validated_at: float, ttl: float, back: float) -> None:
    now = validated_at - back
    assert is_fresh(validated_at, validated_at + ttl, now) <= (now == validated_at)


def test_a_pinned_version_is_fresh_as_long_as_no_bound_is_given() -> None:
    assert is_fresh(1000.0, float("inf"), 1e12)
    assert not is_fresh(1000.0, float("inf"), 2000.0, 60.0)


@pytest.mark.parametrize(
    ("control", "mode", "now", "may"),
    [
        (NOTHING, "respect", 1300.0, True),
        (NOTHING, "respect", 1399.9, True),
        (NOTHING, "respect", 1400.0, False),
        (NOTHING, "respect", 900.0, True),
        (CacheControl(no_cache=True), "respect", 1301.0, False),
        (CacheControl(no_cache=True), "trust", 1301.0, False),
        (CacheControl(no_cache=True), "ignore", 1301.0, True),
        (CacheControl(must_revalidate=True), "respect", 1301.0, False),
        (CacheControl(must_revalidate=True), "trust", 1301.0, False),
        (CacheControl(must_revalidate=True), "ignore", 1301.0, True),
        (CacheControl(60.0), "respect", 1301.0, True),
    ],
)
def test_a_stale_answer_stands_in_for_a_while_unless_that_is_forbidden(
    control: CacheControl, mode: str, now: float, may: bool
) -> None:
    assert may_serve_stale(1300.0, now, 100.0, control, mode) is may


def test_nothing_stands_in_once_it_is_expired_if_stale_if_error_is_zero() -> None:
    assert not may_serve_stale(1300.0, 1300.0, 0.0, NOTHING, "respect")
