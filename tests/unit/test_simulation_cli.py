"""`python -m s3warm simulate`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from s3warm.cli import simulate as command
from s3warm.cli.main import main
from s3warm.simulation.generated import generate
from s3warm.simulation.replay import NAMES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A short trace."""
    found = tmp_path / "short.csv"
    lines = [f"{time},{key},{size}" for time, (key, size) in enumerate(generate("zipf", requests=600).requests)]
    found.write_text("\n".join(["time,key,size", *lines]))
    return found


def run(*arguments: object) -> int:
    return main(["simulate", *map(str, arguments)])


def test_a_trace_is_replayed_and_compared(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(path, path.parent) == 0
    captured = capsys.readouterr()
    assert captured.out.count("short: 600 requests for ") == 2
    assert "geometric mean over 2 traces" in captured.out
    assert all(len(re.findall(rf"^{name} ", captured.out, re.MULTILINE)) == 5 for name in NAMES)
    assert captured.err == ""


def test_without_a_trace_requests_are_generated(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []

    def short(*, seed: int) -> object:
        seeds.append(seed)
        return iter([generate("scan", seed=seed, requests=100)])

    monkeypatch.setattr(command, "generate_all", short)
    assert run() == 0
    assert "scan: 100 requests" in capsys.readouterr().out
    assert run("--seed", 7) == 0
    assert seeds == [1, 7]


def test_budgets_and_policies_can_be_chosen(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(path, "--budget", "50%", "--budget", "2.5%", "--policy", "sieve", "--json") == 0
    plain = json.loads(capsys.readouterr().out)
    (trace,) = plain["traces"]
    assert list(trace["single"]) == ["2.5%", "50%"]
    assert list(trace["two_tier"]) == ["2.5%/50%"]
    assert list(trace["single"]["50%"]) == ["lru", "sieve"]


def test_one_budget_makes_one_tier(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(path, "--budget", "5%") == 0
    assert "/disk" not in (out := capsys.readouterr().out)
    assert "two tiers" not in out


@pytest.mark.parametrize("budget", ["5", "0%", "101%", "-1%", "nan%", "much", "%", ""])
def test_a_budget_that_is_none(path: Path, capsys: pytest.CaptureFixture[str], budget: str) -> None:
    assert run(path, f"--budget={budget}") == 2
    captured = capsys.readouterr()
    assert captured.err == f"s3warm: the budget {budget!r} is not a percentage of the footprint, over 0% and up to 100%\n"
    assert captured.out == ""


def test_a_policy_that_does_not_exist(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(path, "--policy", "arc") == 2
    assert capsys.readouterr().err == f"s3warm: there is no policy 'arc', only {', '.join(NAMES)}\n"


def test_a_bad_line_is_named(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text("time,key,size\n0,a,1\n1,b,many\n")
    assert run(path) == 2
    assert capsys.readouterr().err == f"s3warm: {path}, line 3: the size 'many' is not a whole number of bytes up to 50 TB\n"


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none.csv") == 1
    assert "none.csv" in capsys.readouterr().err


def test_an_interrupt_says_nothing_about_the_cache(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "replayed", interrupted)
    assert run(path) == 130
    assert capsys.readouterr().err == "s3warm: interrupted\n"


def test_the_help_names_every_policy(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--help")
    words = set(re.findall(r"[\w-]+", capsys.readouterr().out))
    assert words >= set(NAMES)


def test_it_is_loaded_by_its_command_only(path: Path) -> None:
    code = "import sys, s3warm, s3warm.cli.main; print([name for name in sys.modules if 'simulat' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    done = subprocess.run(
        [sys.executable, "-m", "s3warm", "simulate", path, "--budget=10%"], capture_output=True, text=True, check=True
    )
    assert "rule" in done.stdout
