"""A cold start to the first object from S3 in a function of 128 MB with Lambda's share of the CPU: s3warm beside boto3. Needs root."""

from __future__ import annotations

from tests.bench.report import Line, Report, Table
from tests.lambdabox import cold
from tests.lambdabox.available import why_not

__all__ = ["run"]

NAME, BAR = "cold to the first object from S3 in 128 MB, of boto3's time", 25
NOTHING, OURS, BOTO3 = "nothing", "s3warm_s3", "boto3"
RUNS = 3


def run(directory: str) -> Report:
    """Measure where a box can be made; the line says why not where none can."""
    missing = why_not(cpu=True)
    if missing is not None:
        return Report([], {}, [Line(NAME, None, "at most", BAR, "%", missing)])
    medians = cold.measure((NOTHING, OURS, BOTO3), RUNS)
    over = {name: times["init"] - medians[NOTHING]["init"] + times["first_get"] for name, times in medians.items()}
    table: Table = cold.table(medians, RUNS)
    return Report([table], {"seconds": medians}, [Line(NAME, over[OURS] / over[BOTO3] * 100, "at most", BAR, "%")])
