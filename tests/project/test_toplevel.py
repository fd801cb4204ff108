"""What lies at the top, and how long a file may get."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "pyproject.toml",
    "s3warm",
    "tests",
    "examples",
    "README.md",
    "Makefile",
    "LICENSE",
    "CHANGELOG.md",
    ".gitignore",
    ".ci",
}
LONGEST = 310  # lines without docstrings; past 270 look for the second thing that the file does


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no git checkout")
    return done.stdout.split("\0")[:-1]


def test_nothing_else_lies_at_the_top() -> None:
    assert {name.split("/")[0] for name in tracked()} - ALLOWED == set()


def test_what_the_package_needs_is_tracked() -> None:
    names = set(tracked())
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", "s3warm/__init__.py", "s3warm/py.typed"} <= names


def test_nothing_that_is_made_is_tracked() -> None:
    made = (".pyc", ".whl", ".db", ".so", ".egg-info", ".coverage")
    assert [name for name in tracked() if name.endswith(made) or "__pycache__" in name] == []


@pytest.mark.parametrize("path", sorted((ROOT / "s3warm").rglob("*.py")), ids=lambda path: path.stem)
def test_a_file_has_one_purpose_and_so_is_not_long(path: Path) -> None:
    text = path.read_text()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body[0] for node in ast.walk(ast.parse(text)) if isinstance(node, documented) and ast.get_docstring(node)]
    said = sum((body.end_lineno or body.lineno) - body.lineno + 1 for body in bodies)
    assert len(text.splitlines()) - said <= LONGEST
