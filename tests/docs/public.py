"""What is public, and so documented: the names in the `__all__` of the public modules, and the members of their classes."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any, NamedTuple

__all__ = ["MODULES", "PLUMBING", "Public", "attributes", "is_record", "kept", "modules", "names", "section"]

# A new public module is added here, and nowhere else.
MODULES = (
    "s3warm",
    "s3warm.aio",
    "s3warm.emf",
    "s3warm.notifications",
    "s3warm.otel",
    "s3warm.powertools",
    "s3warm.testing",
)

# What the modules of s3warm ask of each other. By class; subclasses have it as well.
PLUMBING = {
    "Cache": frozenset(("before_fork", "pages", "release_all", "renew", "renew_pins", "resume", "suspend", "used")),
    "FakeS3": frozenset(
        ("before_answer", "clock", "close", "connections", "get", "list", "refresh_credentials", "renew", "retries", "write")
    ),
    "ObjectTooLargeError": frozenset(("beside", "of")),
}


class Public(NamedTuple):
    """A public function, class, method or property."""

    name: str
    value: Any
    owner: type | None = None

    @property
    def doc(self) -> str:
        """Its docstring, without indentation."""
        return inspect.getdoc(self.value) or ""


def modules() -> dict[str, Any]:
    """The public modules by name, with all that they load lazily."""
    found = {name: importlib.import_module(name) for name in MODULES}
    for module in found.values():
        for name in module.__all__:
            getattr(module, name)
    return found


def names() -> list[Public]:
    """Everything that is public."""
    found = [Public(f"{path}.{name}", getattr(module, name)) for path, module in modules().items() for name in module.__all__]
    classes = [each for each in found if inspect.isclass(each.value)]
    documented = {each.value for each in classes}
    for each in classes:
        # What it has from another public class is said there.
        inherited = {name for base in each.value.__mro__[1:] if base in documented for name in dir(base)}
        for base in each.value.__mro__:
            if base.__module__.partition(".")[0] != "s3warm" or base in documented - {each.value}:
                continue
            for name, raw in vars(base).items():
                if kept(each.value, name) and name not in inherited and _is_member(raw):
                    found.append(Public(f"{each.name}.{name}", getattr(each.value, name), each.value))
    return found


def kept(owner: type, name: str) -> bool:
    """Whether a member of a class is for users."""
    return not name.startswith("_") and not any(name in PLUMBING.get(base.__name__, ()) for base in owner.__mro__)


def is_record(value: object) -> bool:
    """Whether it is a class made by `s3warm.record`, whose fields are its `_fields`."""
    return inspect.isclass(value) and issubclass(value, tuple) and hasattr(value, "_fields")


def section(doc: str, title: str) -> dict[str, str]:
    """What a section of a Google-style docstring says, by name: `Args`, `Raises` or `Attributes`. A line may have several names.

    Example:
        >>> section("Sum.\\n\\nArgs:\\n    a, b: numbers,\\n        whole ones.\\n    *more: others.", "Args")
        {'a': 'numbers, whole ones.', 'b': 'numbers, whole ones.', 'more': 'others.'}
    """
    found = re.search(rf"^{title}:\n((?:[ \t]+.*\n?|\n)+)", doc, re.MULTILINE)
    if found is None:
        return {}
    joined = re.sub(r"\n {5,}", " ", inspect.cleandoc("|\n" + found[1]).replace("|\n", ""))
    joined = re.sub(r"\n +", " ", joined)
    said = (line.partition(": ") for line in joined.splitlines() if line)
    return {name.strip("* "): text for names, _, text in said for name in names.split(",")}


def attributes(owner: type) -> dict[str, str]:
    """What is said of each attribute of a class: in its `Attributes:`, or in `__slots__`."""
    slots = vars(owner).get("__slots__")
    return {**section(inspect.getdoc(owner) or "", "Attributes"), **(slots if isinstance(slots, dict) else {})}


def _is_member(raw: object) -> bool:
    return inspect.isfunction(raw) or isinstance(raw, (property, classmethod, staticmethod))
