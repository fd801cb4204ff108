"""`python -m s3warm simulate`."""

from __future__ import annotations

import json

from s3warm.cli.command import Command
from s3warm.simulation.generated import generate_all
from s3warm.simulation.replay import BASE, NAMES
from s3warm.simulation.report import as_json, ratios_text, result_text
from s3warm.simulation.report import simulate as replayed
from s3warm.simulation.trace import read_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence

__all__ = ["COMMAND", "DEFAULT_BUDGETS", "simulate"]

DEFAULT_BUDGETS = ("1%", "5%", "20%")


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "traces",
        nargs="*",
        metavar="TRACE",
        help="a CSV file with the columns time, key and size (bytes), also gzipped, or a directory of them; without one: generated requests",
    )
    parser.add_argument(
        "--budget",
        action="append",
        default=[],
        metavar="SHARE",
        help="of the bytes of all objects, such as 5%%; several are also combined to memory over disk (default: 1%%, 5%% and 20%%)",
    )
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="NAME",
        help="rule (s3warm's own), lru (always there), sieve, s3-fifo, w-tinylfu, offline or bound; may be repeated (default: all)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the generated requests (default: 1)")
    parser.add_argument("--json", action="store_true", help="print JSON: seconds and bytes")


def _run(chosen: Namespace) -> int:
    return simulate(chosen.traces, budgets=chosen.budget, policies=chosen.policy, in_json=chosen.json, seed=chosen.seed)


def simulate(paths: Sequence[str], *, budgets: Sequence[str], policies: Sequence[str], in_json: bool, seed: int) -> int:
    """Replay traces, those in the files and directories or generated ones, and print how the policies do.

    Raises:
        ValueError: a trace, a budget or a policy cannot be understood.
        OSError: a trace cannot be opened.
    """
    shares = [_share(budget) for budget in budgets or DEFAULT_BUDGETS]
    unknown = [policy for policy in policies if policy not in NAMES]
    if unknown:
        raise ValueError(f"there is no policy {unknown[0]!r}, only {', '.join(NAMES)}")
    chosen = [name for name in NAMES if not policies or name in policies or name == BASE]
    results = []
    for trace in read_all(paths) if paths else generate_all(seed=seed):
        results.append(replayed(trace, chosen, shares))
        if not in_json:
            print(result_text(results[-1]), end="\n\n", flush=True)
    print(json.dumps(as_json(results), indent=1) if in_json else ratios_text(results))
    return 0


def _share(text: str) -> float:
    """A budget as a share of the footprint: "5%" is 0.05."""
    try:
        share = float(text.removesuffix("%")) / 100.0
    except ValueError:
        share = 0.0
    if not (text.endswith("%") and 0.0 < share <= 1.0):
        raise ValueError(f"the budget {text!r} is not a percentage of the footprint, over 0% and up to 100%")
    return share


COMMAND = Command(
    "Replay requests through the eviction policy and its peers, and print hit ratio, byte hit ratio and mean latency (a miss "
    "takes 30 ms and 90 MB/s, a disk hit 0.2 ms and 1.5 GB/s, a memory hit 1 µs), with one tier and with memory over disk.",
    _arguments,
    _run,
)
