"""The table of features in README: what it says s3warm has is held by the test that it links to."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r'\]\((tests/[\w/]+\.py)(?: "(\w+)")?\)')


def table() -> list[list[str]]:
    """The rows of the table, with its head."""
    lines = README[README.index("| feature | s3warm |") :].splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:end])]


HEAD, *ROWS = table()
OURS = {row[0]: row[1] for row in ROWS}


def functions(path: str) -> set[str]:
    """The functions that a file defines."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


def test_every_row_has_a_cell_for_each_column() -> None:
    assert len(HEAD) == 9
    assert 16 <= len(ROWS) <= 20
    assert {len(row) for row in ROWS} == {len(HEAD)}
    assert len(OURS) == len(ROWS)
    assert all(cell for row in ROWS for cell in row)


@pytest.mark.parametrize("feature", OURS)
def test_what_s3warm_has_is_held_by_a_test(feature: str) -> None:
    links = LINK.findall(OURS[feature])
    assert bool(links) == (OURS[feature] != "no")
    for path, name in links:
        assert (ROOT / path).is_file(), f"there is no {path}"
        assert re.fullmatch(r"test_\w+", name or Path(path).stem), name
        assert not name or name in functions(path), f"{path} has no {name}"
        assert any(each.startswith("test_") for each in functions(path)), f"{path} has no tests"


def test_every_note_is_used_and_explained() -> None:
    used = {note for row in ROWS for cell in row for note in re.findall(r"<sup>(\w)</sup>", cell)}
    below = README[README.index("| feature | s3warm |") :].partition("\n\n")[2].partition("\n\n")[0]
    assert used
    assert used == set(re.findall(r"<sup>(\w)</sup>", below))


def test_every_peer_has_a_version() -> None:
    above = README[: README.index("| feature | s3warm |")].rpartition("\n\n")[0].rpartition("\n\n")[2]
    for peer in HEAD[2:]:
        assert re.search(rf"{re.escape(peer.removesuffix(' filecache'))}[^,;]* \d", above), peer
