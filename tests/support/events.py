"""Events of S3, as Lambda functions get them; the pages of AWS's documentation that show them are named in s3warm/changes.py."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["TEST", "announcement", "message", "notification", "sns"]

TEST = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2026-11-22T15:57:02.089Z",
    "Bucket": "cfg",
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR",
}
"""What S3 sends when notifications are set up."""


def notification(bucket: str, key: str, name: str = "ObjectCreated:Put", *, version_id: str | None = None) -> dict[str, Any]:
    """S3's own event; the key is encoded."""
    where: dict[str, Any] = {"key": key, "size": 1024, "eTag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": "0055AED6DCD9"}
    if version_id is not None:
        where["versionId"] = version_id
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": "2026-11-22T00:00:00.000Z",
        "eventName": name,
        "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "fleet",
            "bucket": {"name": bucket, "ownerIdentity": {"principalId": "A3NL1KOZZKExample"}, "arn": f"arn:aws:s3:::{bucket}"},
            "object": where,
        },
    }
    return {"Records": [record]}


def announcement(bucket: str, key: str, kind: str = "Object Created", *, version_id: str | None = None) -> dict[str, Any]:
    """EventBridge's event; the key is as it is."""
    where: dict[str, Any] = {"key": key, "size": 5, "etag": "b1946ac92492d2347c6235b4d2611184", "sequencer": "617f08299329d189"}
    if version_id is not None:
        where["version-id"] = version_id
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": kind,
        "source": "aws.s3",
        "account": "111122223333",
        "time": "2026-11-22T00:00:00Z",
        "region": "ca-central-1",
        "resources": [f"arn:aws:s3:::{bucket}"],
        "detail": {
            "version": "0",
            "bucket": {"name": bucket},
            "object": where,
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "111122223333",
            "source-ip-address": "192.0.2.1",
            "reason": "PutObject",
        },
    }


def message(message_id: str, body: object) -> dict[str, Any]:
    """A record of a batch of SQS; what is no text is JSON in it."""
    return {
        "messageId": message_id,
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": body if isinstance(body, str) else json.dumps(body),
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183"},
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:changes",
        "awsRegion": "us-east-2",
    }


def sns(body: object) -> dict[str, Any]:
    """What SNS gives a function."""
    said = {
        "Type": "Notification",
        "MessageId": "95df01b4-ee98-5cb9-9903-4c221d41eb5e",
        "TopicArn": "arn:aws:sns:us-east-2:123456789012:changes",
        "Subject": "Amazon S3 Notification",
        "Message": json.dumps(body),
        "Timestamp": "2026-11-22T00:00:00.000Z",
    }
    return {
        "Records": [{"EventVersion": "1.0", "EventSource": "aws:sns", "EventSubscriptionArn": said["TopicArn"], "Sns": said}]
    }
