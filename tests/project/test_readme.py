"""README is true: its code runs, and its tables say what the code says.

How its Python blocks are run: all of them are saved in one folder, a block whose first line is `# name.py` under that name. Blocks that
define tests are run by pytest there, as a user would run them. Every other block is executed once inside a fresh `fake_s3` that
holds OBJECTS, and if it defines a `handler`, that is called.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import s3warm
from s3warm.declared import TABLE
from s3warm.rules import budget
from s3warm.settings import SWITCHES
from s3warm.testing import fake_s3
from tests.faults.tried import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator


def a_database() -> bytes:
    """A database of SQLite, as a file of it holds it."""
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.executescript("CREATE TABLE prices (price REAL); INSERT INTO prices VALUES (9.5);")
        return database.serialize()


def an_archive() -> bytes:
    """A zip file."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("first.txt", "1")
    return archive.getvalue()


ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
OBJECTS = {
    "s3://my-config/flags.json": b'{"greeting": "hello"}',
    "s3://my-models/prices.sqlite": a_database(),
    "s3://my-models/prices.json": b'{"price": 9.5}',
    "s3://my-models/bert/tokenizer.json": b"{}",
    "s3://my-models/day.zip": an_archive(),
}
ANSWERS = [
    {"greeting": "hello"},
    {"greeting": "hello", "parts": 1, "model": ".sqlite"},
    {"price": 9.5, "tokenizer": "{}", "first": "1"},
    {"greeting": "hello", "price": 9.5},
]
MIB = 2**20


class Block(NamedTuple):
    """A fenced block: the line on which its text begins, its language, its text."""

    line: int
    language: str
    text: str

    @property
    def file_name(self) -> str:
        named = re.match(r"# (\w+\.py)\n", self.text)
        return named[1] if named else f"readme_line_{self.line}.py"

    @property
    def functions(self) -> list[str]:
        return [node.name for node in ast.parse(self.text).body if isinstance(node, ast.FunctionDef)]

    @property
    def tests(self) -> list[str]:
        return [name for name in self.functions if name.startswith("test_")]


def fenced(text: str) -> list[Block]:
    blocks: list[Block] = []
    language, start, body = "", 0, list[str]()
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if not line.startswith("```"):
            body.append(line)
        elif start:
            blocks.append(Block(start, language, "".join(body)))
            start = 0
        else:
            language, start, body = line[3:].strip(), number + 1, []
    assert not start, f"the block that begins at line {start} of README has no end"
    return blocks


