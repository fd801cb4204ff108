"""Assembly: the only module that names every concrete class."""

from __future__ import annotations

import os
import sys
import time

from s3warm import forking, machine
from s3warm.beyond import Alone
from s3warm.bulk import Bulk
from s3warm.explanation import Budgets, explain
from s3warm.keys import MISSING, locate, locate_tree
from s3warm.ledger import Ledger
from s3warm.metrics import Announcer, Counters, Stats, Troubles
from s3warm.notices import Notices
from s3warm.origin.boto import BotoRequests, memory_to_come
from s3warm.origin.choice import ChosenRequests
from s3warm.origin.fetch import ConditionalFetch
from s3warm.origin.identity import client_namespace, default_namespace
from s3warm.origin.offline import OfflineRequests
from s3warm.origin.places import suits
from s3warm.rules import budget
from s3warm.rules.costs import FROM_DISK, FROM_S3, LearntCost
from s3warm.rules.prefixes import Rules
from s3warm.settings import resolve, switch
from s3warm.tiers.disk import DiskTier
from s3warm.tiers.memory import MemoryTier
from s3warm.tiers.temporary import temporary_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Self, Unpack

    from s3warm.beyond import Beyond
    from s3warm.explanation import Explanation
    from s3warm.front import Request
    from s3warm.keys import Missing
    from s3warm.metrics import Event
    from s3warm.options import Options
    from s3warm.origin.base import Requests
    from s3warm.revalidation import Revalidation
    from s3warm.rules.eviction import Cost
    from s3warm.settings import Settings

__all__ = ["LAMBDA_DIRECTORY", "Cache", "origin_memory"]

LEAN_MEMORY = 10 * 2**20  # bytes, measured: 5.4 MiB, and 4 for TLS
LAMBDA_DIRECTORY = "/tmp/s3warm"  # noqa: S108  # private: made 0700 and refused if it is anybody else's


def origin_memory(settings: Settings, *, suited: bool) -> int:
    """Bytes that the origin will take with the first request, where the small client would be `suited` for it, or not."""
    lean = settings.origin == "lean" or (settings.origin == "auto" and suited)
    return LEAN_MEMORY if lean else memory_to_come()


