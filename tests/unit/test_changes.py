"""Which objects an event of S3 says have changed. The shapes are those of AWS's documentation, whose pages s3warm/changes.py names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3warm.changes import Change, NotUnderstoodError, changed
from s3warm.keys import ObjectKey, locate
from tests.support import events

CHANGE = Change("cfg", "a b+c.json", "v1")
NOTIFIED = events.notification("cfg", "a+b%2Bc.json", version_id="v1")
ANNOUNCED = events.announcement("cfg", "a b+c.json", version_id="v1")
SHAPES = {"S3's own": NOTIFIED, "EventBridge's": ANNOUNCED}

every_shape = pytest.mark.parametrize("event", SHAPES.values(), ids=SHAPES)

# -- wrappings --------------------------------------------------------------------------------------------------------------------


@every_shape
def test_it_comes_alone_or_in_a_list(event: dict[str, Any]) -> None:
    assert changed(event) == [CHANGE]
    assert changed([event, event]) == [CHANGE, CHANGE]


@every_shape
def test_it_comes_in_messages_of_sqs(event: dict[str, Any]) -> None:
    told = [CHANGE._replace(message_id="m1"), CHANGE._replace(message_id="m2")]
    messages = [events.message("m1", event), events.message("m2", event)]
    assert changed({"Records": messages}) == told
    assert changed(messages) == told, "through a pipe"
    assert changed([{**message, "body": event} for message in messages]) == told, (
        "through a pipe that has made JSON of the body"
    )


@every_shape
def test_it_comes_in_messages_of_sns(event: dict[str, Any]) -> None:
    assert changed(events.sns(event)) == [CHANGE]


@every_shape
def test_it_comes_in_messages_of_sns_in_those_of_sqs(event: dict[str, Any]) -> None:
    (record,) = events.sns(event)["Records"]
    assert changed({"Records": [events.message("m1", record["Sns"])]}) == [CHANGE._replace(message_id="m1")]
    deepest = [events.message("m1", {"Records": [record]})]
    assert changed(deepest) == [CHANGE._replace(message_id="m1")]


def test_a_message_in_a_message_comes_again_with_the_outer_one() -> None:
    inner = {"Records": [events.message("inner", ANNOUNCED)]}
    assert changed({"Records": [events.message("outer", inner)]}) == [CHANGE._replace(message_id="outer")]


def test_all_records_of_a_notification_count_in_their_order() -> None:
    records = [record for key in ("z", "a", "z") for record in events.notification("cfg", key)["Records"]]
    assert [change.key for change in changed({"Records": records})] == ["z", "a", "z"]


# -- names ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoded", "key"),
    [
        ("red+flower.jpg", "red flower.jpg"),
        ("a%2Bb", "a+b"),
        ("100%25", "100%"),
        ("%C3%A4/%E6%97%A5", "ä/日"),
        ("a//..%2F", "a//../"),
        ("a%252Bb", "a%2Bb"),
    ],
)
def test_keys_of_s3s_own_are_decoded_once_and_eventbridges_never(encoded: str, key: str) -> None:
    assert [change.key for change in changed(events.notification("cfg", encoded))] == [key]
    assert [change.key for change in changed(events.announcement("cfg", encoded))] == [encoded]


@pytest.mark.parametrize("version_id", [None, ""])
def test_what_has_no_version_tells_none(version_id: str | None) -> None:
    for event in (events.notification("cfg", "k"), events.announcement("cfg", "k")):
        where = event["Records"][0]["s3"]["object"] if "Records" in event else event["detail"]["object"]
        assert changed(event) == [Change("cfg", "k")]
        where["versionId" if "Records" in event else "version-id"] = version_id
        assert changed(event) == [Change("cfg", "k")]


@pytest.mark.parametrize(
    ("change", "versions"),
    [
        (Change("cfg", "k"), [None]),
        (Change("cfg", "k", gone=True), [None]),
        (Change("cfg", "k", "v1"), [None]),
        (Change("cfg", "k", "v1", gone=True), [None, "v1"]),
        (Change("cfg", "k", "null"), [None, "null"]),
    ],
)
def test_a_version_is_dropped_where_it_is_gone_or_can_change(change: Change, versions: list[str | None]) -> None:
    assert list(change.names) == [ObjectKey("cfg", "k", version) for version in versions]


# -- kinds ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("ObjectCreated:Put", False),
        ("ObjectCreated:Post", False),
        ("ObjectCreated:Copy", False),
        ("ObjectCreated:CompleteMultipartUpload", False),
        ("ObjectRemoved:Delete", True),
        ("s3:ObjectRemoved:Delete", True),
        ("ObjectRemoved:DeleteMarkerCreated", False),
        ("LifecycleExpiration:Delete", True),
        ("LifecycleExpiration:DeleteMarkerCreated", False),
        ("ReducedRedundancyLostObject", True),
        ("ObjectAcl:Put", False),
        ("ObjectForgotten:Never", False),
    ],
)
def test_what_s3_notifies_of(name: str, gone: bool) -> None:
    assert changed(events.notification("cfg", "k", name, version_id="v")) == [Change("cfg", "k", "v", gone)]


@pytest.mark.parametrize(
    "name",
    [
        "ObjectRestore:Post",
        "ObjectRestore:Completed",
        "ObjectRestore:Delete",
        "Replication:OperationFailedReplication",
        "Replication:OperationReplicatedAfterThreshold",
        "LifecycleTransition",
        "IntelligentTiering",
        "ObjectTagging:Put",
        "ObjectTagging:Delete",
        "s3:ObjectTagging:Put",
    ],
)
def test_what_s3_notifies_of_and_changes_nothing(name: str) -> None:
    assert changed(events.notification("cfg", "k", name)) == []


@pytest.mark.parametrize(
    ("kind", "deletion", "gone"),
    [
        ("Object Created", None, False),
        ("Object Deleted", "Permanently Deleted", True),
        ("Object Deleted", "Delete Marker Created", False),
        ("Object ACL Updated", None, False),
        ("Object Forgotten", None, False),
    ],
)
def test_what_eventbridge_announces(kind: str, deletion: str | None, gone: bool) -> None:
    event = events.announcement("cfg", "k", kind, version_id="v")
    if deletion is not None:
        event["detail"]["deletion-type"] = deletion
    assert changed(event) == [Change("cfg", "k", "v", gone)]


@pytest.mark.parametrize(
    "kind",
    [
        "Object Restore Initiated",
        "Object Restore Completed",
        "Object Restore Expired",
        "Object Tags Added",
        "Object Tags Deleted",
        "Object Storage Class Changed",
        "Object Access Tier Changed",
    ],
)
def test_what_eventbridge_announces_and_changes_nothing(kind: str) -> None:
    assert changed(events.announcement("cfg", "k", kind)) == []


@pytest.mark.parametrize("event", [events.TEST, {"Records": []}, [], {"Records": [events.message("m", events.TEST)]}])
def test_what_tells_nothing(event: object) -> None:
    assert changed(event) == []


# -- what is not understood -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (None, "NoneType"),
        ("text", "str"),
        ({}, "dict without keys"),
        ({"secret": "value", "b": 1}, "dict with the keys 'secret', 'b'"),
        ({"k" * 99: 1}, f"dict with the keys '{'k' * 40}'"),
        ({str(number): 0 for number in range(10)}, "'6', '7' and 2 more"),
        ({"Records": [5]}, "int"),
        ({"Records": [events.message("m", "{")]}, "a message of 1 characters that is not JSON"),
        ({"Records": [events.message("m", "[" * 100_000)]}, "a message of 100,000 characters that is not JSON"),
        ({"source": "aws.ec2", "detail": {}}, "dict with the keys 'source', 'detail'"),
        ({"source": "aws.s3", "detail": {}}, "whose bucket, key or version cannot name an object"),
        (events.announcement("c/fg", "k"), "cannot name an object"),
        (events.announcement("cfg", ""), "cannot name an object"),
        (events.announcement("cfg", "k" * 1025), "cannot name an object"),
        (events.announcement("cfg", "\ud800"), "cannot name an object"),
        (events.notification("cfg", "%ff"), "whose key is not encoded as S3 does it"),
        ({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}, "dict with the keys 'eventSource', 'eventName'"),
        ([[[[[[[[[[]]]]]]]]]], "list, 9 wrappings deep"),
    ],
)
def test_it_is_said_what_is_not_understood_and_what_would_be(event: object, said: str) -> None:
    with pytest.raises(ValueError, match=r"^not understood: .*; accepted: S3's event notifications") as caught:
        changed(event)
    assert said in str(caught.value)
    assert "value" not in str(caught.value)
    assert isinstance(caught.value, NotUnderstoodError)
    assert caught.value.changes == []


def test_a_bad_message_does_not_lose_the_others() -> None:
    half = {"Records": [*NOTIFIED["Records"], {"eventSource": "aws:s3"}, 5]}
    batch = [
        events.message("good", NOTIFIED),
        events.message("bad", "hello"),
        events.message("half", half),
        events.message("also good", ANNOUNCED),
    ]
    with pytest.raises(NotUnderstoodError) as caught:
        changed({"Records": batch})
    assert [change.message_id for change in caught.value.changes] == ["good", "half", "also good"]
    assert caught.value.message_ids == ["bad", "half"]


def test_a_thousand_bad_messages_make_a_short_text() -> None:
    with pytest.raises(NotUnderstoodError, match="and 995 more") as caught:
        changed({"Records": [events.message(str(number), "x" * number) for number in range(1, 1001)]})
    assert len(str(caught.value)) < 600
    assert len(caught.value.message_ids) == 1000


@pytest.mark.parametrize("message_id", [None, "", 5])
def test_a_message_without_an_id_is_none(message_id: object) -> None:
    with pytest.raises(NotUnderstoodError) as caught:
        changed({"Records": [{**events.message("m", "hello"), "messageId": message_id}]})
    assert caught.value.message_ids == [None]


# -- anything ---------------------------------------------------------------------------------------------------------------------

WORDS = st.one_of(
    st.sampled_from(
        ["aws:s3", "aws.s3", "Notification", "s3:TestEvent", "ObjectCreated:Put", "Object Created", "Object Deleted", "null"]
    ),
    st.text(max_size=5),
    st.sampled_from([json.dumps(NOTIFIED), json.dumps(ANNOUNCED), '{"Records": [{"body": "5"}]}', "[" * 5000]),
)
NAMES = st.one_of(
    st.sampled_from(["Records", "body", "messageId", "Sns", "Message", "Type", "Event"]),
    st.sampled_from(["eventSource", "eventName", "s3", "bucket", "name", "object", "key", "versionId"]),
    st.sampled_from(["source", "detail-type", "detail", "version-id", "deletion-type"]),
    st.text(max_size=3),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=6)),
    max_leaves=30,
)


def check(event: object) -> None:
    try:
        found = changed(event)
    except NotUnderstoodError as error:  # and no other ValueError, such as one of decoding
        found = error.changes
    assert all(change.names[0] == locate(change.bucket, change.key) for change in found)


@given(JSON)
def test_any_json_is_understood_or_a_value_error(event: object) -> None:
    check(event)
    check({"Records": [{"messageId": "m", "body": json.dumps(event)}]})


@given(st.data())
def test_any_damage_to_an_event_is_understood_or_a_value_error(data: st.DataObject) -> None:
    event: Any = json.loads(json.dumps(data.draw(st.sampled_from([NOTIFIED, ANNOUNCED, events.sns(NOTIFIED), events.TEST]))))
    node = event
    while isinstance(node, (dict, list)) and node:
        places: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
        place = data.draw(st.sampled_from(places))
        if not isinstance(node[place], (dict, list)) or data.draw(st.booleans()):
            node[place] = data.draw(JSON)
            break
        node = node[place]
    check(event)
