"""`s3warm` and `python -m s3warm`: one command out of a table."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from importlib import import_module

from s3warm.errors import S3WarmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3warm.cli.command import Command

__all__ = ["COMMANDS", "main", "script"]

# Each is a module of this package, by that name, which is imported when it is asked for.
COMMANDS = {
    "demo": "see what the cache does, without AWS",
    "budget": "how much memory and /tmp it would take, and why",
    "fetch": "bring objects into the cache directory, or elsewhere",
    "inspect": "what lies in a cache directory",
    "verify": "check each body in a cache directory",
    "bench": "time an object of yours by each tier, beside plain boto3",
    "simulate": "replay requests through the eviction policy and its peers",
}
_INTERRUPTED = 130  # as shells say of what SIGINT has ended (128 and its number)
_PIPE_CLOSED = 141  # of what SIGPIPE has


def script() -> int:
    """What the console script runs."""
    return main(sys.argv[1:], program="s3warm")


def main(arguments: Sequence[str], *, program: str = "python -m s3warm") -> int:
    """Run a command; its exit status: 0, or 1 for an error about an object, 2 for a command that cannot be understood."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="A read-through cache for S3 objects in AWS Lambda: what it would do, what it holds, and what it is worth.",
        epilog=f"`{program} <command> --help` says more about each.",
    )
    # Nobody is here before the package itself is.
    parser.add_argument("--version", action="version", version=f"s3warm {sys.modules['s3warm'].__version__}")
    parsers = parser.add_subparsers(dest="command", required=True, metavar="command")
    wanted = next((argument for argument in arguments if not argument.startswith("-")), "")
    of_command = {name: parsers.add_parser(name, help=line) for name, line in COMMANDS.items()}
    command = _module(wanted) if wanted in COMMANDS else None
    if command is not None:
        of_command[wanted].description = command.description
        command.arguments(of_command[wanted])
    try:
        try:
            chosen = parser.parse_args(arguments)
            assert command is not None, "the parser has exited"
            status = command.run(chosen)
        finally:
            sys.stdout.flush()  # here, where a reader who has gone is no error
    except BrokenPipeError:
        _write_no_more()
        return _PIPE_CLOSED
    except ValueError as error:  # a ConfigurationError is one
        print(f"s3warm: {error}", file=sys.stderr)
        return 2
    except (S3WarmError, OSError) as error:
        print(f"s3warm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"s3warm: interrupted{command.interrupted if command else ''}", file=sys.stderr)
        return _INTERRUPTED
    return status


def _module(name: str) -> Command:
    found: Command = import_module(f"s3warm.cli.{name}").COMMAND
    return found


def _write_no_more() -> None:
    """Nobody reads any more: what is still buffered goes nowhere, or Python would complain when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # no file at all, in a test
                stream.flush()
                continue
            with contextlib.suppress(OSError, ValueError):
                os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)
