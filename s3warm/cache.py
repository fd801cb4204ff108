"""The read-through cache: the only place that knows the order of the tiers.

What is fresh in memory is answered by `front.py`; the rest comes here. A call goes memory, then (one thread for all that want the object) memory
once more, disk, what lies beyond: the shared tier (`fleet.py`), S3. What each answer of S3 leads to is in `revalidation.py`, how a body is kept in
`bodies.py`, files are in `paths.py`.
"""

from __future__ import annotations

from s3warm.beyond import Alone
from s3warm.bodies import Bodies
from s3warm.calls import Calls
from s3warm.decoding import Decoding
from s3warm.entries import Entry
from s3warm.front import Front
from s3warm.keys import MISSING, locate, locate_tree, trees_of
from s3warm.making import Making
from s3warm.paths import Paths
from s3warm.revalidation import Revalidation
from s3warm.singleflight import SingleFlight
from s3warm.writing import Writes, Writing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from s3warm.beyond import Beyond
    from s3warm.calls import Answer
    from s3warm.entries import Known
    from s3warm.front import Request
    from s3warm.keys import Missing, ObjectKey
    from s3warm.ledger import Ledger
    from s3warm.making import Measure
    from s3warm.metrics import Announcer, Counters, Troubles
    from s3warm.origin.base import Origin
    from s3warm.rules.prefixes import Rules
    from s3warm.settings import Settings
    from s3warm.singleflight import Flight
    from s3warm.tiers.base import FileTier, HotTier, Tier

__all__ = ["ReadThrough"]


