"""HTTP dates. `email.utils`, which reads them all, costs a cold start 10 ms of imports, and 20 µs each time."""

from __future__ import annotations

__all__ = ["timestamp"]

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
