"""The pages, by pdoc: it resolves what is imported for type checkers only, imports (so that lazy names are there), and builds in two seconds.

(Sphinx and mkdocstrings were tried: the first leaves such types unresolved, the second reads the source, where `get` is a bare assignment and the
other functions say "See `Cache.entry`".) What pdoc cannot know is mended here: which members of internal bases are for users, fields of records,
`Unpack`, and names of internal modules.
"""

from __future__ import annotations

import functools
import inspect
import operator
import re
import types
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import pdoc.doc
import pdoc.render

from s3warm.keys import Missing
from s3warm.options import Options
from tests.docs import public

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["build"]


class _Shown(str):
    """Text that stands in a signature as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def build(directory: Path) -> None:
    """Write the pages: `index.html`, and one for each public module.

    Raises:
        ValueError: a docstring speaks of an attribute that there is not.
    """
    _keep_own_texts()
    pdoc.render.configure(docformat="google", show_source=False, footer_text="")
    homes = {name.rpartition(".")[2]: name.rpartition(".")[0] for name, _, owner in public.names() if owner is None}
    pages = {name: pdoc.doc.Module.from_name(name) for name in public.modules()}
    _drop_plumbing(pages)
    for name, page in pages.items():
        page.submodules = [other for path, other in pages.items() if path.rpartition(".")[0] == name]
        for each in page.own_members:
            if isinstance(each, pdoc.doc.Class):
                _mend_class(each, homes)
            elif isinstance(each, pdoc.doc.Function):
                _mend_signature(each, homes)
    for name, page in pages.items():
        file = directory.joinpath(*name.split(".")).with_suffix(".html")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(pdoc.render.html_module(page, pages))
    (directory / "index.html").write_text(pdoc.render.html_index(pages))
    (directory / "search.js").write_text(pdoc.render.search_index(pages))


def _keep_own_texts() -> None:
    """`get` shows the signature of another function, which pdoc would take for the whole of it."""
    for _, value, _ in public.names():
        function = getattr(value, "__func__", value)
        if hasattr(function, "__wrapped__") and inspect.isfunction(function):
            signature = inspect.signature(function)
            vars(function).pop("__wrapped__")
            vars(function)["__signature__"] = signature


def _drop_plumbing(pages: dict[str, pdoc.doc.Module]) -> None:
    """Take what is not for users out of the classes: pdoc looks names of types up in them, and would take a method `list` for the type."""
    for page in pages.values():
        for name in page.obj.__all__:
            for owner in getattr(getattr(page.obj, name), "__mro__", ()):
                for member in public.PLUMBING.get(owner.__name__, ()):
                    if member in vars(owner):
                        delattr(owner, member)


def _mend_class(page: pdoc.doc.Class, homes: dict[str, str]) -> None:
    owner = page.obj
    outside = [base for base in page.bases if base[0].partition(".")[0] != "s3warm"]
    ours = [(homes[name], name, f"{homes[name]}.{name}") for _, name, _ in page.bases if name in homes and name != page.name]
    page.bases = ours + [base for base in outside if base not in ours]
    page.own_members = sorted(_members(page, homes), key=lambda each: _place(owner, each.name))
    page.inherited_members = {
        (homes[name], name): [_at_home(each, homes[name]) for each in members if public.kept(owner, each.name)]
        for (_, name), members in page.inherited_members.items()
        if name in homes and name != page.name
    }
    for each in page.own_members:
        if isinstance(each, pdoc.doc.Function):
            _mend_signature(each, homes)
    said = public.attributes(owner)
    variables = {each.name: each for each in page.own_members if isinstance(each, pdoc.doc.Variable)}
    missing = said.keys() - variables.keys()
    if missing:
        raise ValueError(f"{page.fullname} has no attribute {', '.join(sorted(missing))}, of which its docstring speaks")
    for name, each in variables.items():
        each.docstring = said.get(name, each.docstring)
        each.annotation_str = _shortened(each.annotation_str, homes)
        if public.is_record(owner) and name in owner._fields:  # type: ignore[attr-defined]
            each.default_value = owner._field_defaults.get(name, pdoc.doc.empty)  # type: ignore[attr-defined]
    # Each is said at its name.
    page.docstring = re.sub(r"^Attributes:\n(?:[ \t]+.*\n?|\n)+", "", page.docstring, flags=re.MULTILINE)


def _at_home(page: pdoc.doc.Doc[Any], home: str) -> pdoc.doc.Doc[Any]:
    """A member as it is to be linked to: on the page of the public module, not of the one where it is written."""
    page.taken_from = (home, page.taken_from[1])
    return page


def _members(page: pdoc.doc.Class, homes: dict[str, str]) -> list[pdoc.doc.Doc[Any]]:
    """The members for users: the class's own, and those of internal bases, which have no page."""
    owner = page.obj
    found = []
    for each in page.members.values():
        writer = each.taken_from[1].partition(".")[0]
        ours = each.taken_from[0].partition(".")[0] == "s3warm"
        if not ours or (writer in homes and writer != page.name):
            continue
        # A record, like an error, is made by s3warm.
        made = each.name == "__init__" and not public.is_record(owner) and not issubclass(owner, BaseException)
        if made or public.kept(owner, each.name):
            found.append(each)
    return found


