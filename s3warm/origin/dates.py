"""Dates of HTTP and of S3's XML. `email.utils`, which reads all of HTTP's, costs a cold start 10 ms of imports, and 20 µs each time."""

from __future__ import annotations

__all__ = ["moment", "timestamp"]

_MONTHS = {
    name: number
    for number, name in enumerate(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"])
}
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_BEFORE = tuple(sum(_DAYS[:month]) for month in range(12))  # days of a common year before each month


def timestamp(header: str | None) -> float | None:
    """Seconds since the epoch of an HTTP date (RFC 9110, section 5.6.7); None for what is none.

    Example:
        >>> timestamp("Wed, 21 Oct 2015 07:28:00 GMT")
        1445412480.0
    """
    if not header:
        return None
    found = _fixed(header)
    return _obsolete(header) if found is None else found


def moment(text: str | None) -> float | None:
    """Seconds since the epoch of a date in S3's XML (ISO 8601, in UTC; S3 writes milliseconds); None for what is none.

    Example:
        >>> moment("2015-10-21T07:28:00.250Z")
        1445412480.25
    """
    if not text or not text.isascii() or text[-1] != "Z":
        return None
    marks = text[4:5] + text[7:8] + text[10:11] + text[13:14] + text[16:17]
    numbers = text[:4], text[5:7], text[8:10], text[11:13], text[14:16], text[17:19]
    point, fraction = text[19:20], text[20:-1]
    if marks != "--T::" or not all(number.isdigit() for number in numbers):
        return None
    if text[19:] != "Z" and not (point == "." and fraction.isdigit() and len(fraction) <= 9):
        return None
    year, month, day, hour, minute, second = map(int, numbers)
    whole = _since_epoch((year, month - 1, day), (hour, minute, second))
    return whole if whole is None or point != "." else whole + float(f"0.{fraction}")


def _fixed(header: str) -> float | None:
    """The form that all servers send: `Wed, 21 Oct 2015 07:28:00 GMT`."""
    if len(header) != 29 or (header[3:5], header[25:]) != (", ", " GMT") or not header.isascii():
        return None
    marks = header[7] + header[11] + header[16] + header[19] + header[22]
    month = _MONTHS.get(header[8:11])
    numbers = header[5:7], header[12:16], header[17:19], header[20:22], header[23:25]
    if marks != "   ::" or month is None or not all(number.isdigit() for number in numbers):
        return None
    day, year, hour, minute, second = map(int, numbers)
    return _since_epoch((year, month, day), (hour, minute, second))


def _since_epoch(date: tuple[int, int, int], clock: tuple[int, int, int]) -> float | None:
    """Seconds since the epoch; months count from 0. None for what is in no calendar."""
    (year, month, day), (hour, minute, second) = date, clock
    if not 0 <= month < 12:
        return None
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not (1 <= day <= _DAYS[month] + (month == 1 and leap) and year >= 1 and hour < 24 and minute < 60 and second < 60):
        return None
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 + _BEFORE[month] + (month > 1 and leap) + day
    return float((days - 719_163) * 86_400 + hour * 3600 + minute * 60 + second)  # 1970 began on day 719,163


def _obsolete(header: str) -> float | None:
    """Two older forms, and whatever else can be understood."""
    from datetime import UTC
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(header)
        # A moment of the year 0 or 10000 in UTC raises: nobody could make a date of it.
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None
