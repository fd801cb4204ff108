"""What should be gone from a tier and could not be removed: not to be found until it is."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.keys import ObjectKey

__all__ = ["Doubts"]

LIMIT = 1000  # keys remembered


class Doubts:
    """Keys whose entries must not be used. Of too many to remember, everything is in doubt (`all`).

    Example:
        >>> from s3warm.keys import ObjectKey
        >>> doubts = Doubts()
        >>> doubts.add(ObjectKey("cfg", "flags.json"))
        >>> ObjectKey("cfg", "flags.json") in doubts
        True
    """

    def __init__(self) -> None:
        self._keys: set[ObjectKey] = set()
        self.all = False

    def add(self, key: ObjectKey) -> None:
        """The key should be gone."""
        self._keys.add(key)
        if len(self._keys) > LIMIT:
            self.add_all()

    def add_all(self) -> None:
        """Everything should be gone."""
        self.all = True
        self._keys.clear()

    def resolve(self, key: ObjectKey) -> None:
        """It is gone, or what is held has come since."""
        self._keys.discard(key)

    def resolve_all(self) -> None:
        """Everything is gone."""
        self.all = False
        self._keys.clear()

    def __bool__(self) -> bool:
        return self.all or bool(self._keys)

    def __contains__(self, key: ObjectKey) -> bool:
        return self.all or key in self._keys
