"""What S3 had and when, and what a cache may therefore give: the plain model that random scenarios are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from s3warm import AccessDeniedError, IntegrityError, ObjectNotFoundError, OriginUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PAUSE = 30.0  # seconds on the cache's clock for which what has failed may be left alone

State = dict[str, int | None]  # the version of each key, counted from 0; None where there is no object


class Call(NamedTuple):
    """What was asked for, and what was going on meanwhile."""

    ttl: float | None
    asked: bool  # S3 was reached
    troubled: bool  # a fault was met, or S3 was down
    flipped: bool  # a bit was


class Model:
    """The truth. All of a call happens at one moment of the clock, and S3 does not change during one.

    Attributes:
        versions: the bodies that S3 had under each key, in the order in which they came.
        current: what S3 has.
    """

    def __init__(
        self, keys: Iterable[str], *, lifetimes: Mapping[str, float], may_stand_in: Mapping[str, float | None]
    ) -> None:
        """`lifetimes` are seconds of freshness at most, -1 for never, whatever a call says; `may_stand_in` seconds after that, None for never."""
        self.versions: dict[str, list[bytes]] = {key: [] for key in keys}
        self.current: State = dict.fromkeys(self.versions)
        self.lifetimes, self._may_stand_in = lifetimes, may_stand_in
        self._seen: list[tuple[float, State]] = []
        # From where on in _seen: what is older must not come as fresh; what is older must not come at all.
        self._valid: dict[str, int] = dict.fromkeys(lifetimes, 0)
        self._kept: dict[str, int] = dict.fromkeys(lifetimes, 0)
        self._given: dict[str, int] = {}  # the newest version that the cache is known to have had
        self._troubles: list[tuple[float, bool]] = []

    def see(self, now: float) -> None:
        """This is what S3 has now."""
        self._seen.append((now, dict(self.current)))

    def put(self, key: str, body: bytes) -> None:
        self.versions[key].append(body)
        self.current[key] = len(self.versions[key]) - 1

    def invalidated(self, key: str) -> None:
        """What was seen until now is not fresh any more."""
        self._valid[key] = len(self._seen)

    def dropped(self, *keys: str) -> None:
        """Nothing of what was seen until now is held any more."""
        for key in keys or self._kept:
            self._kept[key] = self._valid[key] = len(self._seen)

    def restarted(self) -> None:
        """A new process knows nothing of what failed."""
        self._troubles.clear()

    def check(self, key: str, body: bytes, call: Call, now: float, *, stale: bool = False, keeps: bool = True) -> None:
        """A call has given these bytes, as a copy that stood in if `stale`; `keeps` says whether it has left them in the cache."""
        self._note(call, now)
        assert body in self.versions[key], f"{len(body)} bytes that S3 never had as {key!r}"
        floor = self._given.get(key, 0)
        versions = [at for at, known in enumerate(self.versions[key]) if known == body and at >= floor]
        assert versions, f"an older version of {key!r} than the cache had already"
        if call.asked and not stale and self.current[key] in versions:
            version = self.current[key]  # S3 may have said so just now
        else:
            assert call.ttl != 0, f"ttl=0, and not what S3 says of {key!r}"
            allowed = [state[key] for state in self._allowed(key, call, now)]
            found = [at for at in versions if at in allowed]
            assert found, (
                f"version {versions} of {key!r} at {now}: S3 has {self.current[key]}, and that is too old, or S3 was well (asked: {call.asked})"
            )
            version = found[-1]
        assert version is not None
        if keeps:
            self._given[key] = max(floor, version)

    def check_tree(self, name: str, files: Mapping[str, bytes], call: Call, now: float) -> None:
        """A directory has these files: all that S3 had below the prefix at one time."""
        self._note(call, now)

        def shows(state: State) -> bool:
            below = {key: at for key, at in state.items() if key.startswith(name) and at is not None}
            return below.keys() == files.keys() and all(self.versions[key][at] == files[key] for key, at in below.items())

        if not (call.asked and shows(self.current)):
            assert call.ttl != 0, f"ttl=0, and not what S3 says of {name!r}"
            assert any(shows(state) for state in self._allowed(name, call, now)), (
                f"{sorted(files)} below {name!r} at {now} is a mixture, too old, or S3 was well"
            )

    def check_error(self, key: str, error: Exception, call: Call, now: float) -> None:
        """A call has raised this."""
        self._note(call, now)
        if isinstance(error, ObjectNotFoundError):
            there = [
                known
                for known, at in self.current.items()
                if at is not None and (known == key or (key.endswith("/") and known.startswith(key)))
            ]
            assert not there, f"{there} are there"
            self.dropped(key)
        elif isinstance(error, IntegrityError):
            assert any(flipped for _, flipped in self._recent(now)), f"nothing was damaged: {error}"
        elif isinstance(error, OriginUnavailableError):
            assert self._recent(now), f"S3 was well: {error}"
        else:
            assert not isinstance(error, AccessDeniedError), error
            raise error

    def _allowed(self, key: str, call: Call, now: float) -> list[State]:
        """What S3 had when what the cache may give was validated."""
        lifetime = self.lifetimes[key]
        bound = lifetime if call.ttl is None or lifetime < 0 else call.ttl
        allowed = [state for time, state in self._seen[self._valid[key] :] if time <= now < time + bound]
        beyond = self._may_stand_in[key]
        if beyond is not None and call.ttl != 0 and self._recent(now):
            allowed += [state for time, state in self._seen[self._kept[key] :] if now < time + lifetime + beyond]
        return allowed

    def _note(self, call: Call, now: float) -> None:
        if call.troubled:
            self._troubles.append((now, call.flipped))

    def _recent(self, now: float) -> list[tuple[float, bool]]:
        """Troubles after which S3 may still be left alone."""
        return [trouble for trouble in self._troubles if trouble[0] <= now < trouble[0] + PAUSE]
