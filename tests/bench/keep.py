"""The figures as JSON: a file for each bench, and one for the summary."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.bench.report import OUT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from tests.bench.runs import Run
    from tests.bench.summary import Summary

__all__ = ["keep"]


def keep(environment: Mapping[str, Any], runs: Sequence[Run], summary: Summary, directory: Path = OUT) -> None:
    """Write `<bench>.json` with all runs of each bench, and `lines.json`."""
    directory.mkdir(exist_ok=True)
    for bench in dict.fromkeys(run.bench for run in runs):
        own = [_plain(run) for run in runs if run.bench == bench]
        _write(directory / f"{bench}.json", {"environment": environment, "runs": own})
    _write(directory / "lines.json", {"environment": environment, **summary.to_json()})


def _plain(run: Run) -> dict[str, Any]:
    told: dict[str, Any] = {"run": run.number, "seconds": run.seconds, "load": run.load}
    report, missing, error = run.outcome
    if report is not None:
        return told | {"figures": report.figures, "lines": [line._asdict() for line in report.lines]}
    return told | ({"error": error} if error else {"not_measured": missing})


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
