"""What listings of the last seconds say: fsspec's own cache of directories, asked for single paths as well."""

from __future__ import annotations

import weakref
from bisect import bisect_left

from s3warm import folders
from s3warm.errors import ObjectNotFoundError
from s3warm.origin.mocked import is_mocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from typing import Any

    from s3warm.folders import Info

__all__ = ["Listings", "nothing"]

_REMEMBERED = 10_000  # entries: a longer listing is given out and not kept, as each takes some 500 bytes


class Listings:
    """Entries of folders and of single paths, each in a mapping that lets go of what has expired when it is looked at."""

    def __init__(self, in_folders: MutableMapping[str, list[Info]], paths: MutableMapping[str, Info]) -> None:
        self._folders = in_folders
        self._paths = paths
        self._source: Callable[[], Any] = _nobody

    def come_from(self, source: object) -> None:
        """Forget what another cache has listed, and all while moto mocks AWS: no test sees the bucket of the one before."""
        if self._source() is not source or is_mocked():
            self.forget(None)
            self._source = weakref.ref(source)

    def folder(self, path: str) -> list[Info] | None:
        """The entries of a folder, if they are remembered."""
        return self._folders.get(path)

    def tree(self, path: str) -> dict[str, list[Info]] | None:
        """The entries of a folder and of all folders below it, if all are remembered."""
        found: dict[str, list[Info]] = {}
        wanted = [path]
        while wanted:
            name = wanted.pop()
            entries = self.folder(name)
            if entries is None:
                return None
            found[name] = entries
            wanted += [entry["name"] for entry in entries if entry["type"] == "directory"]
        return found

    def entry(self, path: str) -> Info | None:
        """The entry of a path; None: no listing tells.

        Raises:
            ObjectNotFoundError: one says that there is nothing.
        """
        found = self._paths.get(path)
        if found is not None:
            return found
        siblings = self._folders.get(folders.parent(path))
        if siblings is not None:
            at = bisect_left(siblings, path, key=lambda entry: str(entry["name"]))
            if at == len(siblings) or siblings[at]["name"] != path:
                raise nothing(path)
            return siblings[at]
        return folders.folder(path) if path in self._folders else None

    def keep(self, entry: Info) -> None:
        """Remember the entry of a single path."""
        self._sweep()
        self._paths[entry["name"]] = entry

    def keep_folders(self, listed: dict[str, list[Info]]) -> None:
        """Remember folders with all that lies in them, sorted by names, unless they are too many to hold."""
        self._sweep()
        if sum(map(len, listed.values())) <= _REMEMBERED:
            self._folders.update(listed)

    def forget(self, path: str | None) -> None:
        """Forget all, or what tells of a path and of what is below it."""
        for remembered in (self._folders, self._paths):
            if path is None:
                remembered.clear()
                continue
            for name in list(remembered):
                if name == path or name.startswith(f"{path}/") or path.startswith(f"{name}/"):
                    remembered.pop(name, None)

    def _sweep(self) -> None:
        for remembered in (self._folders, self._paths):
            list(remembered)  # looks at each


def nothing(path: str) -> ObjectNotFoundError:
    """The error for a path at which there is neither a file nor a folder."""
    bucket, _, key = path.partition("/")
    return ObjectNotFoundError(f"there is nothing at s3://{path}, and nothing below it; check the path", bucket=bucket, key=key)


def _nobody() -> None:
    """Nothing has been listed yet."""
