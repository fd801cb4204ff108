"""Modules that load themselves when they are first used: what `import s3warm` promises, without its price."""

from __future__ import annotations

import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Later", "promise"]

_lock = threading.RLock()
_loading: set[int] = set()  # guarded by _lock


class Later(type(sys)):  # type: ignore[misc]
    """A module of this package before its first use; with that it is the module, and of the common class.

    `importlib.util.LazyLoader` does as much, but before CPython 3.11.9 two threads that use a module first could find it half loaded.
    """

    def __getattribute__(self, name: str) -> Any:
        if name != "__class__":
            _load(self)
        return object.__getattribute__(self, name)  # not of super(): it is of another class by now

    def __setattr__(self, name: str, value: object) -> None:
        _load(self)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        _load(self)
        object.__delattr__(self, name)


def promise(name: str) -> object:
    """The module of that full name: as it is loaded, or one that loads itself."""
    return sys.modules.get(name) or sys.modules.setdefault(name, Later(name))


def _load(module: Later) -> None:
    with _lock:
        if type(module) is not Later or id(module) in _loading:  # it is loaded, or loads itself just now, by this thread
            return
        from importlib.machinery import PathFinder
        from importlib.util import module_from_spec

        own: dict[str, Any] = object.__getattribute__(module, "__dict__")
        package = own["__name__"].rpartition(".")[0]
        spec = PathFinder.find_spec(own["__name__"], sys.modules[package].__path__)
        assert spec is not None
        assert spec.loader is not None
        _loading.add(id(module))
        try:
            own.update(vars(module_from_spec(spec)))
            spec.loader.exec_module(module)
        finally:
            _loading.discard(id(module))
        object.__setattr__(module, "__class__", type(sys))
