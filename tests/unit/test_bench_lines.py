"""The bench's summary: which lines hold, what was not measured, and what broke. Nothing is timed here."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Literal, Never

import pytest

from tests.bench import cold_box
from tests.bench.environment import huge_pages
from tests.bench.keep import keep
from tests.bench.plots import plot
from tests.bench.report import Line, NotMeasured, Report, Table
from tests.bench.runs import Outcome, Run, attempt, run_all
from tests.bench.summary import Summary, summarise

if TYPE_CHECKING:
    from pathlib import Path

FAST = "hit beside a dict"


def line(
    figure: float | None, *, name: str = FAST, sense: Literal["at least", "at most"] = "at most", reason: str = ""
) -> Line:
    return Line(name, figure, sense, 4, "×", reason)


def runs(*figures: float | None, bench: str = "memory_hit", sense: Literal["at least", "at most"] = "at most") -> list[Run]:
    """One run for each figure, of one line."""
    return [
        Run(bench, number, Outcome(Report([], {}, [line(figure, sense=sense)]))) for number, figure in enumerate(figures, 1)
    ]


def broken(bench: str = "memory_hit", number: int = 1) -> Run:
    return Run(bench, number, Outcome(None, error="Traceback: it broke"))


def verdicts(summary: Summary) -> list[bool]:
    return [row.holds for row in summary.rows]


@pytest.mark.parametrize(
    ("figures", "holds"),
    [
        ((3.0,), True),
        ((5.0,), False),
        ((3.0, 5.0), False),
        ((3.0, 3.9, 5.0), True),
        ((3.0, 5.0, 4.1), False),
        ((4.0, 4.0, 4.0), True),
        ((3.0, 3.0, 5.0, 5.0), False),
        ((5.0, 3.0, 5.0, 3.0, 3.0), True),
    ],
)
def test_a_line_holds_in_a_majority_of_the_runs(figures: tuple[float, ...], holds: bool) -> None:
    assert verdicts(summarise(runs(*figures))) == [holds]


def test_a_line_may_be_a_least() -> None:
    assert verdicts(summarise(runs(3.0, 4.0, 5.0, sense="at least"))) == [True]
    assert verdicts(summarise(runs(3.0, 3.9, 5.0, sense="at least"))) == [False]


def test_the_median_is_that_of_the_runs() -> None:
    assert summarise(runs(9.0, 1.0, 2.0)).rows[0].median == 2.0


def test_a_bench_of_one_run_is_judged_by_that() -> None:
    summary = summarise([*runs(3.0, bench="once"), *runs(3.0, 3.0, 5.0)])
    assert verdicts(summary) == [True, True]
    assert [row.figures for row in summary.rows] == [(3.0,), (3.0, 3.0, 5.0)]
    assert summary.table().rows[1][2:] == ["3.00", "", "", "3.00", "yes  "]


def test_a_run_that_broke_is_one_in_which_no_line_holds() -> None:
    one_left = summarise([broken(), *runs(3.0), broken(number=3)])
    assert (verdicts(one_left), one_left.rows[0].figures) == ([False], (None, 3.0, None))
    two_left = summarise([broken(number=1), *runs(3.0, 3.0)])
    assert (verdicts(two_left), two_left.errors) == ([True], ["memory_hit, run 1"])


def test_a_bench_that_broke_each_time_has_no_lines_and_the_others_have_theirs() -> None:
    summary = summarise([broken("rss", 1), *runs(3.0)])
    assert [row.bench for row in summary.rows] == ["memory_hit"]
    assert summary.verdict == "1 of 1 lines hold, failed: rss, run 1"


def test_what_is_not_measured_neither_holds_nor_fails() -> None:
    boxed = Run("cold_box", 1, Outcome(Report([], {}, [line(None, name="in a box", reason="this is not root")])))
    summary = summarise([*runs(3.0), boxed])
    assert summary.verdict == "1 of 2 lines hold, 1 not measured"
    assert str(summary.table()).splitlines()[-1].split() == [
        "in",
        "a",
        "box",
        "at",
        "most",
        "4",
        "×",
        "not",
        "measured:",
        "this",
        "is",
        "not",
        "root",
    ]
    assert [row.to_json()["holds"] for row in summary.rows] == [True, None]


def test_a_bench_that_cannot_run_is_in_the_table() -> None:
    summary = summarise([*runs(3.0), Run("anonymous", 1, Outcome(None, missing="there is no swap"))])
    assert summary.verdict == "1 of 1 lines hold, 1 not measured"
    assert str(summary.table()).splitlines()[-1].split("  ")[0] == "anonymous"
    assert "| anonymous |  | not measured: there is no swap | - |" in summary.markdown()


def test_the_table_has_a_column_for_each_run() -> None:
    table = summarise([*runs(3.0, 5.0, 3.5), *runs(5.0, 5.0, 5.0, bench="disk_hit")]).table()
    assert str(table).splitlines() == [
        "What is promised about speed: 1 of 2 lines hold",
        "",
        "line                         bar  run 1  run 2  run 3  median  holds",
        "--------------------------------------------------------------------",
        "memory_hit",
        "  hit beside a dict  at most 4 ×   3.00   5.00   3.50    3.50  yes",
        "disk_hit",
        "  hit beside a dict  at most 4 ×   5.00   5.00   5.00    5.00  NO",
    ]


def test_markdown_is_for_the_readme() -> None:
    both = Report([], {}, [line(3.0), line(None, name="a|b", reason="no root")])
    assert summarise([Run("memory_hit", 1, Outcome(both))]).markdown().splitlines() == [
        "| what | bar | measured | holds |",
        "| --- | --- | --- | --- |",
        "| hit beside a dict<br>a\\|b | at most 4 ×<br>at most 4 × | 3.00 ×<br>not measured: no root | yes<br>- |",
        "",
        "1 of 2 lines hold, 1 not measured (runs: 1)",
    ]


def test_nothing_at_all_is_a_table_too() -> None:
    assert summarise([]).verdict == "0 of 0 lines hold"
    assert str(summarise([]).table())
    assert summarise([]).markdown()


# The runs


def good(directory: str) -> Report:
    return Report([Table("t", ("a",), [("b",)])], {"figure": 1}, [line(3.0)])


def bad(directory: str) -> Report:
    raise RuntimeError("it broke")


def killed(directory: str) -> Never:
    os._exit(1)


def elsewhere(directory: str) -> Never:
    raise NotMeasured("there is no root here")


def test_all_benches_run_before_any_runs_again_and_some_run_once() -> None:
    found = run_all({"one": good, "box": good, "two": good}, 3, {"box"}, attempt)
    order = [(run.number, run.bench) for run in found]
    assert order == [(1, "one"), (1, "box"), (1, "two"), (2, "one"), (2, "two"), (3, "one"), (3, "two")]


def test_a_bench_that_raises_does_not_lose_the_others() -> None:
    found = list(run_all({"bad": bad, "elsewhere": elsewhere, "good": good}, 1, execute=attempt))
    assert "RuntimeError: it broke" in found[0].outcome.error
    assert found[1].outcome == Outcome(None, missing="there is no root here")
    summary = summarise(found)
    assert (verdicts(summary), summary.errors) == ([True], ["bad, run 1"])


def test_a_bench_has_a_process_of_its_own() -> None:
    [run] = run_all({"good": good}, 1)
    assert run.outcome == Outcome(good(""))


def test_a_bench_that_is_killed_is_an_error_as_any_other() -> None:
    first, second = run_all({"killed": killed, "good": good}, 1)
    assert first.outcome.report is None
    assert "terminated abruptly" in first.outcome.error
    assert second.outcome.report is not None


def test_what_is_kept_is_all_of_it(tmp_path: Path) -> None:
    found = list(run_all({"bad": bad, "elsewhere": elsewhere, "good": good}, 2, execute=attempt))
    keep({"cores": 2}, found, summarise(found), tmp_path)
    kept = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()}
    assert sorted(kept) == ["bad.json", "elsewhere.json", "good.json", "lines.json"]
    assert [run["figures"] for run in kept["good.json"]["runs"]] == [{"figure": 1}] * 2
    assert kept["good.json"]["runs"][1]["lines"] == [line(3.0)._asdict()]
    assert "it broke" in kept["bad.json"]["runs"][0]["error"]
    assert kept["elsewhere.json"]["runs"][0]["not_measured"] == "there is no root here"
    lines = kept["lines.json"]
    assert (lines["environment"], lines["runs"]) == ({"cores": 2}, 2)
    assert (lines["lines"][0]["figures"], lines["lines"][0]["holds"]) == ([3.0, 3.0], True)
    assert lines["missing"] == {"elsewhere": "there is no root here"}
    assert lines["errors"] == ["bad, run 1", "bad, run 2"]


def test_huge_pages_are_what_the_kernel_says(tmp_path: Path) -> None:
    file = tmp_path / "enabled"
    assert huge_pages(str(file)) == "not there"
    file.write_text("always [madvise] never\n", encoding="ascii")
    assert huge_pages(str(file)) == "madvise"


def test_without_a_box_its_line_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold_box, "why_not", lambda *, cpu: "this is not root")
    [unmeasured] = cold_box.run("").lines
    assert (unmeasured.figure, unmeasured.holds, unmeasured.reason) == (None, False, "this is not root")


# The plots


def test_plots_are_drawn_of_what_was_run(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot(summarise([]), [], tmp_path)
    assert list(tmp_path.iterdir()) == []
    found = [*runs(3.0, 5.0, -1.0), *runs(None)]
    plot(summarise(found), found, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lines.png"]
    costs = {"get": {"1000": 50, "1000000": 60}, "open": {"1000": 1e6}}
    found.append(Run("growth", 1, Outcome(Report([], {"memory": costs, "disk": costs}))))
    plot(summarise(found), found, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["growth.png", "lines.png"]


def test_without_matplotlib_there_are_no_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError):
        plot(summarise(runs(3.0)), runs(3.0), tmp_path)
