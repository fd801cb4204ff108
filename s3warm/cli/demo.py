"""`s3warm demo`."""

from __future__ import annotations

import logging

from s3warm.cli import text
from s3warm.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

__all__ = ["COMMAND"]

_HEADER = ("what happened", "answered from", "a call takes", "S3 requests")


def _arguments(parser: ArgumentParser) -> None:
    """None."""


def _run(_chosen: Namespace) -> int:
    from s3warm.cli.demonstration import OBJECTS, many_calls, play

    quiet, logger = logging.NullHandler(), logging.getLogger("s3warm")
    logger.addHandler(quiet)  # that S3 is down is no news here
    try:
        steps = list(play())
        calls, requests = many_calls()
    finally:
        logger.removeHandler(quiet)
    rows = []
    for step in steps:
        told = f"{step.requests} GET, {step.bytes} bytes" if step.requests else "none"
        rows.append((step.what, step.source, "" if step.seconds is None else text.duration(step.seconds), told))
    print(*text.table(_HEADER, rows, left=2), sep="\n")
    print(f"{calls:,} calls for {OBJECTS} objects: {requests} requests")
    print("\nThe cache is the real one, S3 is a stand-in within this process: what a network takes is left out, not measured.")
    print("Against your own bucket, beside boto3: s3warm bench s3://bucket/key")
    return 0


COMMAND = Command(
    "One object from the first call to an outage of S3, by the real cache over a stand-in for S3 within this process. Needs no AWS and sends "
    "nothing; all that is printed was counted or measured just now.",
    _arguments,
    _run,
)
