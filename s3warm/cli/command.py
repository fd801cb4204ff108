"""What the module of a command brings: its description, its arguments, and what runs it."""

from __future__ import annotations

from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

__all__ = ["Command"]


class Command(NamedTuple):
    """One command. `run` gives the exit status; `interrupted` is what Ctrl-C has left, where that is worth a word."""

    description: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
    interrupted: str = ""