def section(heading: str) -> str:
    """The text under a heading of the second level."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, f"README has no section {heading!r}"
    return found[1]


def table(text: str, first_column: str) -> list[list[str]]:
    """The rows of the table whose head begins with this column, or with these."""
    lines = text.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows: list[list[str]] = []
    for line in lines[head + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    assert rows, f"the table of README that begins with {first_column!r} is empty"
    return rows


BLOCKS = fenced(README)
PYTHON = [block for block in BLOCKS if block.language == "python"]
SCRIPTS = [block for block in PYTHON if not block.tests]
TESTS = [block for block in PYTHON if block.tests]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for block in PYTHON:
        (tmp_path / block.file_name).write_text(block.text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that this machine is set up with decides how README's code runs."""
    for name in os.environ:
        if name.startswith(("AWS_", "S3WARM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@contextlib.contextmanager
def closing_what_is_configured() -> Iterator[None]:
    """A block may call `configure`: the cache that it makes is closed, as a process's end would."""
    before = s3warm.default_cache()
    try:
        yield
    finally:
        after = s3warm.default_cache()
        if after is not before:
            after.close()


def run(block: Block) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": block.file_name.removesuffix(".py")}
    exec(compile(block.text, f"README.md, line {block.line}", "exec"), namespace)
    return namespace


def test_each_block_has_a_known_language_and_each_python_block_one_way_to_run() -> None:
    assert PYTHON
    assert SCRIPTS
    assert TESTS
    assert len(SCRIPTS) + len(TESTS) == len(PYTHON) == README.count("```python\n")
    assert {block.language for block in BLOCKS} <= {"", "python", "json", "text"}
    # A test that pytest would not find in its file would be skipped silently; so would a second file of one name.
    assert all(block.file_name.startswith("test_") for block in TESTS)
    assert len({block.file_name for block in PYTHON}) == len(PYTHON)


@pytest.mark.parametrize("block", SCRIPTS, ids=lambda block: f"line {block.line}")
def test_script_runs(block: Block, bare_environment: None, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_s3(OBJECTS) as s3, closing_what_is_configured():
        namespace = run(block)
        if "handler" in namespace:
            assert namespace["handler"]({}, None) in ANSWERS
            assert {request.status for request in s3.requests} == {200}
            assert len(s3.requests) == len({request.uri for request in s3.requests})
    for value in namespace.values():
        if isinstance(value, s3warm.Cache):
            value.close()
    assert capsys.readouterr().err == ""


def test_tests_pass_as_a_user_would_run_them(folder: Path, bare_environment: None) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "-rA", "--color=no", str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.findall(r"^PASSED (\S+)::(\w+)$", done.stdout, re.MULTILINE)
    assert sorted(passed) == sorted((block.file_name, name) for block in TESTS for name in block.tests)


def test_first_screen_has_a_handler_of_eight_lines() -> None:
    first = PYTHON[0].text.splitlines()
    assert first[0] == "# app.py"
    assert len([line for line in first if line]) <= 8
    assert "handler" in PYTHON[0].functions


def test_readme_is_short() -> None:
    assert README.count("\n") < 400


def test_demo_block_is_there_to_be_filled() -> None:
    assert README.count("<!-- demo -->\n```text\n") == 1
    assert README.count("```\n<!-- /demo -->\n") == 1


def test_json_parses_and_the_policy_allows_to_read_objects_and_nothing_else() -> None:
    policies = [json.loads(block.text) for block in BLOCKS if block.language == "json"]
    (policy,) = policies
    (statement,) = policy["Statement"]
    assert policy["Version"] == "2012-10-17"
    assert statement == {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::my-config/*"}
    # What the policy leaves out is explained.
    for action in ("s3:ListBucket", "s3:GetObjectVersion", "kms:Decrypt"):
        assert f"`{action}`" in README


def test_settings_table_is_the_codes() -> None:
    said = [tuple(cells) for cells in table(section("Settings"), "setting")]
    assert said == [
        (f"`{row.name}`", f"`S3WARM_{row.name.upper()}`", f"`{row.default!r}`", row.accepts, row.meaning) for row in TABLE
    ]


def test_switches_table_is_the_codes() -> None:
    assert {cells[0] for cells in table(section("Settings"), "switch")} == {f"`{name}=1`" for name in SWITCHES}


def test_budget_examples_are_what_the_rule_says() -> None:
    examples = table(section("Memory and /tmp on Lambda"), "function | RSS")
    assert [cells[0] for cells in examples] == ["128 MB", "512 MB", "3008 MB"]
    for cells in examples:
        function, rss, quarter, half, chosen = (int(cell.split()[0]) for cell in cells)
        assert [cell.split()[1] for cell in cells] == ["MB", "MiB", "MiB", "MiB", "MiB"]
        limit = function * MIB
        got = budget.memory_budget(None, limit=limit, source="", rss=rss * MIB, concurrency=1)
        assert got.bytes == chosen * MIB
        assert quarter * MIB == limit * budget.MEMORY_SHARE
        assert half * MIB == (limit - rss * MIB - budget.MEMORY_RESERVE) / 2


def test_budget_formula_names_the_codes_numbers() -> None:
    text = section("Memory and /tmp on Lambda")
    for number in (budget.MEMORY_FLOOR, budget.MEMORY_RESERVE):
        assert f"{number // MIB} MiB" in text
    for share in (budget.MEMORY_SHARE, budget.DISK_SHARE):
        assert f"{share * 100:.0f} %" in text


@pytest.mark.parametrize("name", s3warm.__all__)
def test_every_public_name_is_in_the_api_section(name: str) -> None:
    spans = re.findall(r"`([^`]+)`", section("API"))
    assert any(re.match(rf"{name}\b", span) for span in spans), f"README's API section does not name `{name}`"


def test_every_error_is_in_the_table_of_cases() -> None:
    errors = {name for name in s3warm.__all__ if name.endswith("Error")} - {"S3WarmError", "ConfigurationError"}
    said = set(re.findall(r"`(\w+Error)`", " ".join(cells[1] for cells in table(section("What happens in each case"), "case"))))
    assert said == errors


def test_cases_have_names_of_their_own() -> None:
    names = [cells[0] for cells in table(section("What happens in each case"), "case")]
    assert len(set(names)) == len(names)


def test_all_that_is_noted_stands_in_the_table_of_what_was_tried() -> None:
    rows = table((ROOT / "tests/faults/README.md").read_text(encoding="utf-8"), "what")
    assert [cells[0] for cells in rows] == list(ROWS.values())
    for _, tried, outcome in rows:
        assert re.search(r"[0-9]", tried), "counts, not words"
        assert outcome


def test_make_targets_exist() -> None:
    named = set(re.findall(r"`make ([\w-]+)`", README))
    assert {"demo", "test", "check", "e2e", "bench"} <= named
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= targets
