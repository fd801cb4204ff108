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
    chosen = parser.parse_args(arguments)
    try:
        return fetch(chosen.uris, directory=chosen.directory, output=chosen.output)
    except ValueError as error:  # a ConfigurationError is one
        print(f"s3warm: {error}", file=sys.stderr)
        return 2
    except (S3WarmError, OSError) as error:
        print(f"s3warm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("s3warm: interrupted; what is finished stays in the cache directory", file=sys.stderr)
        return 130
