"""A server in memory that counts what it is asked, and says something else if a test wants that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fakeredis

from s3warm.tiers import scripts
from tests.support.fleets import FakeFleet

if TYPE_CHECKING:
    from collections.abc import Callable

_NAMES = {getattr(scripts, name): name for name in scripts.__all__}


class CountedRedis(fakeredis.FakeRedis):
    """A client that notes its commands; scripts by their own names.

    Attributes:
        commands: the names of all so far, in the order in which they were sent.
        instead: is given each command's name and what the server would say, and gives what it is to have said.
    """

    commands: list[str]
    instead: Callable[[str, Callable[[], Any]], Any] | None

    @classmethod
    def of(cls, state: fakeredis.FakeServer, commands: list[str] | None = None) -> CountedRedis:
        client: CountedRedis = cls(server=state)
        client.commands = [] if commands is None else commands
        client.instead = None
        return client

    def execute_command(self, *args: Any, **options: Any) -> Any:
        name = _NAMES.get(args[1], "EVAL") if args[0] == "EVAL" else str(args[0])
        self.commands.append(name)

        def answer() -> Any:
            return super(CountedRedis, self).execute_command(*args, **options)

        return answer() if self.instead is None else self.instead(name, answer)

    def taken(self) -> list[str]:
        """What was asked since the last time."""
        taken, self.commands[:] = list(self.commands), []
        return taken


class CountedFleet(FakeFleet):
    """A fleet whose environments all have one client, which counts."""

    def __init__(self, objects: dict[str, bytes] | None = None, **options: Any) -> None:
        super().__init__(objects, **options)
        self.counted = CountedRedis.of(self.state)

    def client(self) -> Any:
        return self.counted
