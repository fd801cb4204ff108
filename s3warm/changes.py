"""Which objects an event of S3 says have changed, in whatever AWS has wrapped it.

S3's own notification (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html), whose keys are URL-encoded, and
EventBridge's (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html), whose keys are not. They come alone, in the body of a message of
SQS (https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html), in one of SNS (https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html), in one of
SNS within one of SQS, and in lists (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-batching-concurrency.html).
"""

from __future__ import annotations

import json
from urllib.parse import unquote_plus

from s3warm.keys import ObjectKey, locate
from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Change", "NotUnderstoodError", "changed"]

# What leaves bytes, existence and readers as they were. All else that S3 tells of an object counts as a change, so that a kind of event
# which is new leaves nothing stale: one that was none costs a conditional GET. An ACL says who may read, and a denied GET evicts.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html
_HARMLESS_NAMES = ("IntelligentTiering", "LifecycleTransition", "ObjectRestore:", "ObjectTagging:", "Replication:", "TestEvent")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/EventBridge.html
_HARMLESS_TYPES = (
    "Object Access Tier Changed",
    "Object Restore Completed",
    "Object Restore Expired",
    "Object Restore Initiated",
    "Object Storage Class Changed",
    "Object Tags Added",
    "Object Tags Deleted",
)
_GONE_NAMES = ("LifecycleExpiration:Delete", "ObjectRemoved:Delete", "ReducedRedundancyLostObject")

# A list, a message of SQS, SNS's in it, its records, one of them: that is 5.
_DEEPEST = 8
_ACCEPTED = "accepted: S3's event notifications and EventBridge's events of source aws.s3, alone, in a list, or in messages of SQS, SNS, or SNS in SQS"
_SHOWN = 5  # complaints, so that a batch of thousands makes no message of megabytes
_SHOWN_KEYS = 8
_SHOWN_CHARACTERS = 40


class Change(NamedTuple):
    """An object that has changed, as an event tells it.

    Attributes:
        bucket: name of the bucket.
        key: key of the object, as it is: not encoded.
        version_id: the version that was written or deleted, as told, or None.
        gone: this version (of an object without versions: the object) was deleted for good; a delete marker deletes no version.
        message_id: the `messageId` of the message of SQS that told it, or None.

    Example:
        >>> [str(name) for name in Change("cfg", "flags.json", "v1").names]
        ['s3://cfg/flags.json']
        >>> [str(name) for name in Change("cfg", "flags.json", "v1", gone=True).names]
        ['s3://cfg/flags.json', 's3://cfg/flags.json (version v1)']
    """

    bucket: str
    key: str
    version_id: str | None = None
    gone: bool = False
    message_id: str | None = None

    @property
    def names(self) -> tuple[ObjectKey, ...]:
        """The names under which a cache may hold what is no longer so: without a version, which readers ask for, and that of a version that is gone.

        A version never changes. Only `"null"` does: it is whatever was written last without versioning.
        """
        latest = ObjectKey(self.bucket, self.key)
        told = ObjectKey(self.bucket, self.key, self.version_id)
        return (latest, told) if self.version_id is not None and (self.gone or not told.pinned) else (latest,)


class NotUnderstoodError(ValueError):
    """Something in an event tells of no object of S3. The message says what it is, without its contents, and what is accepted.

    Attributes:
        changes: all that was understood beside it.
        message_ids: the messages of SQS that hold what was not, each once; None among them: it stood in no message.
    """

    changes: list[Change]
    message_ids: list[str | None]


class _Stray(NamedTuple):
    """What was not understood."""

    shape: str
    message_id: str | None


def changed(event: object) -> list[Change]:
    """The objects that an event says have changed, in its order; none for what changes nothing (tags, say, or `s3:TestEvent`).

    Args:
        event: what Lambda gives a handler.

    Raises:
        NotUnderstoodError: something in it is not understood; it holds the changes beside that. A `ValueError`.

    Example:
        >>> changed({"source": "aws.s3", "detail-type": "Object Created",
        ...          "detail": {"bucket": {"name": "cfg"}, "object": {"key": "a+b.json"}}})
        [Change(bucket='cfg', key='a+b.json', version_id=None, gone=False, message_id=None)]
        >>> changed({"Service": "Amazon S3", "Event": "s3:TestEvent"})
        []
    """
    changes, strays = [], []
    for each in _found(event, None, 0):
        if isinstance(each, Change):
            changes.append(each)
        else:
            strays.append(each)
    if strays:
        shapes = list(dict.fromkeys(stray.shape for stray in strays))
        more = f", and {len(shapes) - _SHOWN} more" if len(shapes) > _SHOWN else ""
        error = NotUnderstoodError(f"not understood: {'; '.join(shapes[:_SHOWN])}{more}; {_ACCEPTED}")
        error.changes = changes
        error.message_ids = list(dict.fromkeys(stray.message_id for stray in strays))
        raise error
    return changes


