"""Other settings for what lies below a prefix: a TTL, how long a stale copy may stand in, where bodies may lie."""

from __future__ import annotations

from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from s3warm.keys import ObjectKey

__all__ = ["Rule", "Rules"]


class Rule(NamedTuple):
    """What holds for the objects whose URI begins with `prefix`; None: what a shorter prefix says, or the setting.

    Attributes:
        prefix: `"s3://bucket/"`, or more.
        ttl: for how many seconds an object is fresh.
        stale_if_error: for how many seconds after expiry a copy may stand in while S3 is out of reach.
        disk: whether bodies may lie on disk. Those of SSE-C may only where this is True, others unless it is False.
        shared: whether anything may lie in the shared tier. Bodies that are encrypted with KMS or SSE-C may only where this is True, and so
            what is `no-store`; others unless this is False, or `disk` is.
    """

    prefix: str
    ttl: float | None = None
    stale_if_error: float | None = None
    disk: bool | None = None
    shared: bool | None = None


class Rules:
    """All of them: of those that apply, the one with the longest prefix that says something decides.

    Example:
        >>> from s3warm.keys import locate
        >>> rules = Rules([Rule("s3://cfg/", disk=False), Rule("s3://cfg/live/", ttl=5.0)])
        >>> live = locate("s3://cfg/live/flags.json")
        >>> rules.find("ttl", live), rules.on_disk(live), rules.find("ttl", locate("s3://cfg/flags.json"))
        (5.0, False, None)
    """

    __slots__ = ("_rules",)

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = sorted(rules, key=lambda rule: -len(rule.prefix))

    def find(self, name: str, where: ObjectKey) -> Any:
        """What the rules say of an object, by the name of a `Rule`'s field; None if nothing."""
        rule = self._deciding(name, where)
        return None if rule is None else getattr(rule, name)

    def _deciding(self, name: str, where: ObjectKey) -> Rule | None:
        """The rule that says it."""
        if not self._rules:
            return None
        uri = f"s3://{where.bucket}/{where.key}"
        return next((rule for rule in self._rules if getattr(rule, name) is not None and uri.startswith(rule.prefix)), None)

    def in_fleet(self, where: ObjectKey) -> bool | None:
        """What is said of sharing an object with other environments; None if nothing is."""
        shared, disk = self._deciding("shared", where), self._deciding("disk", where)
        # What may not even lie on one's own disk is shared only where as much is said of it, or of something within.
        if disk is not None and disk.disk is False and (shared is None or len(shared.prefix) < len(disk.prefix)):
            return False
        return None if shared is None else shared.shared

    def on_disk(self, where: ObjectKey) -> bool:
        """Whether a body, or a tree with all that may be in it, may lie on disk."""
        if where.tree:
            uri = f"s3://{where.bucket}/{where.key}"
            if any(rule.disk is False and rule.prefix.startswith(uri) for rule in self._rules):
                return False
        said = self.find("disk", where)
        # What a customer encrypts with a key of its own would lie in /tmp without that encryption.
        encrypted = where.request is not None and where.request.encrypted
        return said is True if encrypted else said is not False