def _place(owner: type, name: str) -> tuple[int, str]:
    """The constructor, then fields and settings as they are written, then the rest by name."""
    order = ["__init__", *(owner._fields if public.is_record(owner) else getattr(owner, "__annotations__", ()))]  # type: ignore[attr-defined]
    return (order.index(name), "") if name in order else (len(order), name)


def _mend_signature(page: pdoc.doc.Function, homes: dict[str, str]) -> None:
    parameters: list[inspect.Parameter] = []
    for each in page.signature.parameters.values():
        if each.kind is inspect.Parameter.VAR_KEYWORD and "Options" in str(each.annotation):
            parameters += [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_Shown("..."), annotation=_type(hint, homes))
                for name, hint in _option_types().items()
            ]
        else:
            default = each.default
            if isinstance(default, types.BuiltinFunctionType):
                default = _Shown(f"{default.__module__}.{default.__name__}")
            parameters.append(each.replace(annotation=_type(each.annotation, homes), default=default))
    result = _type(page.signature.return_annotation, homes)
    page.signature = page.signature.replace(parameters=parameters, return_annotation=result)


def _option_types() -> dict[str, Any]:
    import os
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from s3warm.rules.budget import Share
    from s3warm.rules.prefixes import Rule

    known = {
        "os": os,
        "timedelta": timedelta,
        "Mapping": Mapping,
        "Sequence": Sequence,
        "Any": Any,
        "Rule": Rule,
        "Share": Share,
    }
    return get_type_hints(Options, localns=known)


def _type(annotation: Any, homes: dict[str, str]) -> Any:
    """A type as it is shown."""
    if annotation is inspect.Parameter.empty:
        return annotation
    alternatives = get_args(annotation)
    if Missing in alternatives:  # the second of two arguments, or none: the sentence says so
        annotation = functools.reduce(operator.or_, (each for each in alternatives if each is not Missing))
    text = (
        annotation.__name__
        if isinstance(annotation, type) and not get_args(annotation)
        else inspect.formatannotation(annotation)
    )
    return _Shown(_shortened(text, homes))


def _shortened(text: str, homes: dict[str, str]) -> str:
    """A type in words, without the names of internal modules, which cannot be linked to."""
    text = text.replace("~", "")  # which marks type variables
    text = re.sub(r"s3warm\.[a-z_.]+\.(\w+)", lambda name: name[0] if name[1] in homes else name[1], text)
    return re.sub(r"(?:collections\.abc|typing)\.(?=[A-Z])", "", text)