def _found(node: object, message_id: str | None, depth: int) -> Iterator[Change | _Stray]:
    """What a part of an event holds, `depth` wrappings deep."""
    if depth > _DEEPEST:
        yield _Stray(f"{_shape(node)}, {depth} wrappings deep", message_id)
    elif isinstance(node, list):
        for each in node:
            yield from _found(each, message_id, depth + 1)
    elif not isinstance(node, dict):
        yield _Stray(_shape(node), message_id)
    elif isinstance(node.get("Records"), list):
        yield from _found(node["Records"], message_id, depth + 1)
    elif "body" in node:
        own = node.get("messageId")
        # Where messages lie in messages it is the outer one that comes again.
        yield from _inside(node["body"], message_id or (own if isinstance(own, str) and own else None), depth)
    elif isinstance(node.get("Sns"), dict):
        yield from _inside(node["Sns"].get("Message"), message_id, depth)
    else:
        yield from _unwrapped(node, message_id, depth)


def _unwrapped(node: dict[str, object], message_id: str | None, depth: int) -> Iterator[Change | _Stray]:
    """What an event of S3 tells; SNS in a message of SQS has a wrapping that looks like one."""
    if node.get("eventSource") == "aws:s3":
        yield from _notified(node, message_id)
    elif node.get("source") == "aws.s3":
        yield from _announced(node, message_id)
    elif node.get("Type") == "Notification":
        yield from _inside(node.get("Message"), message_id, depth)
    elif node.get("Event") != "s3:TestEvent":  # which S3 sends when notifications are set up
        yield _Stray(_shape(node), message_id)


def _inside(content: object, message_id: str | None, depth: int) -> Iterator[Change | _Stray]:
    """What a message holds: JSON, unless a pipe has made it that already."""
    if isinstance(content, str):
        text = content
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            yield _Stray(f"a message of {len(text):,} characters that is not JSON", message_id)
            return
    yield from _found(content, message_id, depth + 1)


def _notified(record: dict[str, object], message_id: str | None) -> Iterator[Change | _Stray]:
    """What a record of S3's own notification tells."""
    name, key = record.get("eventName"), _at(record, "s3", "object", "key")
    if not isinstance(name, str) or not isinstance(key, str):
        yield _Stray(_shape(record), message_id)
        return
    name = name.removeprefix("s3:")  # which S3 leaves out, and some that speak its language do not
    if name.startswith(_HARMLESS_NAMES):
        return
    bucket, version_id = _at(record, "s3", "bucket", "name"), _at(record, "s3", "object", "versionId")
    try:
        decoded = unquote_plus(key, errors="strict")
    except ValueError:
        yield _Stray(f"{_shape(record)}, whose key is not encoded as S3 does it", message_id)
    else:
        yield _change(bucket, decoded, version_id, record, message_id, gone=name in _GONE_NAMES)


def _announced(event: dict[str, object], message_id: str | None) -> Iterator[Change | _Stray]:
    """What one of EventBridge's events tells."""
    if event.get("detail-type") in _HARMLESS_TYPES:
        return
    bucket, key = _at(event, "detail", "bucket", "name"), _at(event, "detail", "object", "key")
    gone = event.get("detail-type") == "Object Deleted" and _at(event, "detail", "deletion-type") != "Delete Marker Created"
    yield _change(bucket, key, _at(event, "detail", "object", "version-id"), event, message_id, gone=gone)


def _change(
    bucket: object, key: object, version_id: object, told: dict[str, object], message_id: str | None, *, gone: bool
) -> Change | _Stray:
    """The change of the object of these names, if there can be one."""
    try:
        where = locate(bucket, key, version_id or None)  # type: ignore[arg-type]  # it looks itself
    except (TypeError, ValueError):
        return _Stray(f"{_shape(told)}, whose bucket, key or version cannot name an object", message_id)
    return Change(where.bucket, where.key, where.version_id, gone, message_id)


def _at(node: object, *path: str) -> object:
    """What lies there, or None."""
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node


def _shape(node: object) -> str:
    """What it is, without its contents, which may be secret or long."""
    kind = type(node).__name__
    if not isinstance(node, dict):
        return kind
    if not node:
        return f"{kind} without keys"
    names = [repr(str(name)[:_SHOWN_CHARACTERS]) for name in list(node)[:_SHOWN_KEYS]]
    more = f" and {len(node) - _SHOWN_KEYS} more" if len(node) > _SHOWN_KEYS else ""
    return f"{kind} with the keys {', '.join(names)}{more}"