class ReadThrough(Front, Paths, Writing):
    """Objects of S3 through tiers, nearest first, with revalidation, single flight and stale-if-error.

    `disk` is where bodies are kept beside memory, `files` the tier that files are handed out from: the same one, unless the cache
    is disabled.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        rules: Rules,
        memory: HotTier,
        disk: FileTier | None,
        files: FileTier | None,
        origin: Origin,
        beyond: Callable[[Revalidation], Beyond],
        ledger: Ledger,
        learn: Callable[[int, float], None],
        clock: Callable[[], float],
        counters: Counters,
        troubles: Troubles,
        announcer: Announcer,
        anonymous: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._memory = memory
        self._disk = disk
        self._tiers: tuple[Tier, ...] = (memory,) if files is None else (memory, files)
        self._kept_in: tuple[Tier, ...] = (memory,) if disk is None else (disk, memory)
        self._origin = origin
        self._clock = clock
        self._counters = counters
        self._announcer = announcer
        self._slots = memory.slots
        self._values = memory.values
        self._flights: SingleFlight[Any] = SingleFlight()
        self._writes = Writes()
        self._ledger = ledger
        self._prolong = memory.prolong
        self._bodies = Bodies(origin, memory, disk, ledger)
        self._revalidation = Revalidation(
            settings,
            rules,
            tiers=self._tiers,
            clock=clock,
            counters=counters,
            troubles=troubles,
            announcer=announcer,
            learn=learn,
            forget=self._flights.forget,
        )
        self._beyond = beyond(self._revalidation)
        self._look = ledger.look if isinstance(self._beyond, Alone) else self._look_and_listen
        self._calls = Calls(self._flights, self._revalidation, counters, announcer)
        Paths.__init__(self, origin, files, ledger)
        self._making = Making(memory, anonymous, self._made, counters=counters, troubles=troubles, announcer=announcer)
        self._give_back = self._making.give_back
        self._decoding = Decoding(
            memory,
            self._making,
            self._flights,
            find=lambda where, bound, slot: self._find(where, bound, self._bodies.passing(slot)),
            open_file=self._found,
            calls=self._calls,
            revalidation=self._revalidation,
            look=self._look,
            largest=ledger.largest,
            clock=clock,
        )

    # -- what users call ---------------------------------------------------------------------------------------------------

    def invalidate(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        version_id: str | None = None,
        request: Request | None = None,
        everywhere: bool = False,
    ) -> None:
        """Ask S3 before the object (or the tree) is used again. Its body is kept, as S3 may confirm it with a 304.

        Holds for this process's memory and for the directory; other processes' memories are not reached, and what they have just read
        from the directory they look at again within a second. Takes what `get` takes.

        Args:
            bucket: as `get` has it.
            key: likewise.
            version_id: likewise.
            request: likewise.
            everywhere: drop it from the shared tier as well, and have each environment of the fleet ask S3: those that are at work at the
                latest a second later, others when they are next called.

        Raises:
            FleetUnavailableError: the fleet cannot be told; call it again.
            ConfigurationError: there is no fleet, as there is no `shared_url`.
            TypeError: an argument is of the wrong type.
            ValueError: an argument cannot name an object.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/flags.json": b"old"}) as s3:
            ...     body = s3warm.get("cfg", "flags.json")
            ...     s3["s3://cfg/flags.json"] = b"new"
            ...     s3warm.invalidate("cfg", "flags.json")
            ...     s3warm.get("cfg", "flags.json")
            b'new'
        """
        named = locate(bucket, key, version_id, request)
        self._beyond.expire(named)  # first: or a flight that begins in between finds there what is to be looked at anew
        for where in (named,) if version_id is not None or request is not None else (named, locate_tree(bucket, key)):
            self._expire(where)
        try:
            if everywhere:
                self._beyond.tell(named)
        finally:
            self._announcer.announce()

    def clear(self) -> None:
        """Drop everything from memory and from the directory.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/flags.json": b"{}"}):
            ...     body = s3warm.get("cfg", "flags.json")
            ...     s3warm.clear()
            ...     s3warm.stats().memory_entries
            0
        """
        self._beyond.clear()  # first, as in `invalidate`
        for _ in range(2):
            self._flights.forget_all()
            self._revalidation.forget_all()
            for tier in self._tiers:
                tier.clear()
        self._announcer.announce()

    def before_fork(self) -> Callable[[], None] | None:
        """See `FileTier.before_fork`."""
        return None if self._files is None else self._files.before_fork()

    def renew(self) -> None:
        """This is a forked child: locks that another thread of the parent held are replaced, flights and connections are the parent's."""
        self._flights.renew()
        self._writes = Writes()
        self._decoding.renew()
        self._ledger.renew()
        self._counters.renew()
        self.renew_pins()
        for tier in self._tiers:
            tier.renew()
        self._beyond.renew()
        self._origin.renew()

    def suspend(self) -> None:
        """Count all that is held as stale, and hold no connection and no database until the next use: see `lambda_hooks`."""
        self._flights.forget_all()
        self._revalidation.forget_all()
        for tier in self._tiers:
            tier.expire_all()
        if self._files is not None:
            self._files.suspend()
        self._beyond.suspend()
        self._origin.close()

    def close(self) -> None:
        """Let go of memory, database and connections. What is in a named directory stays; the cache then only reads through."""
        self._flights.forget_all()
        self.release_all()
        self._give_back()
        for tier in self._tiers:
            tier.close()
        self._beyond.close()
        self._origin.close()

    # -- the ways through the house ----------------------------------------------------------------------------------------

    def _expire(self, where: ObjectKey) -> None:
        # Twice: a flight that begins after the first time may find what one before it had stored, and bring it up again.
        for _ in range(2):
            self._forget(where)
            for tier in self._tiers:
                tier.expire(where)

    def _look_and_listen(self, now: float) -> None:
        """Look at the memory, and hear what the fleet has invalidated; both at most once a second."""
        self._ledger.look(now)
        news = self._beyond.news(now)
        if news is None:
            self._flights.forget_all()
            self._revalidation.forget_all()
            for tier in self._tiers:
                tier.expire_all()
            return
        for where, at in news:
            for each in (where, *trees_of(where)):
                if self._was_validated_by(at, each):
                    self._expire(each)
                else:
                    self._forget(each)

    def _was_validated_by(self, at: float, where: ObjectKey) -> bool:
        """Whether anything is held of an object that was validated at this time or before."""
        held = (*(tier.describe(where) for tier in self._tiers), *self._memory.values_of(where))
        return any(each is not None and each.validated_at <= at for each in held)

    def _value(self, where: ObjectKey, bound: float | None, transform: object, size_of: Measure | None) -> Any:
        return self._decoding.value(where, bound, transform, size_of)

    def _loaded(self, where: ObjectKey, bound: float | None, loader: object, size_of: Measure | None) -> Any:
        return self._decoding.loaded(where, bound, loader, size_of)

    def _made(self, where: ObjectKey, made_by: str, value: object) -> None:
        """Told of each value that is decoded; for `s3warm.testing`."""

    def _read(self, where: ObjectKey, bound: float | None) -> Entry:
        self._look(float(self._clock()))
        held = self._fresh_in_memory(where, bound)
        if held is not None:
            return held
        with self._calls.counted:
            self._calls.begin(where, bound)
            entry = self._find(where, bound, self._bodies)
        assert isinstance(entry, Entry)
        return entry

    def _fresh_in_memory(self, where: ObjectKey, bound: float | None) -> Entry | None:
        """What may be used without asking, and is counted as a hit."""
        held = self._memory.get(where)
        if held is None or not self._revalidation.is_fresh(held, bound):
            return None
        self._memory.hit(where)
        return held

    def _find(self, where: ObjectKey, bound: float | None, want: Bodies) -> Entry | Known:
        """What S3 has, or what may stand in for it; of what is known in another form perhaps only that it is still the same."""
        answer = self._answer(where, bound, want, join=bound != 0)
        entry: Entry | Known = answer.entry
        if not answer.own and bound is not None and not entry.stale and not self._revalidation.is_fresh(entry, bound):
            answer = self._answer(where, bound, want, join=False)
            entry = answer.entry
        if not answer.own:
            self._counters.coalesced += 1
        return entry

    def _answer(self, where: ObjectKey, bound: float | None, want: Bodies, *, join: bool) -> Answer:
        return self._calls.answer(
            where,
            bound,
            lambda flight: self._load(flight, where, bound, want),
            terms=want.terms(bound),
            join=join,
            copy=lambda: want.held(where) or self._newer_on_disk(where, None),
        )

    def _load(self, flight: Flight[Any], where: ObjectKey, bound: float | None, want: Bodies) -> Entry | Known:
        self._give_back()
        # Memory is looked at once more: between this thread's first look and its flight, another flight may have ended.
        held = want.held(where)
        if held is not None and self._revalidation.is_fresh(held, bound):
            want.hit(where)
            return held
        held = self._newer_on_disk(where, held) or held
        if held is not None and self._revalidation.is_fresh(held, bound):
            return self._promoted(flight, held, want)
        with self._revalidation.turn(self._disk, where, held, bound) as turn:
            if turn.found:  # another process has brought it
                held = self._newer_on_disk(where, held) or held
                if held is not None and self._revalidation.is_fresh(held, bound):
                    return self._promoted(flight, held, want)
            return self._beyond.ask(flight, where, held, bound, want=want, turn=turn)

    def _promoted(self, flight: Flight[Any], stored: Entry | Known, want: Bodies) -> Entry | Known:
        """What the disk has, in memory from now on."""
        self._counters.disk_hits += 1
        want.promote(flight, stored)
        return stored

    def _newer_on_disk(self, where: ObjectKey, held: Entry | Known | None) -> Entry | Known | None:
        """What the disk holds, if it was validated later than what memory holds: by another process, or before a crash."""
        if self._disk is None:
            return None
        if held is None:
            return self._disk.get(where)
        found = self._disk.describe(where)
        if found is None or found.validated_at <= held.validated_at:
            return None
        if found.etag == held.etag:
            return held._replace(validated_at=found.validated_at, expires_at=found.expires_at)
        return self._disk.get(where)
