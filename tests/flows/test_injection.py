"""`inject`: handlers whose arguments are objects of S3."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest

import s3warm
from s3warm import deadlines
from s3warm.testing import FakeS3, fake_s3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3warm.origin.base import Request

ROOT = Path(__file__).parents[2]
WAIT = 30  # seconds until a test that hangs fails
FLAGS, RULES, MODEL = "s3://cfg/flags.json", "s3://cfg/rules.txt", "s3://models/net.bin"


class Context:
    """What Lambda passes to a handler."""

    def __init__(self, milliseconds: int = 3000) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    with fake_s3({FLAGS: b'{"dark": true}', RULES: b"be kind", MODEL: b"weights"}, ttl=60) as s3:
        yield s3


@pytest.fixture
def no_new_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread was started"))


def asked(s3: FakeS3) -> list[str]:
    return [request.uri for request in s3.requests]


def run_at_once(coroutine: Any) -> Any:
    """The result of a coroutine that never waits."""
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    return done.value.value


# -- what a handler gets -------------------------------------------------------------------------------------------------------


def test_bytes_values_and_what_functions_give(s3: FakeS3) -> None:
    @s3warm.inject(raw=("cfg", "flags.json"), again=FLAGS, model=lambda: s3warm.path(MODEL))
    def handler(event: str, context: object, *, raw: bytes, again: bytes, model: Path) -> tuple[str, bytes, bytes, bytes]:
        return event, raw, again, model.read_bytes()

    @s3warm.inject(flags=FLAGS, transform="json")
    def decoded(event: str, context: object, flags: dict[str, bool]) -> dict[str, bool]:
        return flags

    assert handler("event", None) == ("event", b'{"dark": true}', b'{"dark": true}', b"weights")
    assert decoded("event", None) == {"dark": True}
    assert decoded("event", None) is decoded("event", None)
    assert asked(s3) == [FLAGS, MODEL]


def test_parameters_named_like_the_decorators_own(s3: FakeS3) -> None:
    @s3warm.inject({"ttl": RULES, "transform": RULES, "sources": RULES, "named": RULES}, flags=FLAGS, transform="text")
    def handler(event: object, context: object, *, ttl: str, transform: str, sources: str, named: str, flags: str) -> set[str]:
        return {ttl, transform, sources, named, flags}

    assert handler({}, None) == {"be kind", '{"dark": true}'}


@pytest.mark.parametrize("given", [60, timedelta(minutes=1)])
def test_the_ttl_is_the_decorators_own(s3: FakeS3, given: Any) -> None:
    s3warm.configure(ttl=3600)
    seen = []

    @s3warm.inject(rules=RULES, ttl=given)
    def handler(event: object, context: object, *, rules: bytes) -> None:
        seen.append(rules)

    handler({}, None)
    s3[RULES] = b"be quick"
    s3.advance(59)
    handler({}, None)
    s3.advance(2)
    handler({}, None)
    assert seen == [b"be kind", b"be kind", b"be quick"]
    assert [request.status for request in s3.requests] == [200, 200]


def test_what_is_given_is_taken_and_nothing_is_fetched(s3: FakeS3) -> None:
    called = []

    @s3warm.inject(flags=FLAGS, rules=RULES, model=lambda: called.append(1))
    def handler(event: object, context: object, flags: object, *, rules: object, model: object) -> tuple[object, ...]:
        return flags, rules, model

    assert handler({}, None, flags=1, rules=2, model=3) == (1, 2, 3)
    assert handler({}, None, 1, rules=None, model=None) == (1, None, None), "by position, too"
    assert (asked(s3), called) == ([], [])
    assert handler({}, None, rules=2, model=3) == (b'{"dark": true}', 2, 3)
    assert asked(s3) == [FLAGS]


@pytest.mark.parametrize("error", ["missing", "denied", "down", "damaged"])
def test_what_fails_raises_as_get_does_and_the_handler_is_not_called(s3: FakeS3, error: str) -> None:
    match error:
        case "missing":
            del s3[FLAGS]
        case "denied":
            s3.denied.add(FLAGS)
        case "down":
            s3.down = True
        case _:
            s3[FLAGS] = b"{]"
    called = []

    @s3warm.inject(flags=FLAGS, transform="json")
    def handler(event: object, context: object, *, flags: object) -> None:
        called.append(flags)

    with pytest.raises(s3warm.S3WarmError) as expected:
        s3warm.get(FLAGS, transform="json")
    with pytest.raises(type(expected.value)):
        handler({}, None)
    assert called == []


def test_a_stale_value_stands_in_while_s3_is_down(s3: FakeS3) -> None:
    @s3warm.inject(flags=FLAGS, transform="json")
    def handler(event: object, context: object, *, flags: dict[str, bool]) -> bool:
        return flags["dark"]

    assert handler({}, None)
    s3.down = True
    s3.advance(61)
    assert handler({}, None)


def test_it_follows_the_default_cache(s3: FakeS3) -> None:
    @s3warm.inject(rules=RULES)
    def handler(event: object, context: object, *, rules: bytes) -> bytes:
        return rules

    handler({}, None)
    with fake_s3({RULES: b"another"}):
        assert handler({}, None) == b"another"


# -- several at once -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["one decorator", "stacked"])
def test_what_is_missing_comes_at_once(s3: FakeS3, how: str) -> None:
    together = threading.Barrier(3)

    def answer(_: Request) -> None:
        together.wait(timeout=WAIT)

    s3.before_answer = answer

    def handler(event: object, context: object, *, a: object, b: object, c: object) -> tuple[object, ...]:
        return a, b, c

    injected: Callable[..., Any]
    if how == "stacked":
        injected = s3warm.inject(a=FLAGS, transform="json")(
            s3warm.inject(b=RULES, transform="text")(s3warm.inject(c=MODEL)(handler))
        )
    else:
        injected = s3warm.inject(a=FLAGS, b=RULES, c=MODEL)(handler)
    found = injected({}, None)
    assert found == (
        ({"dark": True}, "be kind", b"weights") if how == "stacked" else (b'{"dark": true}', b"be kind", b"weights")
    )
    assert sorted(asked(s3)) == sorted([FLAGS, RULES, MODEL])


@pytest.mark.parametrize("transform", [None, "text"])
@pytest.mark.parametrize("ttl", [None, 30])
def test_what_is_fresh_takes_no_thread(s3: FakeS3, no_new_threads: None, transform: Any, ttl: float | None) -> None:
    for uri in (FLAGS, RULES):
        s3warm.get(uri, transform=transform)
    before = s3warm.stats()

    @s3warm.inject(flags=FLAGS, rules=RULES, transform=transform, ttl=ttl)
    def handler(event: object, context: object, *, flags: object, rules: object) -> tuple[object, object]:
        return flags, rules

    handler({}, Context(0))
    assert len(s3.requests) == 2
    assert (s3warm.stats() - before).memory_hits == 2


@pytest.mark.parametrize("transform", [None, "text"])
def test_what_is_too_old_for_the_decorator_comes_at_once(s3: FakeS3, transform: Any) -> None:
    for uri in (FLAGS, RULES):
        s3warm.get(uri, transform=transform)
    s3.advance(31)
    together = threading.Barrier(2)

    def answer(_: Request) -> None:
        together.wait(timeout=WAIT)

    s3.before_answer = answer

    @s3warm.inject(flags=FLAGS, rules=RULES, transform=transform, ttl=30)
    def handler(event: object, context: object, *, flags: object, rules: object) -> None:
        pass

    handler({}, None)
    assert [request.status for request in s3.requests] == [200, 200, 304, 304]


def test_a_single_miss_comes_in_the_handlers_thread(s3: FakeS3, no_new_threads: None) -> None:
    s3warm.get(FLAGS)

    @s3warm.inject(flags=FLAGS, rules=RULES)
    def handler(event: object, context: object, *, flags: bytes, rules: bytes) -> bytes:
        return rules

    assert handler({}, None) == b"be kind"


def test_functions_are_called_in_the_handlers_thread(s3: FakeS3) -> None:
    @s3warm.inject(a=threading.get_ident, b=threading.get_ident, flags=FLAGS, rules=RULES)
    def handler(event: object, context: object, *, a: int, b: int, flags: object, rules: object) -> set[int]:
        return {a, b}

    assert handler({}, None) == {threading.get_ident()}


def test_stacked_in_any_order_and_around_other_decorators(s3: FakeS3) -> None:
    def other(handler: Callable[..., str]) -> Callable[..., str]:
        @functools.wraps(handler)
        def called(*args: Any, **kwargs: Any) -> str:
            return handler(*args, **kwargs) + "!"

        return called

    def handler(event: object, context: object, *, flags: dict[str, bool], rules: str) -> str:
        return f"{flags['dark']} {rules}"

    flags, rules = s3warm.inject(flags=FLAGS, transform="json"), s3warm.inject(rules=RULES, transform="text")
    for decorators in ([flags, rules], [rules, flags]):
        assert decorators[0](decorators[1](handler))({}, None) == "True be kind"
        assert decorators[0](other(decorators[1](handler)))({}, None) == "True be kind!"
    assert sorted(asked(s3)) == [FLAGS, RULES]


def test_one_decorator_serves_several_handlers(s3: FakeS3) -> None:
    rules = s3warm.inject(rules=RULES)
    one = rules(lambda event, context, rules: (1, rules))
    two = rules(lambda event, context, *, rules: (2, rules))
    assert (one({}, None), two({}, None)) == ((1, b"be kind"), (2, b"be kind"))


# -- the time that an invocation has left --------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["position", "name", "method"])
def test_s3_is_asked_within_the_invocations_time(s3: FakeS3, by: str) -> None:
    left: list[float | None] = []
    s3.before_answer = lambda _: left.append(deadlines.left())

    @s3warm.inject(flags=FLAGS, rules=RULES)
    def handler(event: object, context: object, *, flags: bytes, rules: bytes) -> float | None:
        return deadlines.left()

    class Handlers:
        @s3warm.inject(flags=FLAGS, rules=RULES)
        def handle(self, event: object, context: object, *, flags: bytes, rules: bytes) -> float | None:
            return deadlines.left()

    calls: dict[str, Callable[[], Any]] = {
        "position": lambda: handler({}, Context()),
        "name": lambda: handler(event={}, context=Context()),
        "method": lambda: Handlers().handle({}, Context()),
    }
    assert calls[by]() is None, "the handler has its own deadline, or none"
    assert len(left) == 2
    assert all(each is not None and 2 < each <= 2.8 for each in left)


@pytest.mark.parametrize("context", [None, object(), {}, MagicMock(), 0, "no context"])
def test_what_is_no_context_sets_no_deadline(s3: FakeS3, context: object) -> None:
    left: list[float | None] = []
    s3.before_answer = lambda _: left.append(deadlines.left())

    @s3warm.inject(flags=FLAGS)
    def handler(event: object, context: object, *, flags: bytes) -> bytes:
        return flags

    assert handler({}, context) == b'{"dark": true}'
    assert left == [None]


@pytest.mark.parametrize("milliseconds", [0, -5, 200])
def test_without_time_a_miss_is_an_error_and_what_is_stale_stands_in(s3: FakeS3, milliseconds: int) -> None:
    @s3warm.inject(flags=FLAGS)
    def handler(event: object, context: object, *, flags: bytes) -> bytes:
        return flags

    with pytest.raises(s3warm.OriginUnavailableError, match="no time left"):
        handler({}, Context(milliseconds))
    handler({}, Context())
    s3.advance(61)
    assert handler({}, Context(milliseconds)) == b'{"dark": true}'
    assert len(s3.requests) == 1


def test_functions_are_within_it_as_well(s3: FakeS3) -> None:
    @s3warm.inject(left=deadlines.left)
    def handler(event: object, context: object, *, left: float) -> float:
        return left

    assert 2 < handler({}, Context()) <= 2.8


# -- async handlers ------------------------------------------------------------------------------------------------------------


def test_an_async_handler_gets_the_same(s3: FakeS3) -> None:
    async def later(word: str = "later") -> str:
        await asyncio.sleep(0)
        return word

    @s3warm.inject(model=lambda: s3warm.path(MODEL).read_bytes(), late=later, lazy=lambda: later("still later"))
    @s3warm.inject(flags=FLAGS, rules=RULES, transform="text")
    async def handler(event: str, context: object, *, flags: str, rules: str, model: bytes, late: str, lazy: str) -> list[Any]:
        await asyncio.sleep(0)
        return [event, flags, rules, model, late, lazy]

    assert inspect.iscoroutinefunction(handler)
    assert asyncio.run(handler("event", Context())) == [
        "event",
        '{"dark": true}',
        "be kind",
        b"weights",
        "later",
        "still later",
    ]
    assert asyncio.run(handler("event", None, flags="given"))[1] == "given"


def test_the_event_loop_goes_on_while_s3_is_asked(s3: FakeS3) -> None:
    together = threading.Barrier(2)
    left: list[float | None] = []

    def answer(_: Request) -> None:
        left.append(deadlines.left())
        together.wait(timeout=WAIT)

    s3.before_answer = answer

    @s3warm.inject(flags=FLAGS)
    async def handler(event: object, context: object, *, flags: bytes) -> float | None:
        return deadlines.left()

    async def main() -> float | None:
        task = asyncio.create_task(handler({}, Context()))
        await asyncio.sleep(0)
        await asyncio.to_thread(together.wait, WAIT)  # S3 answers only if this goes on meanwhile
        return await task

    assert asyncio.run(main()) is None
    assert [each is not None and each <= 2.8 for each in left] == [True]


@pytest.mark.parametrize("ttl", [None, 30])
def test_a_fresh_hit_does_not_leave_the_event_loop(s3: FakeS3, no_new_threads: None, ttl: float | None) -> None:
    s3warm.get(FLAGS, transform="json")

    @s3warm.inject(flags=FLAGS, transform="json", ttl=ttl)
    async def handler(event: object, context: object, *, flags: dict[str, bool]) -> bool:
        return flags["dark"]

    assert run_at_once(handler({}, Context())) is True


def test_an_async_function_that_has_its_value_does_not_leave_the_event_loop(s3: FakeS3, no_new_threads: None) -> None:
    async def ready(value: int) -> int:
        return value

    @s3warm.inject(number=functools.partial(ready, 7))
    async def handler(event: object, context: object, *, number: int) -> int:
        return number

    assert run_at_once(handler({}, None)) == 7


def test_what_fails_in_an_async_handler(s3: FakeS3) -> None:
    del s3[FLAGS]

    @s3warm.inject(flags=FLAGS)
    async def handler(event: object, context: object, *, flags: bytes) -> bytes:
        return flags

    with pytest.raises(s3warm.ObjectNotFoundError):
        asyncio.run(handler({}, None))


def test_a_cancelled_handler_leaves_the_cache_whole(s3: FakeS3) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def answer(_: Request) -> None:
        arrived.set()
        assert go_on.wait(WAIT)

    s3.before_answer = answer

    @s3warm.inject(flags=FLAGS)
    async def handler(event: object, context: object, *, flags: bytes) -> bytes:
        return flags

    async def main() -> bytes:
        task = asyncio.create_task(handler({}, None))
        await asyncio.to_thread(arrived.wait, WAIT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        return await handler({}, None)

    assert asyncio.run(main()) == b'{"dark": true}'
    assert len(s3.requests) == 1


def test_an_async_source_needs_an_async_handler(s3: FakeS3) -> None:
    async def later() -> str:
        return "later"

    @s3warm.inject(late=later)
    def handler(event: object, context: object, *, late: str) -> str:
        return late

    with pytest.raises(TypeError, match="the source of late is asynchronous, and the handler is not"):
        handler({}, None)


# -- what it decorates ---------------------------------------------------------------------------------------------------------


class Handlers:
    """Methods of each kind."""

    @s3warm.inject(rules=RULES)
    def of_instance(self, event: object, context: object, *, rules: bytes) -> tuple[str, bytes]:
        return type(self).__name__, rules

    @classmethod
    @s3warm.inject(rules=RULES)
    def of_class(cls, event: object, context: object, *, rules: bytes) -> tuple[str, bytes]:
        return cls.__name__, rules

    @staticmethod
    @s3warm.inject(rules=RULES)
    def static(event: object, context: object, rules: bytes) -> tuple[str, bytes]:
        return "Handlers", rules

    def __call__(self, event: object, context: object, *, rules: bytes) -> tuple[str, bytes]:
        return "Handlers", rules

    def __eq__(self, other: object) -> bool:  # such an object has no hash
        return self is other

    __hash__ = None  # type: ignore[assignment]

    def plain(self, event: object, context: object, rules: bytes) -> tuple[str, bytes]:
        return "Handlers", rules


def a_function(prefix: str, event: object, context: object, rules: bytes) -> tuple[str, bytes]:
    return prefix, rules


@pytest.mark.parametrize(
    "handler",
    [
        Handlers().of_instance,
        Handlers.of_class,
        Handlers.static,
        s3warm.inject(rules=RULES)(Handlers()),
        s3warm.inject(rules=RULES)(Handlers().plain),
        s3warm.inject(rules=RULES)(functools.partial(a_function, "Handlers")),
        s3warm.inject(rules=RULES)(functools.partial(Handlers.plain, Handlers())),
        s3warm.inject(rules=RULES)(lambda event, context, **others: ("Handlers", others["rules"])),
    ],
)
def test_methods_objects_and_partial_functions(s3: FakeS3, handler: Any) -> None:
    assert handler({}, None) == ("Handlers", b"be kind")
    assert handler({}, None, rules=b"given") == ("Handlers", b"given")
    assert len(s3.requests) == 1


def test_by_position_counts_from_what_is_bound(s3: FakeS3) -> None:
    for handler in (
        s3warm.inject(rules=RULES)(Handlers().plain),
        s3warm.inject(rules=RULES)(functools.partial(a_function, "Handlers")),
    ):
        assert handler({}, None, b"given") == ("Handlers", b"given")
    assert s3.requests == []


def test_what_people_and_frameworks_read_of_it() -> None:
    @s3warm.inject(rules=RULES)
    @s3warm.inject(flags=FLAGS)
    def handler(event: str, context: object, flags: bytes, *, rules: bytes, more: int = 1) -> bytes:
        """What it does."""
        return rules

    assert (handler.__name__, handler.__doc__) == ("handler", "What it does.")
    assert str(inspect.signature(handler)) == "(event: 'str', context: 'object', *, more: 'int' = 1) -> 'bytes'"
    original = inspect.unwrap(handler)
    assert handler.__wrapped__ is original  # type: ignore[attr-defined]
    assert list(inspect.signature(original).parameters) == ["event", "context", "flags", "rules", "more"]


def test_at_a_cold_start_it_loads_neither_inspect_nor_asyncio() -> None:
    code = (
        "import sys, s3warm\n"
        "@s3warm.inject(flags='s3://cfg/flags.json')\n"
        "def handler(event, context, *, flags): return flags\n"
        "assert handler({}, None, flags=1) == 1\n"
        "print([name for name in ('inspect', 'asyncio', 'typing', 'dataclasses') if name in sys.modules])\n"
        "import inspect\n"
        "print(inspect.signature(handler))\n"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    assert done.stdout == "[]\n(event, context, *, flags)\n"


def test_without_it_nothing_of_it_is_loaded() -> None:
    code = "import sys, s3warm; s3warm.get; print([name for name in sys.modules if name in ('s3warm.injection', 's3warm.handlers')])"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


# -- what cannot be meant is an error where the decorator stands ---------------------------------------------------------------


def plain(event: object, context: object, *, flags: object = None) -> object:
    return flags


def items(event: object, context: object, *, flags: object) -> Iterator[object]:
    yield flags


async def async_items(event: object, context: object, *, flags: object) -> Any:
    yield flags


def by_position(flags: object, /, event: object) -> object:
    return flags


@pytest.mark.parametrize(
    ("sources", "options", "error", "message"),
    [
        ([], {}, TypeError, "nothing to inject"),
        ([{}], {}, TypeError, "nothing to inject"),
        ([plain], {}, TypeError, r"as @s3warm.inject\(flags='s3://cfg/flags.json'\).* not function"),
        ([FLAGS], {}, TypeError, "names of parameters.* not str"),
        ([{1: FLAGS}], {}, TypeError, "names of parameters, not by int: 1"),
        ([{"flags": FLAGS}], {"flags": RULES}, TypeError, "two sources for flags"),
        ([], {"flags": None}, TypeError, "inject, flags: a source must be .* not NoneType: None"),
        ([], {"flags": [FLAGS]}, TypeError, "inject, flags: a source must be .* not list"),
        ([], {"flags": ("cfg",)}, TypeError, "inject, flags: a source must be"),
        ([], {"flags": ("cfg", 1)}, TypeError, "inject, flags: "),
        ([], {"flags": "cfg/flags.json"}, ValueError, "inject, flags: 'cfg/flags.json' is no source"),
        ([], {"flags": "s3://cfg/"}, ValueError, "inject, flags: "),
        ([], {"flags": "s3://models/bert/"}, ValueError, "inject, flags: .*s3warm.tree"),
        ([], {"flags": FLAGS, "ttl": -1}, ValueError, "ttl of inject must be seconds"),
        ([], {"flags": FLAGS, "ttl": RULES}, TypeError, "ttl of inject must be seconds"),
        ([], {"flags": FLAGS, "transform": "yaml"}, ValueError, "transform 'yaml' is none"),
        ([], {"flags": FLAGS, "transform": 1}, TypeError, "transform must be"),
        ([], {"flags": plain, "ttl": 60}, TypeError, "transform and ttl of inject are for objects"),
        ([], {"flags": plain, "transform": "json"}, TypeError, "transform and ttl of inject are for objects"),
    ],
)
def test_bad_sources(s3: FakeS3, sources: list[Any], options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        s3warm.inject(*sources, **options)
    assert s3.requests == []


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (lambda event, context: None, "<lambda> .* has no parameter flags"),
        (functools.wraps(lambda event, context: None)(lambda *_, **__: None), "has no parameter flags"),
        (items, "items is a generator.*; inject into the function that makes it"),
        (async_items, "async_items is a generator"),
        (functools.partial(items, {}), "items is a generator"),
        (by_position, "takes flags by its position only"),
        (functools.partial(plain, flags=1), "plain has a value for it"),
        (functools.partial(lambda flags, event: None, 1), "has a value for it"),
        (staticmethod(plain), "put it below @staticmethod"),
        (classmethod(plain), "put it below @classmethod"),
        (Handlers, "decorates a handler, which .* is not"),
        (None, "decorates a handler, which None is not"),
        (s3warm.inject(flags=FLAGS)(plain), "two sources for flags of plain"),
    ],
)
def test_bad_handlers(s3: FakeS3, handler: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        s3warm.inject(flags=FLAGS)(handler)
    assert s3.requests == []


def test_a_decorated_handler_goes_when_nobody_has_it() -> None:
    from weakref import ref

    handler = s3warm.inject(flags=FLAGS)(lambda event, context, flags: flags)
    gone = ref(handler)
    with contextlib.suppress(s3warm.S3WarmError):
        handler({}, None, flags=1)
    del handler
    assert gone() is None
