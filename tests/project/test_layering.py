"""Every module imports only modules of lower layers, and each library comes in through one door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "s3warm"

# From the ground up: what stands in one line may import what stands above it. (ARCHITECTURE.md, "Layers".)
LAYERS: list[list[str]] = [
    ["chance", "forking", "hashing", "later", "record"],  # ground
    ["terms"],
    ["keys", "report"],
    ["errors", "metrics"],
    ["changes", "measures", "notices"],
    [
        "machine",
        "rules.budget",
        "rules.eviction",
        "rules.freshness",
        "rules.outage",
        "rules.placement",
        "rules.prefixes",
        "rules.pressure",
    ],  # pure rules
    ["tiers.address"],
    ["codec", "entries", "options", "rules.costs", "values"],  # values
    ["deadlines", "declared"],
    ["settings"],
    ["singleflight", "tiers.slot"],
    ["tiers.base", "origin.base", "tiers.breaker", "tiers.floors", "tiers.scripts"],  # contracts
    ["ledger", "origin.dates", "tiers.own"],
    [
        "crew",
        "explanation",
        "faked",
        "globbing",
        "handlers",
        "origin.answers",
        "origin.chain",
        "origin.buffer",
        "origin.failures",
        "origin.heads",
        "origin.identity",
        "origin.integrity",
        "origin.intime",
        "origin.mocked",
        "origin.offline",
        "origin.places",
        "origin.sigv4",
        "pool",
        "sizing",
        "sources",
        "tiers.bounded",
        "tiers.complaints",
        "tiers.database",
        "tiers.doubts",
        "tiers.locks",
        "tiers.row",
        "tiers.scattered",
        "tiers.recent",
        "tiers.server",
        "tiers.told",
        "transforms",
    ],  # parts
    [
        "folders",
        "origin.boto",
        "origin.credentials",
        "origin.wire",
        "preloading",
        "tiers.addresses",
        "tiers.decoded",
        "tiers.intents",
        "tiers.order",
        "tiers.ranked",
        "tiers.readonly",
        "tiers.sealed",
        "tiers.temporary",
    ],
    ["listings", "origin.connections", "origin.exchange", "origin.tee", "tiers.memory", "tiers.pins", "tiers.store"],
    ["origin.endpoint"],
    ["origin.lean", "tiers.iam", "tiers.leases", "tiers.line", "tiers.shared", "tiers.tidings", "tiers.turns"],
    ["origin.choice", "tiers.clients"],
    ["origin.listing", "origin.stream", "origin.transfer", "tiers.dialing", "tiers.directory"],
    ["origin.writing"],
    ["origin.fetch", "tiers.opening", "tiers.room", "tiers.survey", "tiers.verified"],
    ["tiers.shelf"],
    ["tiers.files"],
    ["tiers.landing"],
    ["tiers.download", "tiers.trees"],
    ["tiers.audit", "tiers.handing", "tiers.lasting"],
    ["tiers.disk"],
    ["absence", "arrival", "front", "making", "watch"],  # orchestration
    ["revalidation", "taskflight", "unmeasured"],
    ["beyond", "fleet"],
    ["joining"],
    ["bodies", "calls", "filing", "trees"],
    ["decoding"],
    ["finder"],
    ["paths", "writing"],
    ["cache"],
    ["bulk"],
    ["factory"],  # assembly
    ["default"],
    ["near", "unchanged"],
    ["awaiting"],
    ["asyncfiles"],
    ["aio"],
    ["injection"],
    ["browsing", "face", "lambda_hooks", "measured", "notifications", "testing"],  # integrations
    ["emf", "fsspec", "otel", "powertools"],
    ["simulation.classic", "simulation.s3fifo", "simulation.tinylfu", "simulation.trace"],  # the policy beside its peers
    ["simulation.generated", "simulation.offline", "simulation.rule"],
    ["simulation.replay"],
    ["simulation.report"],
    ["cli.command", "cli.figures", "cli.progress", "cli.text", "pytest_plugin"],
    ["cli.demonstration", "cli.inventory", "cli.measure", "cli.what_if"],  # the commands' numbers
    ["cli.bench", "cli.budget", "cli.demo", "cli.fetch", "cli.inspect", "cli.simulate", "cli.verify"],
    ["cli.main"],
    ["__main__"],
    ["__init__"],  # the face
]
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}

# The packages s3warm.cli, s3warm.rules, s3warm.tiers, s3warm.origin and s3warm.simulation hold a docstring and nothing else.
BARE = {"cli.__init__", "rules.__init__", "tiers.__init__", "origin.__init__", "simulation.__init__"}

DOORS = {
    "boto3": {"cli.measure", "origin.boto", "origin.chain"},  # the bench stands beside plain boto3
    "botocore": {"origin.boto", "origin.chain"},
    "urllib3": {"origin.boto"},
    "diskcache": {"tiers.store"},
    "sqlite3": {"tiers.database", "tiers.order", "tiers.readonly", "tiers.store"},
    "fsspec": {"browsing", "fsspec"},
    "zstandard": {"codec"},
    "opentelemetry": {"otel"},
    "redis": {"tiers.clients"},
    "pytest": {"pytest_plugin"},
}


def modules() -> list[str]:
    files = sorted(PACKAGE.rglob("*.py"))
    return [".".join(file.relative_to(PACKAGE).with_suffix("").parts) for file in files]


def source(module: str) -> str:
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py").read_text()


def imports(tree: ast.AST, *, typing_only: bool = False) -> Iterator[tuple[ast.stmt, str, bool]]:
    """Each import in a tree: the statement, the absolute name, and whether it is for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name, typing_only
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node, "." * node.level + f"{node.module or ''}:{alias.name}", typing_only
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from imports(ast.Module(node.body, []), typing_only=True)
            yield from imports(ast.Module(node.orelse, []), typing_only=typing_only)
        else:
            yield from imports(node, typing_only=typing_only)


