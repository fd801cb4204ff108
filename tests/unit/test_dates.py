"""HTTP dates: what the standard library makes of them, without its price."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3warm.origin import dates
from s3warm.origin.dates import moment, timestamp

MOMENTS = st.integers(-62_135_510_400, 253_402_128_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(MOMENTS)
def test_each_moment_is_that_of_the_standard_library(moment: datetime) -> None:
    header = format_datetime(moment.replace(microsecond=0), usegmt=True)
    assert timestamp(header) == moment.replace(microsecond=0).timestamp()


@given(MOMENTS)
def test_the_usual_form_is_understood_without_it(moment: datetime) -> None:
    assert dates._fixed(format_datetime(moment, usegmt=True)) is not None


@given(st.text(max_size=40) | st.from_regex(r"\A[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\Z"))
def test_what_is_no_date_is_none_and_never_an_error(header: str) -> None:
    try:
        moment = parsedate_to_datetime(header)
        expected = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        expected = None
    assert timestamp(header) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 29 Feb 2024 23:59:59 GMT", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC).timestamp()),
        ("Wed, 29 Feb 2023 00:00:00 GMT", None),
        ("Thu, 29 Feb 1900 00:00:00 GMT", None),
        ("Sunday, 06-Nov-94 08:49:37 GMT", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp()),
        ("Sun Nov  6 08:49:37 1994", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp()),
        ("Wed, 21 Oct 2015 09:28:00 +0200", datetime(2015, 10, 21, 7, 28, tzinfo=UTC).timestamp()),
        ("Wed, 21 Oct 2015 24:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -0100", None),  # of no year that a datetime can say
        ("yesterday", None),
    ],
)
def test_the_forms_that_there_are(header: str | None, expected: float | None) -> None:
    assert timestamp(header) == expected


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_moment_of_a_listing_is_read(written: datetime) -> None:
    text = written.strftime("%Y").zfill(4) + written.strftime("-%m-%dT%H:%M:%S")
    assert moment(f"{text}Z") == written.replace(microsecond=0).timestamp()
    assert moment(f"{text}.{written.microsecond:06}Z") == pytest.approx(written.timestamp(), abs=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "Z", "yesterday", "2015-10-21", "2015-10-21T07:28:00", "2015-10-21T07:28:00+00:00", "2015-10-21 07:28:00Z"),
        *(
            "2015-00-21T07:28:00Z",
            "2015-13-21T07:28:00Z",
            "2015-02-29T07:28:00Z",
            "2015-10-21T24:28:00Z",
            "2015-10-21T07:28:00.Z",
        ),
        *("2015-10-21T07:28:00.1_0Z", "٢٠١٥-10-21T07:28:00Z", "0000-10-21T07:28:00Z", "2015-10-21T07:28:00.0000000000Z"),
    ],
)
def test_what_is_no_moment(text: str | None) -> None:
    assert moment(text) is None
