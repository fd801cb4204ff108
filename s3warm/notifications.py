"""S3's event notifications, taken by a Lambda function that drops what has changed from the whole fleet: so a TTL can be long.

`s3warm.notifications.handler` is a whole handler: name it in a function's configuration, with the `shared_url`, `shared_secret` and `namespace` that the
fleet has (by default each function has a namespace of its own). It reads nothing from S3, and needs no right to.
"""

from __future__ import annotations

from s3warm.changes import NotUnderstoodError, changed
from s3warm.default import default_cache
from s3warm.errors import FleetUnavailableError
from s3warm.metrics import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.keys import ObjectKey

__all__ = ["handler", "invalidate"]


def handler(event: object, _context: object) -> dict[str, list[dict[str, str]]]:
    """A Lambda handler that drops the objects that an event of S3 says have changed; it is `invalidate`.

    Args:
        event: what `invalidate` takes.
        _context: Lambda's; not used.

    Raises:
        FleetUnavailableError: see `invalidate`, also for the rest.

    Example:
        >>> import s3warm
        >>> s3warm.notifications.handler({"Service": "Amazon S3", "Event": "s3:TestEvent"}, None)
        {'batchItemFailures': []}
    """
    return invalidate(event)


def invalidate(event: object) -> dict[str, list[dict[str, str]]]:
    """Drop each object that an event says has changed from the whole fleet: `invalidate(..., everywhere=True)` of the default cache.

    It understands S3's own notifications and EventBridge's, alone, in a list (as EventBridge Pipes give it), and in messages of SQS, of SNS, and of
    SNS in SQS, raw or not. An object is dropped under its name, and under that of the version if this one was deleted for good. Tags, restores, storage classes and
    replication change nothing that is cached. It may be told twice and in any order. A tree that it lies in is listed anew. Not told: what is read with a `request`;
    its TTL counts.

    A message of SQS that could not be understood, or of which the fleet could not be told, comes again, alone: its event source needs
    `FunctionResponseTypes: [ReportBatchItemFailures]`, or Lambda deletes it
    (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html). What came otherwise is an error in the end, after all else was
    tried: Lambda calls a function twice more for an event that it gave it asynchronously. A WARNING says what was not understood.

    Args:
        event: what Lambda gives a handler.

    Returns:
        `{"batchItemFailures": [{"itemIdentifier": "..."}]}`: the messages that have to come again.

    Raises:
        FleetUnavailableError: the fleet could not be told of a change that came in no message of SQS.
        ValueError: something that came in no message of SQS is not understood.
        ConfigurationError: there is no shared tier.

    Example:
        >>> import s3warm
        >>> message = {"messageId": "m1", "eventSource": "aws:sqs", "body": "hello"}
        >>> s3warm.notifications.invalidate({"Records": [message]})
        {'batchItemFailures': [{'itemIdentifier': 'm1'}]}
    """
    failed: dict[str | None, Exception] = {}  # by message; None: what came in none
    try:
        changes = changed(event)
    except NotUnderstoodError as error:
        changes = error.changes
        failed = dict.fromkeys(error.message_ids, error)
        _warn(f"an event of S3, or a part of it, was {error}")
    told: dict[ObjectKey, FleetUnavailableError | None] = {}
    for change in changes:
        for name in change.names:
            if name not in told:
                told[name] = _tell(name)
            trouble = told[name]
            if trouble is not None:
                failed[change.message_id] = trouble
    if None in failed:
        raise failed[None]
    untold = [trouble for trouble in told.values() if trouble is not None]
    if untold:
        _warn(f"of {len(untold)} of {len(told)} objects the fleet could not be told; their messages come again: {untold[0]}")
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed if message_id is not None]}


def _tell(name: ObjectKey) -> FleetUnavailableError | None:
    """Drop what has this name everywhere; why it could not be done."""
    try:
        default_cache().invalidate(name.bucket, name.key, version_id=name.version_id, everywhere=True)
    except FleetUnavailableError as error:
        return error
    return None


def _warn(message: str) -> None:
    logger().warning("%s", message, extra={"s3warm_trouble": "notification"})
