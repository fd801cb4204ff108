"""Everything public has a docstring that says what it takes, gives and raises, with an example, which runs as a doctest of its module."""

from __future__ import annotations

import ast
import builtins
import doctest
import inspect
import re
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

import s3warm
from s3warm.testing import FakeS3, fake_s3
from tests.docs import public
from tests.docs.public import Public, section

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = public.names()
FUNCTIONS = [each for each in NAMES if inspect.isroutine(each.value)]
CLASSES = [each for each in NAMES if inspect.isclass(each.value)]
BY_NAME = {
    each.name.rpartition(".")[2]: each for each in reversed(NAMES) if each.owner is None
}  # s3warm's own, where two have it


def name_of(each: Public) -> str:
    return each.name


def used_in_examples(doc: str) -> set[str]:
    """The attributes that the examples of a docstring look at."""
    source = "".join(example.source for example in doctest.DocTestParser().get_examples(doc))
    return {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}


def handed_over(doc: str) -> Public | None:
    """The function of which a docstring says that this one takes the same."""
    found = re.search(r"Takes\s+(?:and\s+raises\s+)?what\s+`(\w+)`\s+(?:takes|does)\b", doc)
    return BY_NAME[found[1]] if found else None


def told_arguments(doc: str) -> set[str]:
    """The parameters that a docstring explains: in a section, in its sentences, or by the name of another that takes the same."""
    other = handed_over(doc)
    named = set(re.findall(r"`(\w+)`", doc.partition("\n\nExample:")[0]))
    return {*section(doc, "Args"), *section(doc, "Attributes"), *named, *(told_arguments(other.doc) if other else ())}


def told_errors(doc: str) -> set[type]:
    """The exceptions that a docstring names, with those of the function that it refers to."""
    other = handed_over(doc) if re.search(r"Takes\s+and\s+raises\s+what", doc) else None
    names = {name: getattr(s3warm if name in s3warm.__all__ else builtins, name) for name in section(doc, "Raises")}
    return {*names.values(), *(told_errors(other.doc) if other else ())}


@pytest.mark.parametrize("each", NAMES, ids=name_of)
def test_it_begins_with_a_sentence(each: Public) -> None:
    first = each.doc.partition("\n\n")[0]
    assert re.match(r"[A-Z`]", first), first
    assert first.endswith((".", ":")), first


@pytest.mark.parametrize("each", NAMES, ids=name_of)
def test_it_has_an_example(each: Public) -> None:
    """A property may be shown in the example of its class."""
    own = doctest.DocTestParser().get_examples(each.doc)
    if isinstance(each.value, property) and each.owner is not None:
        assert own or each.name.rpartition(".")[2] in used_in_examples(inspect.getdoc(each.owner) or "")
    else:
        assert own


@pytest.mark.parametrize("each", FUNCTIONS, ids=name_of)
def test_it_says_what_its_arguments_mean(each: Public) -> None:
    parameters = set(inspect.signature(each.value).parameters) - {"self", "cls"}
    assert parameters - told_arguments(each.doc) == set()


@pytest.mark.parametrize("each", CLASSES, ids=name_of)
def test_it_says_what_its_fields_or_arguments_mean(each: Public) -> None:
    if public.is_record(each.value):
        assert set(each.value._fields) == set(section(each.doc, "Attributes"))
    elif issubclass(each.value, BaseException):  # s3warm makes it
        own = {name for name, value in vars(each.value).items() if public.kept(each.value, name) and not callable(value)}
        assert {*own, *vars(each.value).get("__annotations__", ())} == set(section(each.doc, "Attributes"))
    else:
        assert set(inspect.signature(each.value).parameters) - told_arguments(each.doc) == set()


@pytest.mark.parametrize("each", [*FUNCTIONS, *(each for each in CLASSES if not public.is_record(each.value))], ids=name_of)
def test_it_explains_no_argument_that_there_is_not(each: Public) -> None:
    assert set(section(each.doc, "Args")) <= set(inspect.signature(each.value).parameters)


@pytest.mark.parametrize("each", [*FUNCTIONS, *CLASSES], ids=name_of)
def test_it_names_what_its_code_raises(each: Public) -> None:
    own = each.value.__dict__.get("__init__", None) if inspect.isclass(each.value) else each.value
    if own is None:
        return
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(own))))
    raised = {
        node.exc.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
    }
    assert raised <= {error.__name__ for error in told_errors(each.doc)}


@pytest.mark.parametrize("name", sorted(set(s3warm.__all__) & set(dir(s3warm.Cache))))
def test_a_function_says_what_the_method_does(name: str) -> None:
    assert inspect.getdoc(getattr(s3warm, name)) == inspect.getdoc(getattr(s3warm.Cache, name))


def missing(s3: FakeS3) -> None:
    """S3 is well; there is no such object."""


def denied(s3: FakeS3) -> None:
    s3["s3://bucket/key"] = b"{}"
    s3.denied |= {"s3://bucket/key", "s3://bucket/key/"}


def down(s3: FakeS3) -> None:
    s3.down = True