class Cache(Bulk):
    """A read-through cache for S3 objects: hot ones in memory, the rest compressed in a directory.

    Args:
        settings: a `Settings` object; without it `S3WARM_*` variables are read.
        client: a boto3 S3 client to use as it is, its time-outs and retries included; without it one is made when it is needed, or, in
            Lambda and for plain buckets, s3warm's own is used (see the setting `origin`).
        shared_client: a client of redis-py or valkey-py for the shared tier, to use as it is, its time-outs and retries included, in place of
            `shared_url`; it must not decode responses.
        clock: the wall clock, seconds since the epoch. Not a monotonic one: those stand still while Lambda freezes the environment.
        on_event: called with an `Event` for what is not a memory hit.
        **options: single settings, which win over `settings` and the environment; `Settings` says what there is.

    Raises:
        ConfigurationError: a setting cannot be understood, or there is no such setting.
        TypeError: `settings`, `client`, `shared_client`, `clock` or `on_event` is something else.

    Example:
        >>> with Cache(ttl=60, memory_budget="8MiB", disk_budget=0) as cache:
        ...     print(cache.budgets())
        memory  8.0 MiB: as set; bodies up to 4.0 MiB
        disk    off
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        client: Any = None,
        shared_client: Any = None,
        clock: Callable[[], float] = time.time,
        on_event: Callable[[Event], None] | None = None,
        **options: Unpack[Options],
    ) -> None:
        environ = os.environ
        settings = resolve(settings, options, environ)
        disabled = switch("S3WARM_DISABLED", environ)
        if disabled:
            settings = settings.replace(
                memory_budget=0,
                ttl=0,
                stale_if_error=0,
                stale_while_revalidate=0,
                negative_ttl=0,
                cache_control="ignore",
                rules=(),
            )
        if client is not None and not callable(getattr(client, "get_object", None)):
            kind = type(client).__name__
            raise TypeError(f"client must be a boto3 S3 client, as from boto3.client('s3'), or None, not {kind}: {client!r}")
        if not callable(clock):
            raise TypeError(f"clock must be a function without arguments, not {clock!r}")
        if on_event is not None and not callable(on_event):
            raise TypeError(f"on_event must be a function that takes an Event, or None, not {on_event!r}")
        counters, troubles, rules = Counters(), Troubles(), Rules(settings.rules)
        announcer = Announcer(on_event, troubles)

        notices = Notices(counters, troubles, announcer)
        self._disabled = disabled
        share = self._derive(settings, held=0)
        from_s3, from_disk = self._learnt(FROM_S3), self._learnt(FROM_DISK)
        has_disk = settings.disk_budget != 0 and sys.platform != "win32"
        memory = MemoryTier(
            self._memory_budget.bytes,
            self._largest_in_memory,
            from_disk if has_disk and not disabled else from_s3,
            counters,
            notices.evicted,
        )
        ledger = Ledger(
            share,
            memory,
            anonymous=machine.anonymous_memory,
            give_back=machine.give_back,
            free_at_once=machine.free_at_once,
        )
        self._disk_tier = files = None
        if has_disk:
            # Disabled, nothing is kept; but who wants a file gets one, in a directory of this process alone, after asking S3 each time.
            directory, temporary = (temporary_directory(), True) if disabled else self._place(settings)
            # What was kept by a cache that did not ask for verification is none of this one's.
            namespace = self._namespace(settings, client) + (" verified" if settings.verify == "require" else "")
            files = DiskTier(
                directory,
                namespace,
                budget=settings.disk_budget,
                level=settings.compression_level,
                cost=from_s3,
                learn=from_disk.note,
                free=machine.free_disk,
                account=ledger,
                counters=counters,
                troubles=troubles,
                evicted=notices.evicted,
                corrupted=notices.corrupted,
                failed=notices.failed,
                temporary=temporary,
                admits=rules.on_disk,
            )
            self._disk_tier = None if disabled else files
        super().__init__(
            settings,
            rules=rules,
            memory=memory,
            disk=self._disk_tier,
            files=files,
            beyond=self._fleet(
                settings,
                client=client,
                shared_client=shared_client,
                rules=rules,
                account=ledger,
                clock=clock,
                notices=notices,
            ),
            origin=ConditionalFetch(self._supplier(client, settings), counters, must_verify=settings.verify == "require"),
            ledger=ledger,
            learn=from_s3.note,
            clock=clock,
            counters=counters,
            troubles=troubles,
            announcer=announcer,
            anonymous=machine.anonymous_memory,
        )
        forking.watch(self)

    def _derive(self, settings: Settings, *, held: int) -> int:
        """Choose the memory budget, where `held` bytes of the process's memory are the cache's; the process's share of all memory."""
        limit, processes = machine.memory_limit(os.environ), machine.concurrency(os.environ)
        chosen = budget.memory_budget(
            settings.memory_budget,
            limit=limit.bytes,
            source=limit.source,
            rss=max(0, machine.resident_memory() - held)
            + origin_memory(settings, suited=not suits(os.environ, "any-plain-bucket")),
            concurrency=processes,
        )
        self._memory_budget = budget.Budget(0, "S3WARM_DISABLED=1") if self._disabled else chosen
        self._largest_in_memory = budget.largest_memory_object(settings.max_memory_object, self._memory_budget.bytes)
        return limit.bytes // processes

    def resume(self) -> None:
        """The process was restored from a snapshot: all is stale, and budgets follow from what there is now; see `lambda_hooks`."""
        self.suspend()
        share = self._derive(self._settings, held=self._memory.held())
        self._memory.resize(self._memory_budget.bytes, self._largest_in_memory)
        self._ledger.derive(share)

    @property
    def settings(self) -> Settings:
        """The settings in force, wherever they came from.

        Example:
            >>> with Cache(ttl=60, disk_budget=0) as cache:
            ...     cache.settings.ttl
            60.0
        """
        return self._settings

    def stats(self) -> Stats:
        """A snapshot of all counters; see `Stats`. Costs microseconds and asks nobody.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/flags.json": b"{}"}):
            ...     bodies = [s3warm.get("cfg", "flags.json") for _ in range(3)]
            ...     stats = s3warm.stats()
            >>> stats.misses, stats.memory_hits, stats.origin_requests
            (1, 2, 1)
        """
        memory = self._memory.usage()
        disk = self._disk.usage() if self._disk is not None else None
        return self._counters.snapshot(
            memory_hits=self._memory.hits(),
            memory_bytes=memory.bytes,
            memory_budget=memory.budget,
            memory_entries=memory.entries,
            disk_bytes=disk.bytes if disk else 0,
            disk_budget=disk.budget if disk else 0,
        )

    def explain(
        self,
        bucket: str,
        key: str | Missing = MISSING,
        *,
        version_id: str | None = None,
        request: Request | None = None,
    ) -> Explanation:
        """Where an object lies and what the cache knows of it; asks nobody. Reads well when printed.

        Takes what `get` takes.

        Raises:
            TypeError: an argument is of the wrong type.
            ValueError: an argument cannot name an object.

        Example:
            >>> from s3warm.testing import fake_s3
            >>> import s3warm
            >>> with fake_s3({"s3://cfg/flags.json": b"{}"}):
            ...     body = s3warm.get("cfg", "flags.json")
            ...     s3warm.explain("cfg", "flags.json").tiers
            ('memory', 'disk')
        """
        where = locate(bucket, key, version_id, request)
        held = self._held(where)
        if not held and where.key.endswith("/"):
            where = locate_tree(bucket, key)
            held = self._held(where)
        explained = explain(where, held, self._clock(), self._revalidation.refusal(where), self._revalidation.pause(where))
        made = self._memory.values_of(where)
        return explained._replace(values=tuple(f"{slot.made_by}, {slot.size:,} bytes" for slot in made))

    def budgets(self) -> Budgets:
        """The bytes that each tier may hold, and what they were chosen from. Reads well when printed.

        Example:
            >>> with Cache(memory_budget="8MiB", disk_budget=0) as cache:
            ...     cache.budgets().memory.bytes, cache.budgets().largest_in_memory
            (8388608, 4194304)
        """
        tier = self._disk_tier
        disk = tier.budget() if tier is not None else None
        return Budgets(
            self._memory_budget, disk, self._largest_in_memory, tier.path if tier is not None else None, self._beyond.name
        )

    def close(self) -> None:
        """Let go of memory, database and connections. What is in a named directory stays; the cache then only reads through.

        The end of a `with` block does it, too. Once too often does no harm.

        Example:
            >>> cache = Cache(ttl=60)
            >>> cache.close()
        """
        forking.leave(self)
        super().close()

    @property
    def used(self) -> bool:
        """Whether the cache was ever asked for an object."""
        stats = self._counters.snapshot(memory_hits=self._memory.hits())
        return any(stats)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # What `s3warm.testing` replaces.

    def _supplier(self, client: Any, settings: Settings) -> Requests:
        """What sends the requests."""
        if switch("S3WARM_OFFLINE", os.environ):
            return OfflineRequests()
        checksums = settings.verify == "require"
        if client is not None or settings.origin == "boto3":
            return BotoRequests(client, checksums=checksums)
        if settings.origin == "auto" and not machine.has_runtime(os.environ):
            return BotoRequests(checksums=checksums)
        return ChosenRequests(settings.origin, checksums=checksums)

    def _learnt(self, prior: Cost) -> LearntCost:
        """What it takes to get an object back from a tier."""
        return LearntCost(prior)

    def _place(self, settings: Settings) -> tuple[str, bool]:
        """Where the disk tier lies, and whether it is to be removed at exit."""
        if settings.directory is not None:
            return settings.directory, False
        if machine.in_lambda(os.environ):
            return LAMBDA_DIRECTORY, False
        return temporary_directory(), True

    def _namespace(self, settings: Settings, client: Any) -> str:
        """What keeps this cache's objects apart from those of others on the same directory."""
        if settings.namespace is not None:
            return f"named {settings.namespace}"
        if client is not None:
            return client_namespace(client) or f"private {os.urandom(16).hex()}"
        return default_namespace(os.environ)

    def _fleet(
        self,
        settings: Settings,
        *,
        client: Any,
        shared_client: Any,
        rules: Rules,
        account: Ledger,
        clock: Callable[[], float],
        notices: Notices,
    ) -> Callable[[Revalidation], Beyond]:
        """What makes the fleet that this cache is one of, or what stands for none."""
        for name in ("S3WARM_DISABLED", "S3WARM_OFFLINE"):
            if switch(name, os.environ):
                return lambda revalidation: Alone(revalidation, f"{name} has turned it off")
        if settings.shared_url is None and shared_client is None:
            return Alone
        from s3warm.joining import join

        return join(
            settings,
            client=client,
            shared_client=shared_client,
            rules=rules,
            account=account,
            clock=clock,
            notices=notices,
            environ=os.environ,
        )