def _is_type_checking(test: ast.expr) -> bool:
    name = test.id if isinstance(test, ast.Name) else test.attr if isinstance(test, ast.Attribute) else ""
    return name == "TYPE_CHECKING"


def target(name: str) -> str:
    """The module of ours that an import means: `s3warm.rules:budget` and `s3warm.rules.budget:Share` are both `rules.budget`."""
    module, _, member = name.removeprefix("s3warm").removeprefix(".").partition(":")
    longer = f"{module}.{member}".strip(".")
    return longer if longer in LEVELS else module


def violations(module: str, text: str) -> list[str]:
    """What a module imports and must not."""
    found = []
    for node, name, typing_only in imports(ast.parse(text)):
        where = f"{module}:{node.lineno} imports {name}"
        top = name.split(":")[0].split(".")[0]
        if name.startswith("."):
            found.append(f"{where}: imports are absolute")
        elif top == "s3warm":
            found += [f"{where}: {why}" for why in _ours(module, name, typing_only=typing_only)]
        elif top == "diskcache" and typing_only:
            continue
        elif module not in DOORS.get(top, {module}) and not typing_only:
            found.append(f"{where}: only {', '.join(sorted(DOORS[top]))} may")
    return found


def _ours(module: str, name: str, *, typing_only: bool) -> Iterator[str]:
    wanted = target(name)
    if wanted not in LEVELS or wanted == "__init__":
        yield "from inside nobody imports the package's root"
        return
    if wanted == "testing" and module not in ("cli.demonstration", "pytest_plugin"):
        yield "nothing imports s3warm.testing"
    above, here = LEVELS[wanted], LEVELS[module]
    if typing_only:
        if above > here and wanted != "options":
            yield "the type of an upper layer"
    elif wanted == "options":
        yield "options are for type checkers only"
    elif above >= here:
        yield f"layer {above} from layer {here}"


def test_every_module_has_its_layer() -> None:
    assert sorted([*LEVELS, *BARE]) == modules()
    assert sum(map(len, LAYERS)) == len(LEVELS)


@pytest.mark.parametrize("module", sorted(BARE))
def test_packages_are_bare(module: str) -> None:
    body = ast.parse(source(module)).body
    assert [type(node) for node in body] == [ast.Expr]


@pytest.mark.parametrize("module", sorted(LEVELS))
def test_a_module_imports_only_what_is_below_it(module: str) -> None:
    assert violations(module, source(module)) == []


@pytest.mark.parametrize(("library", "door"), [(library, door) for library, doors in DOORS.items() for door in sorted(doors)])
def test_every_door_is_used(library: str, door: str) -> None:
    names = {name.split(":")[0].split(".")[0] for _, name, _ in imports(ast.parse(source(door)))}
    assert library in names


@pytest.mark.parametrize(
    ("module", "text", "wrong"),
    [
        ("entries", "from s3warm.cache import ReadThrough", True),
        ("entries", "import s3warm.cache", True),
        ("entries", "def f():\n    from s3warm.factory import Cache", True),
        (
            "entries",
            "class A:\n    def f(self):\n        try:\n            import s3warm.default\n        finally:\n            pass",
            True,
        ),
        ("entries", "from s3warm.settings import Settings", True),
        ("entries", "from s3warm.keys import ObjectKey", False),
        ("codec", "from s3warm.rules import placement", False),
        ("rules.placement", "from s3warm import codec", True),
        ("tiers.shelf", "from s3warm.tiers import row as rows", False),
        ("tiers.row", "from s3warm.tiers import shelf", True),
        ("cache", "import s3warm", True),
        ("cache", "from s3warm import get", True),
        ("cache", "from s3warm import explanation", False),
        ("cache", "from . import explain", True),
        ("cache", "from .tiers.base import Held", True),
        ("factory", "from s3warm.testing import fake_s3", True),
        ("__init__", "from s3warm.testing import fake_s3", True),
        ("pytest_plugin", "def f():\n    from s3warm.testing import fake_s3", False),
        ("cache", "import botocore.exceptions", True),
        ("cache", "def f():\n    from botocore.config import Config", True),
        ("origin.fetch", "from urllib3.exceptions import HTTPError", True),
        ("origin.boto", "import botocore.exceptions", False),
        ("tiers.disk", "import diskcache", True),
        ("tiers.disk", "import sqlite3", True),
        ("tiers.shelf", "import zstandard", True),
        ("tiers.shelf", "import os", False),
        ("settings", "if TYPE_CHECKING:\n    from s3warm.options import Options", False),
        ("rules.budget", "if TYPE_CHECKING:\n    from s3warm.options import Options", False),
        ("settings", "from s3warm.options import Options", True),
        ("settings", "if TYPE_CHECKING:\n    from s3warm.entries import Entry", False),
        ("settings", "if typing.TYPE_CHECKING:\n    from s3warm.cache import ReadThrough", True),
        ("values", "if TYPE_CHECKING:\n    pass\nelse:\n    from s3warm.entries import Entry", True),
        ("values", "if not TYPE_CHECKING:\n    from s3warm.entries import Entry", True),
    ],
)
def test_the_checker_itself_tells_right_from_wrong(module: str, text: str, wrong: bool) -> None:
    assert bool(violations(module, text)) is wrong
