"""S3's events in a Lambda handler: what the fleet is told of, and what comes again when it could not be."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

import s3warm
from s3warm.default import making
from s3warm.errors import FleetUnavailableError
from s3warm.testing import fake_s3
from tests.support import events

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENT = events.announcement("cfg", "a b.json", version_id="v2")


class Fleet:
    """Stands in for the fleet behind the default cache: notes what it is told, and is deaf to the keys in `deaf`."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str | None]] = []
        self.deaf: set[str] = set()

    def invalidate(
        self,
        cache: s3warm.Cache,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        request: object = None,
        everywhere: bool = False,
    ) -> None:
        assert cache is s3warm.default_cache()
        assert everywhere
        assert request is None
        self.told.append((bucket, key, version_id))
        if key in self.deaf:
            raise FleetUnavailableError(f"s3://{bucket}/{key}: the fleet does not listen", bucket=bucket, key=key)


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    fleet = Fleet()
    with fake_s3(), mock.patch.object(s3warm.Cache, "invalidate", autospec=True, side_effect=fleet.invalidate):
        yield fleet


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert all(record.name == "s3warm" and record.levelno == logging.WARNING for record in caplog.records)
    return [record.getMessage() for record in caplog.records]


def answer(*message_ids: str) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in message_ids]}


def test_the_whole_fleet_is_told_the_name_that_readers_ask_for(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    assert s3warm.notifications.handler(EVENT, None) == answer()
    assert fleet.told == [("cfg", "a b.json", None)]
    assert warnings(caplog) == []


def test_a_version_that_is_gone_is_dropped_too(fleet: Fleet) -> None:
    s3warm.notifications.invalidate(events.notification("cfg", "k", "ObjectRemoved:Delete", version_id="v1"))
    assert fleet.told == [("cfg", "k", None), ("cfg", "k", "v1")]


def test_each_object_is_told_once(fleet: Fleet) -> None:
    batch = [events.message(f"m{number}", events.announcement("cfg", key)) for number, key in enumerate("abab")]
    assert s3warm.notifications.invalidate({"Records": batch}) == answer()
    assert fleet.told == [("cfg", "a", None), ("cfg", "b", None)]


def test_what_changes_nothing_is_told_to_nobody(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    batch = [events.message("m1", events.TEST), events.message("m2", events.announcement("cfg", "k", "Object Tags Added"))]
    assert s3warm.notifications.invalidate({"Records": batch}) == answer()
    assert fleet.told == []
    assert warnings(caplog) == []


def test_messages_that_could_not_be_told_come_again_alone(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    fleet.deaf = {"b"}
    batch = [events.message(f"m{number}", events.announcement("cfg", key)) for number, key in enumerate("abcb")]
    assert s3warm.notifications.invalidate({"Records": batch}) == answer("m1", "m3")
    assert [key for _, key, _ in fleet.told] == ["a", "b", "c"]
    (warning,) = warnings(caplog)
    assert warning.startswith("of 1 of 3 objects the fleet could not be told")
    assert "s3://cfg/b: the fleet does not listen" in warning


def test_messages_that_are_not_understood_come_again_alone(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    batch = [events.message("m1", "a password"), events.message("m2", EVENT), events.message("m3", {"secret": "word"})]
    assert s3warm.notifications.invalidate({"Records": batch}) == answer("m1", "m3")
    assert fleet.told == [("cfg", "a b.json", None)]
    (warning,) = warnings(caplog)
    assert "a message of 10 characters that is not JSON; dict with the keys 'secret'; accepted: " in warning
    assert "word" not in warning.replace("secret", "")


def test_without_messages_an_error_comes_after_all_was_tried(fleet: Fleet) -> None:
    fleet.deaf = {"a", "c"}
    pipe = [events.announcement("cfg", key) for key in "abcd"]
    with pytest.raises(FleetUnavailableError, match="does not listen"):
        s3warm.notifications.invalidate(pipe)
    assert [key for _, key, _ in fleet.told] == list("abcd")


def test_without_messages_what_is_not_understood_is_an_error_after_the_rest(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match="dict with the keys 'detail'"):
        s3warm.notifications.invalidate([{"detail": 1}, EVENT])
    assert fleet.told == [("cfg", "a b.json", None)]
    assert len(warnings(caplog)) == 1
    fleet.deaf = {"a b.json"}
    with pytest.raises(FleetUnavailableError):  # for which it helps to come again
        s3warm.notifications.invalidate([{"detail": 1}, EVENT])


def test_without_a_shared_tier_a_change_is_a_mistake() -> None:
    with making(s3warm.Cache, s3warm.Cache(disk_budget=0)), pytest.raises(s3warm.ConfigurationError, match="shared"):
        s3warm.notifications.invalidate({"Records": [events.message("m1", EVENT)]})


def test_it_is_loaded_when_it_is_used() -> None:
    code = (
        "import sys, s3warm\n"
        "later = {'s3warm.notifications', 's3warm.changes', 'json', 'urllib.parse'}\n"
        "assert not later & sys.modules.keys(), sys.modules.keys()\n"
        "s3warm.Stats\n"
        "assert 's3warm.changes' not in sys.modules\n"
        "s3warm.notifications.handler({'Event': 's3:TestEvent'}, None)\n"
        "assert 's3warm.changes' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
