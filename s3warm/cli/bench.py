"""`s3warm bench`."""

from __future__ import annotations

import json
import os
import sys
import tempfile

from s3warm.cli import text
from s3warm.cli.command import Command
from s3warm.cli.figures import histogram, percentile
from s3warm.errors import ConfigurationError
from s3warm.keys import locate
from s3warm.settings import SWITCHES, resolve, switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator

    from s3warm.cli.measure import Bill, Measured

__all__ = ["COMMAND"]

_NAMES = {
    "cold": "s3warm, from S3",
    "memory": "s3warm, memory",
    "disk": "s3warm, /tmp",
    "revalidate": "s3warm, 304",
    "boto3": "boto3",
}
_HEADER = ("way", "distribution", "median", "p90", "p99", "beside boto3", "requests", "bytes")


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("uri", metavar="s3://bucket/key")
    parser.add_argument("--repeat", type=int, default=20, metavar="N", help="samples of each way (default: 20)")
    parser.add_argument("--json", action="store_true", help="print JSON: seconds and bytes")


def _run(chosen: Namespace) -> int:
    from s3warm.cli.measure import measure

    locate(chosen.uri)
    if chosen.repeat < 1:
        raise ConfigurationError(f"--repeat={chosen.repeat} is not understood; accepted: 1 or more")
    for name in SWITCHES:
        if switch(name, os.environ):
            raise ConfigurationError(f"with {name}=1 there is nothing to measure: unset it")
    bills: list[Bill] = []

    def announce(bill: Bill) -> None:
        bills.append(bill)
        words = f"{text.plural(bill.requests, 'GET request')}, {bill.bodies:,} of them for its body of {text.size(bill.size)}"
        print(f"{text.name(chosen.uri)}: this takes {words} or a part of it", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="s3warm-bench-") as directory:
        settings = resolve(None, {"directory": directory}, os.environ)
        found = measure(chosen.uri, settings, repeats=chosen.repeat, announce=announce)
    if chosen.json:
        ways = {each.way: _figures(each, found[-1]) for each in found}
        print(json.dumps({"uri": chosen.uri, "repeat": chosen.repeat, **bills[0]._asdict(), "ways": ways}, indent=1))
    else:
        print(*_lines(found), sep="\n")
    return 0


def _figures(measured: Measured, boto3: Measured) -> dict[str, object]:
    plain: dict[str, object] = {"requests": measured.requests, "bytes": measured.bytes, "seconds": measured.seconds}
    if measured.seconds:
        plain |= {f"p{percent}": percentile(measured.seconds, percent) for percent in (50, 90, 99)}
        plain["boto3_over_this"] = _times(measured, boto3)
    return plain


def _lines(found: list[Measured]) -> Iterator[str]:
    rows: list[tuple[str, ...]] = []
    for each in found:
        counted = f"{each.requests:,}", text.size(each.bytes)
        if not each.seconds:
            rows.append((_NAMES[each.way], "is not kept there", "", "", "", "", *counted))
            continue
        times = _times(each, found[-1])
        quick = f"{times:,.0f} ×" if times >= 10 else f"{times:.2f} ×"
        percentiles = (text.duration(percentile(each.seconds, percent)) for percent in (50, 90, 99))
        rows.append(
            (_NAMES[each.way], f"|{histogram(each.seconds)}|", *percentiles, "" if each is found[-1] else quick, *counted)
        )
    yield from text.table(_HEADER, rows, left=2)
    yield 'Distributions are from the quickest to the slowest call; "beside boto3" is boto3\'s median by this one.'


def _times(measured: Measured, boto3: Measured) -> float:
    return percentile(boto3.seconds, 50) / percentile(measured.seconds, 50)


COMMAND = Command(
    "Get one object in each way, in turn: from S3 by an empty cache, from memory (a thousand calls a sample), from /tmp, with a revalidation "
    "(304), and by plain boto3, all over connections that are open. It says first how many requests that takes: some 3 for each repetition, 2 of "
    "which bring the body, and more for what is fetched in parts. A temporary directory is used, never a cache of yours.",
    _arguments,
    _run,
)
