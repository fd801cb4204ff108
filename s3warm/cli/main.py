"""The commands of `python -m s3warm` and their arguments."""

from __future__ import annotations

import argparse
import sys

from s3warm.cli.fetch import fetch
from s3warm.errors import S3WarmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Run a command; its exit status: 0, or 1 for an error about an object, 2 for a command that cannot be understood."""
    parser = argparse.ArgumentParser(prog="python -m s3warm", description="A read-through cache for S3 objects.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    fetching = commands.add_parser(
        "fetch",
        help="bring objects into the cache directory, or to a place of your own",
        description="Bring objects into the cache directory (S3WARM_DIRECTORY, with the other S3WARM_* variables), as s3warm.path and, for a "
        "URI that ends in a slash, s3warm.tree do, and print where each lies. What was cut off before goes on.",
    )
    fetching.add_argument("uris", nargs="+", metavar="s3://bucket/key")
    fetching.add_argument("--directory", metavar="PATH", help="the cache directory, instead of S3WARM_DIRECTORY")
    fetching.add_argument(
        "--output", metavar="PATH", help="copy the object there as well; with several objects, or for a tree, a directory"
    )
    simulating = commands.add_parser(
        "simulate",
        help="replay requests through the eviction policy and its peers",
        description="Replay requests through the eviction policy and its peers, and print hit ratio, byte hit ratio and mean latency (a miss "
        "takes 30 ms and 90 MB/s, a disk hit 0.2 ms and 1.5 GB/s, a memory hit 1 µs), with one tier and with memory over disk.",
    )
    simulating.add_argument(
        "traces",
        nargs="*",
        metavar="TRACE",
        help="a CSV file with the columns time, key and size (bytes), also gzipped, or a directory of them; without one: generated requests",
    )
    simulating.add_argument(
        "--budget",
        action="append",
        default=[],
        metavar="SHARE",
        help="of the bytes of all objects, such as 5%%; several are also combined to memory over disk (default: 1%%, 5%% and 20%%)",
    )
    simulating.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="NAME",
        help="rule (s3warm's own), lru (always there), sieve, s3-fifo, w-tinylfu, offline or bound; may be repeated (default: all)",
    )
    simulating.add_argument("--seed", type=int, default=1, help="of the generated requests (default: 1)")
    simulating.add_argument("--json", action="store_true", help="print JSON: seconds and bytes")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "simulate":
            from s3warm.cli.simulate import simulate

            return simulate(chosen.traces, budgets=chosen.budget, policies=chosen.policy, in_json=chosen.json, seed=chosen.seed)
        return fetch(chosen.uris, directory=chosen.directory, output=chosen.output)
    except ValueError as error:  # a ConfigurationError is one
        print(f"s3warm: {error}", file=sys.stderr)
        return 2
    except (S3WarmError, OSError) as error:
        print(f"s3warm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        kept = "; what is finished stays in the cache directory" if chosen.command == "fetch" else ""
        print(f"s3warm: interrupted{kept}", file=sys.stderr)
        return 130
