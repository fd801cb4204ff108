"""What lies beyond the tiers of a process: S3, and a fleet perhaps, whose environments share what one of them has fetched."""

from __future__ import annotations

from s3warm.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from s3warm.arrival import H, Want
    from s3warm.entries import Entry
    from s3warm.keys import ObjectKey
    from s3warm.revalidation import Revalidation
    from s3warm.singleflight import Flight
    from s3warm.tiers.base import Turn
    from s3warm.tiers.tidings import Tiding

    class Beyond(Protocol):
        """What lies beyond the tiers of this process; `name` is what all environments that share it call it, None where none do."""

        @property
        def name(self) -> str | None: ...

        def ask(
            self,
            flight: Flight[Any],
            where: ObjectKey,
            held: H | None,
            bound: float | None,
            *,
            want: Want[H],
            turn: Turn,
        ) -> H:
            """See `Revalidation.ask`."""
            ...

        def expire(self, where: ObjectKey) -> None:
            """This process is to have the object validated anew."""
            ...

        def tell(self, where: ObjectKey) -> None:
            """Every environment is to have the object validated anew.

            Raises:
                ConfigurationError: there is no fleet.
                FleetUnavailableError: it cannot be told.
            """
            ...

        def has_news(self, now: float) -> bool:
            """Whether it is time to ask what others have invalidated."""
            ...

        def news(self, now: float) -> list[Tiding] | None:
            """What others have invalidated since the last time, at most once a second; None: some of it is not known."""
            ...

        def writes(self, where: ObjectKey) -> bytes | None:
            """`put` is about to write the object: what `written` is to be given."""
            ...

        def written(self, entry: Entry, generation: bytes | None) -> None:
            """`put` has written the object."""
            ...

        def doubt(self, where: ObjectKey) -> None:
            """`put` may have written it."""
            ...

        def clear(self) -> None:
            """This process is to have everything fetched anew."""
            ...

        def renew(self) -> None:
            """This is a forked child: connections are its parent's."""
            ...

        def suspend(self) -> None:
            """Hold no connection until the next use."""
            ...

        def close(self) -> None:
            """Hold none any more."""
            ...


__all__ = ["Alone"]


class Alone:
    """See `Beyond`: nothing but S3."""

    name: str | None = None

    def __init__(self, revalidation: Revalidation, why: str = "set shared_url") -> None:
        self.ask = revalidation.ask
        self._why = why

    def expire(self, where: ObjectKey) -> None:
        """See `Beyond.expire`."""

    def tell(self, where: ObjectKey) -> None:
        """See `Beyond.tell`."""
        raise ConfigurationError(
            f"{where} was invalidated for this process, but not everywhere: there is no shared tier; {self._why}"
        )

    def has_news(self, now: float) -> bool:
        """See `Beyond.has_news`."""
        return False

    def news(self, now: float) -> list[Tiding] | None:
        """See `Beyond.news`: nobody has any."""
        return []

    def writes(self, where: ObjectKey) -> bytes | None:
        """See `Beyond.writes`."""
        return None

    def written(self, entry: Entry, generation: bytes | None) -> None:
        """See `Beyond.written`."""

    def doubt(self, where: ObjectKey) -> None:
        """See `Beyond.doubt`."""

    def clear(self) -> None:
        """See `Beyond.clear`."""

    def renew(self) -> None:
        """See `Beyond.renew`."""

    def suspend(self) -> None:
        """See `Beyond.suspend`."""

    def close(self) -> None:
        """See `Beyond.close`."""
