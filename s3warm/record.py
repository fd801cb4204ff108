"""Immutable records without the price of `typing` or `dataclasses`.

`import s3warm` runs in every cold start. `typing` costs about 6 ms there and `dataclasses` 9 ms (it pulls in
`inspect`), `collections` is loaded already. So records are written in the class syntax of `typing.NamedTuple`,
type checkers see that very class, and at run time this module builds the same thing from `collections`.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:

    class _RecordType(type):
        def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            fields = body.get("__annotations__", {})
            defaults = [body[field] for field in fields if field in body]
            base = namedtuple(name, fields, defaults=defaults, module=body["__module__"])
            members = {key: value for key, value in body.items() if key not in fields}
            members.setdefault("__slots__", ())
            return type(name, (base,), members)

    NamedTuple = type.__new__(_RecordType, "NamedTuple", (), {})

__all__ = ["NamedTuple"]
