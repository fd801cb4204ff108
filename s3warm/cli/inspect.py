"""`s3warm inspect`."""

from __future__ import annotations

import json
import os
import time
from math import isfinite

from s3warm.cli import text
from s3warm.cli.command import Command
from s3warm.cli.inventory import ORDERS, take
from s3warm.cli.what_if import disk_total
from s3warm.errors import ConfigurationError
from s3warm.settings import resolve
from s3warm.tiers.survey import Survey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator

    from s3warm.cli.inventory import Inventory, Item

__all__ = ["COMMAND"]

_HEADER = ("object", "etag", "codec", "where", "size", "stored", "age", "expires", "")
_ETAG = 10  # characters shown
_IN_USE = {True: "in use", False: "", None: "in use?"}


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="the cache directory, such as /tmp/s3warm")
    parser.add_argument("--sort", choices=ORDERS, default="key", help="largest first, youngest first, or by name (default)")
    parser.add_argument("--limit", type=int, metavar="N", help="show N of them")
    parser.add_argument("--namespace", metavar="TEXT", help="only namespaces with this text in them")
    parser.add_argument("--key", metavar="TEXT", help="only objects with this text in their URI")
    parser.add_argument("--json", action="store_true", help="print JSON: bytes and seconds")


def _run(chosen: Namespace) -> int:
    if chosen.limit is not None and chosen.limit < 1:
        raise ConfigurationError(f"--limit={chosen.limit} is not understood; accepted: 1 or more")
    settings = resolve(None, {}, os.environ)
    with Survey(os.path.abspath(chosen.directory)) as survey:
        held = survey.database_bytes() + survey.file_bytes()
        inventory = take(survey, disk_total(settings, chosen.directory, held), held)
    items = [item for item in inventory.sorted_by(chosen.sort) if _is_wanted(item, chosen)]
    shown, now = items[: chosen.limit], time.time()
    if chosen.json:
        print(json.dumps(_plain(inventory, shown, now), indent=1))
    else:
        print(*_lines(chosen.directory, inventory, shown, now), sep="\n")
        if len(shown) < len(items):
            print(f"... and {len(items) - len(shown):,} more")
    return 0


def _is_wanted(item: Item, chosen: Namespace) -> bool:
    return (chosen.namespace or "") in item.namespace and (chosen.key or "") in _uri(item)


def _uri(item: Item) -> str:
    return f"s3://{item.bucket}/{item.key}"


def _lines(directory: str, inventory: Inventory, items: list[Item], now: float) -> Iterator[str]:
    counts = [("object", "object", ""), ("tree", "tree", ""), ("older", "older file", ""), ("download", "cut-off download", "")]
    said = [
        text.plural(inventory.count(kind), one, many) for kind, one, many in counts if inventory.count(kind) or kind == "object"
    ]
    total = f"{text.size(inventory.held)} of {text.size(inventory.budget.bytes)} ({inventory.budget.origin})"
    yield f"{text.name(directory)}: {', '.join(said)}; {total}; SQLite {text.size(inventory.database_bytes)}"
    if inventory.unreadable:
        yield f"{text.plural(inventory.unreadable, 'row')} that cannot be read: see `verify`"
    for namespace in sorted({item.namespace for item in items}):
        yield f"\nnamespace {text.name(namespace)}"
        yield from text.table(_HEADER, [_cells(item, now) for item in items if item.namespace == namespace], left=4)


def _cells(item: Item, now: float) -> tuple[str, ...]:
    version = f" (version {item.version_id})" if item.version_id else ""
    etag = item.etag.strip('"')
    row = (
        text.name(_uri(item) + version),
        text.name(etag if len(etag) <= _ETAG else etag[:_ETAG] + "…"),
        item.codec,
        item.where,
        text.size(item.size),
        text.size(item.stored_size),
    )
    if item.kind == "download":
        parts = f" of {item.parts:,}" if item.parts else ""
        return (*row, "", "", f"{'under way' if item.in_use else 'cut off'}, {item.finished:,}{parts} parts")
    left = item.expires_at - now
    notes = ", ".join(word for word in ("older" if item.kind == "older" else "", _IN_USE[item.in_use]) if word)
    return (*row, text.span(now - item.validated_at), text.span(left) if left > 0 else "over", notes)


def _plain(inventory: Inventory, items: list[Item], now: float) -> dict[str, object]:
    def one(item: Item) -> dict[str, object]:
        told: dict[str, object] = item._asdict()
        del told["validated_at"], told["expires_at"]
        known = item.kind != "download"
        left = item.expires_at - now if known and isfinite(item.expires_at) else None
        return told | {"age": now - item.validated_at if known else None, "expires_in": left}

    return {
        "namespaces": inventory.namespaces,
        "held": inventory.held,
        "budget": {"bytes": inventory.budget.bytes, "why": inventory.budget.origin},
        "database_bytes": inventory.database_bytes,
        "unreadable_rows": inventory.unreadable,
        "items": [one(item) for item in items],
    }


COMMAND = Command(
    "What lies in a cache directory: objects, trees and downloads by namespace, and how much of the budget they take. Nothing is changed, "
    "whoever uses the directory meanwhile. The budget is that of the S3WARM_* variables as they are set here.",
    _arguments,
    _run,
)