def damaged(s3: FakeS3) -> None:
    s3.put("s3://bucket/key", b"{]", etag='"99914b932bd37a50b983c5e7c90ae93b"')
    s3.put("s3://bucket/key/1", b"{]", etag='"99914b932bd37a50b983c5e7c90ae93b"')


def call(function: Callable[..., Any], *arguments: object, **options: object) -> type | None:
    """Call a function; the type of what it raises."""
    try:
        given = function(*arguments, **options)
        if hasattr(given, "__enter__") and not isinstance(given, FakeS3):
            with given:
                pass
    except Exception as error:  # noqa: BLE001  # whichever it is, it is to be named
        return type(error)
    return None


ABOUT_ONE = [each for each in FUNCTIONS if "bucket" in inspect.signature(each.value).parameters and each.owner is None]


@pytest.mark.parametrize("each", ABOUT_ONE, ids=name_of)
def test_it_names_what_it_raises_when_s3_does_not_answer_well(each: Public) -> None:
    parameters = list(inspect.signature(each.value).parameters.values())[2:]
    further = {parameter.name: b"" for parameter in parameters if parameter.default is parameter.empty}
    raised = set()
    for happen in (missing, denied, down, damaged):
        for options in ({}, {"disk_budget": 0}):
            with fake_s3(**options) as s3:  # type: ignore[arg-type]
                happen(s3)
                raised.add(call(getattr(s3warm, each.name.rpartition(".")[2]), "bucket", "key", **further))
    wrong = [(1, "key"), ("bucket", 1), ("", "key"), ("bucket", ""), ("bucket",)]
    for arguments in wrong:
        with fake_s3():
            raised.add(call(getattr(s3warm, each.name.rpartition(".")[2]), *arguments, **further))
    assert {TypeError, ValueError} <= raised
    assert_named(each, raised)


@pytest.mark.parametrize(
    ("name", "arguments", "options", "error"),
    [
        ("get_many", ["s3://bucket/key"], {}, TypeError),
        ("get_many", [["s3://bucket/"]], {}, ValueError),
        ("get_many", [["s3://bucket/key"]], {}, s3warm.ObjectNotFoundError),
        ("preload", [1], {}, TypeError),
        ("preload", ["bucket"], {}, ValueError),
        ("preload", [], {"timeout": -1}, ValueError),
        ("preload", ["s3://bucket/key"], {"strict": True}, s3warm.PreloadError),
        ("glob", ["bucket/*"], {}, ValueError),
        ("glob", ["s3://bucket/*"], {"limit": -1}, ValueError),
        ("inject", [], {}, TypeError),
        ("inject", [], {"flags": 1}, TypeError),
        ("inject", [], {"flags": "flags.json"}, ValueError),
        ("inject", [], {"flags": "s3://bucket/key", "ttl": -1}, ValueError),
        ("configure", [], {"ttl": "soon"}, s3warm.ConfigurationError),
        ("configure", [], {"tttl": 1}, s3warm.ConfigurationError),
        ("configure", [1], {}, TypeError),
        ("configure", [], {"on_event": 1}, TypeError),
        ("deadline", ["soon"], {}, TypeError),
        ("deadline", [-1], {}, ValueError),
        ("Cache", [], {"ttl": "soon"}, s3warm.ConfigurationError),
        ("Cache", [], {"client": 1}, TypeError),
        ("Settings", [], {"ttl": "soon"}, s3warm.ConfigurationError),
        ("fake_s3", [{"s3://bucket/key": "text"}], {}, TypeError),
        ("fake_s3", [{"key": b""}], {}, ValueError),
        ("fake_s3", [], {"ttl": "soon"}, s3warm.ConfigurationError),
    ],
)
def test_it_names_what_it_raises(name: str, arguments: list[Any], options: dict[str, Any], error: type) -> None:
    with fake_s3():
        raised = call(BY_NAME[name].value, *arguments, **options)
    assert raised is error
    assert_named(BY_NAME[name], {raised})


def assert_named(each: Public, raised: set[type | None]) -> None:
    named = tuple(told_errors(each.doc))
    assert [error for error in raised if error is not None and not issubclass(error, named)] == []


def test_the_package_says_in_thirty_lines_what_there_is() -> None:
    said = inspect.getdoc(s3warm) or ""
    assert len(said.splitlines()) <= 30
    assert set(s3warm.__all__) - set(re.findall(r"`(\w+)`", said)) == set()


@pytest.mark.parametrize(
    ("owner", "member"), [(owner, name) for owner, names in public.PLUMBING.items() for name in sorted(names)]
)
def test_what_is_left_out_is_there(owner: str, member: str) -> None:
    assert hasattr(BY_NAME[owner].value, member) or member in BY_NAME[owner].value.__slots__


@pytest.mark.parametrize("path", public.MODULES)
def test_public_modules_are_documented_in_the_order_of_their_names(path: str) -> None:
    module = public.modules()[path]
    assert inspect.getdoc(module)
    assert module.__all__ == sorted(module.__all__)
