"""One hour without S3, on a clock of the test's: what is asked, served, raised and logged, counted."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest

from s3warm import OriginUnavailableError
from s3warm.origin.base import Request
from s3warm.rules.outage import retry_after
from s3warm.testing import FakeCache, FakeS3
from tests.faults.tried import SOAK, note

HOUR = 3600.0
TTL = 60.0
STEP = 0.1 if SOAK else 1.0  # seconds between calls
KNOWN = [f"s3://cfg/{number}.json" for number in range(20)]
UNKNOWN = [f"s3://cfg/new-{number}.json" for number in range(5)]


def pauses(until: float) -> int:
    """Requests of one who asks again as soon as the pause is over, in the seconds from the first failure on."""
    at, failures = 0.0, 0
    while at < until:
        failures += 1
        at += retry_after(failures)
    return failures


@pytest.mark.faults
def test_an_hour_without_s3(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Calls among 20 objects that are held and 5 that are not."""
    caplog.set_level(logging.DEBUG, "s3warm")
    s3 = FakeS3({uri: uri.encode() for uri in (*KNOWN, *UNKNOWN)})
    asked: list[Request] = []
    chance = random.Random(1)
    calls = stale = fresh = refused = 0
    with FakeCache(s3, directory=tmp_path, ttl=TTL, stale_if_error=HOUR) as cache:
        for uri in KNOWN:
            cache.get(uri)
        s3.advance(TTL)
        s3.before_answer = asked.append
        s3.down = True
        began = s3.now
        while s3.now < began + HOUR:
            calls += 1
            uri = chance.choice([*KNOWN, *KNOWN, *UNKNOWN])
            try:
                entry = cache.entry(uri)
            except OriginUnavailableError:
                refused += 1
                assert uri in UNKNOWN
            else:
                stale += entry.stale
                fresh += not entry.stale
                assert entry.body == uri.encode()
            s3.advance(STEP)
        stats = cache.stats()
        during = list(caplog.records)
        # Those that are asked for the first time are asked at once; apart from them, one request at the end of each pause.
        bound = pauses(HOUR) + len(UNKNOWN)
        assert len(asked) <= bound
        assert len(asked) > bound - 2 * len(UNKNOWN), "and S3 is asked whenever a pause is over"
        assert {request.object.key for request in asked} >= {uri.rpartition("/")[2] for uri in UNKNOWN}
        assert (fresh, stats.stale_served, stats.errors) == (0, stale, refused)
        assert stale + refused == calls
        assert [record.levelname for record in during] == ["WARNING"]
        assert "S3 cannot be reached for bucket cfg" in during[0].message

        # Past stale_if_error nothing stands in any more; then it is over, which is said once.
        s3.advance(31)
        with pytest.raises(OriginUnavailableError):
            cache.get(KNOWN[0])
        s3.down = False
        s3.advance(31)
        for uri in (*KNOWN, *UNKNOWN):
            assert not cache.entry(uri).stale
        assert [record.getMessage() for record in caplog.records[1:]] == ["S3 answers again for bucket cfg"]
        assert caplog.records[1].__dict__["s3warm_count"] == len(asked) - len(KNOWN) - len(UNKNOWN)
    note(
        "outage",
        f"3,600 s of a simulated clock, {calls:,} calls",
        f"{len(asked) - len(KNOWN) - len(UNKNOWN)} requests at S3, {stale:,} stale copies, {refused:,} errors where there was no copy, "
        "one WARNING, and one when it was over",
    )
