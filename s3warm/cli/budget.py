"""`s3warm budget`."""

from __future__ import annotations

import json
import os

from s3warm.cli.command import Command
from s3warm.cli.what_if import bytes_of, would_choose
from s3warm.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from s3warm.explanation import Budgets
    from s3warm.rules.budget import Budget

__all__ = ["COMMAND"]


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--memory", metavar="SIZE", help="of the function, such as 512MB (default: of this environment)")
    parser.add_argument("--tmp", metavar="SIZE", help="of its /tmp, such as 512MB, with nothing in it (default: as it is here)")
    parser.add_argument(
        "--concurrency", type=int, metavar="N", help="processes that share the memory (default: as the variables say)"
    )
    parser.add_argument("--rss", metavar="SIZE", help="what the handler's own imports hold (default: what this process does)")
    parser.add_argument(
        "--boto3", action="store_true", help="boto3 sends the requests, which takes memory, rather than s3warm's own client"
    )
    parser.add_argument("--json", action="store_true", help="print JSON: bytes")


def _run(chosen: Namespace) -> int:
    if chosen.concurrency is not None and chosen.concurrency < 1:
        raise ConfigurationError(f"--concurrency={chosen.concurrency} is not understood; accepted: 1 or more")
    sizes = {name: getattr(chosen, name) for name in ("memory", "tmp", "rss")}
    given = {name: None if text is None else bytes_of(text, f"--{name}") for name, text in sizes.items()}
    budgets = would_choose(os.environ, **given, concurrency=chosen.concurrency, boto3=chosen.boto3)
    print(json.dumps(_plain(budgets), indent=1) if chosen.json else budgets)
    return 0


def _plain(budgets: Budgets) -> dict[str, object]:
    def one(budget: Budget | None) -> dict[str, object] | None:
        return None if budget is None else {"bytes": budget.bytes, "why": budget.origin}

    return {
        "memory": one(budgets.memory),
        "disk": one(budgets.disk),
        "largest_in_memory": budgets.largest_in_memory,
        "directory": budgets.directory,
    }


COMMAND = Command(
    "What the cache would choose for a function of that size, with the S3WARM_* variables as they are set here, and why. Sizes are those of "
    "the settings, but MB as Lambda counts them: 512MB are 512 MiB. Without arguments: for this environment.",
    _arguments,
    _run,
)
