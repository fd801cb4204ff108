"""`s3warm bench` against moto's server, `s3warm demo`, and what all commands have in common."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from s3warm import __version__
from s3warm.cli.demonstration import CALLS, OBJECTS, many_calls, play
from s3warm.cli.figures import histogram, percentile
from s3warm.cli.main import COMMANDS, main
from tests.support.proxy import RecordingProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.embedded import EmbeddedS3

BODY = b"weights" * 1000
URI = "s3://bench/net.onnx"


@pytest.fixture
def proxy(embedded: EmbeddedS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RecordingProxy]:
    """moto's server with an object in it, by way of a proxy that counts, as the environment's S3."""
    for name in [name for name in os.environ if name.startswith(("S3WARM_", "AWS_"))]:
        monkeypatch.delenv(name)
    with RecordingProxy(embedded.address) as counting:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": embedded.endpoint,
            "S3WARM_DIRECTORY": str(tmp_path / "mine"),
        }.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="bench")
        client.put_object(Bucket="bench", Key="net.onnx", Body=BODY)
        client.put_object(Bucket="bench", Key="never", Body=BODY, CacheControl="no-store")
        client.close()
        monkeypatch.setenv("AWS_ENDPOINT_URL", counting.endpoint)
        yield counting


def test_each_way_is_measured_and_its_requests_are_counted(
    proxy: RecordingProxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", URI, "--repeat", "3", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    ways: dict[str, Any] = found["ways"]
    assert list(ways) == ["cold", "memory", "disk", "revalidate", "boto3"]
    assert all(len(way["seconds"]) == 3 and way["p50"] == sorted(way["seconds"])[1] for way in ways.values())
    assert all(way["p90"] == way["p99"] == max(way["seconds"]) for way in ways.values())
    assert {name: (way["requests"], way["bytes"]) for name, way in ways.items()} == {
        "cold": (3, 3 * len(BODY)),
        "memory": (0, 0),
        "disk": (0, 0),
        "revalidate": (3, 0),
        "boto3": (3, 3 * len(BODY)),
    }
    assert ways["memory"]["boto3_over_this"] == pytest.approx(ways["boto3"]["p50"] / ways["memory"]["p50"])
    statuses = [exchange.status for exchange in proxy.exchanges]
    assert (statuses.count(200), statuses.count(304), len(statuses)) == (8, 3, 11)
    assert {exchange.method for exchange in proxy.exchanges} == {"GET"}
    assert (found["size"], found["requests"], found["bodies"]) == (len(BODY), 11, 8)
    assert captured.err == f"{URI}: this takes 11 GET requests, 8 of them for its body of 6.8 KiB or a part of it\n"
    assert not (tmp_path / "mine").exists(), "the user's own cache is left alone"


def test_the_table(proxy: RecordingProxy, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", URI, "--repeat", "2"]) == 0
    header, *rows, _ = capsys.readouterr().out.splitlines()
    assert header.split() == ["way", "distribution", "median", "p90", "p99", "beside", "boto3", "requests", "bytes"]
    assert [re.split(r"  +", row)[0] for row in rows] == [
        "s3warm, from S3",
        "s3warm, memory",
        "s3warm, /tmp",
        "s3warm, 304",
        "boto3",
    ]
    assert all(re.search(r"\|[ ▁-█]{20}\|  +([\d.,]+ (ns|µs|ms|s) +){3}", row) for row in rows)


def test_what_is_not_kept_is_not_asked_for_a_thousand_times(proxy: RecordingProxy, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "s3://bench/never", "--repeat", "3", "--json"]) == 0
    ways = json.loads(capsys.readouterr().out)["ways"]
    assert (ways["memory"]["seconds"], ways["disk"]["seconds"], len(ways["boto3"]["seconds"])) == ([], [], 3)
    assert len(proxy.exchanges) <= 11
    assert main(["bench", "s3://bench/never", "--repeat", "1"]) == 0
    assert "is not kept there" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "why"),
    [
        (["s3://bench/none"], 1, "s3://bench/none"),
        (["net.onnx"], 2, "is not an object"),
        ([URI, "--repeat=0"], 2, "--repeat=0 is not understood"),
    ],
)
def test_what_cannot_be_measured(
    proxy: RecordingProxy, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, why: str
) -> None:
    assert main(["bench", *arguments]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert why in captured.err
    assert (len(proxy.exchanges) > 0) is (status == 1)


@pytest.mark.parametrize("name", ["S3WARM_DISABLED", "S3WARM_OFFLINE"])
def test_without_a_cache_or_s3_there_is_nothing_to_measure(
    proxy: RecordingProxy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert main(["bench", URI]) == 2
    assert f"with {name}=1 there is nothing to measure" in capsys.readouterr().err
    assert proxy.exchanges == []


# -- figures ------------------------------------------------------------------------------------------------------------------------


def test_percentiles_are_samples() -> None:
    samples = list(range(1, 101))
    assert [percentile(samples[::-1], percent) for percent in (1, 50, 90, 99, 100)] == [1, 50, 90, 99, 100]
    assert [percentile([7.0], percent) for percent in (1, 50, 99)] == [7.0] * 3


def test_a_histogram_shows_each_sample() -> None:
    assert histogram([1.0], 4) == "█   "
    assert histogram([3.0, 3.0, 3.0], 4) == "█   "
    assert histogram([0.0] * 1000 + [10.0], 5) == "█   ▁", "one in a thousand is seen"
    assert histogram([0, 1, 2, 3, 4, 5, 6, 7], 4) == "████"


# -- the demonstration --------------------------------------------------------------------------------------------------------------


def test_the_demonstration_is_what_the_readme_says() -> None:
    steps = [(step.what, step.source, step.requests, step.bytes, step.seconds is not None) for step in play()]
    assert steps == [
        ("first call", "S3", 1, 18, False),
        ("again", "memory", 0, 0, True),
        ("runtime crashed", "/tmp", 0, 0, True),
        ("TTL over, unchanged", "memory, after a 304", 1, 0, False),
        ("TTL over, changed", "S3", 1, 17, False),
        ("S3 is down", "an older copy", 0, 0, False),
    ]
    assert many_calls() == (CALLS, OBJECTS)


def test_the_demonstration_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("S3WARM_DIRECTORY", str(tmp_path / "mine"))
    assert main(["demo"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert len(lines) == 11
    assert re.fullmatch(r"again +memory +[\d.]+ (ns|µs|ms) +none", lines[2])
    assert re.fullmatch(r"TTL over, unchanged +memory, after a 304 +1 GET, 0 bytes", lines[4]), "no time where S3 was asked"
    assert "not measured" in captured.out
    assert not (tmp_path / "mine").exists()


# -- all commands -------------------------------------------------------------------------------------------------------------------


def test_the_help_lists_each_command_in_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    for name, line in COMMANDS.items():
        assert any(re.fullmatch(rf" +{name} +{re.escape(line)}", said) for said in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_its_own_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"], program="s3warm")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: s3warm {name} ")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"s3warm {__version__}\n")


def test_the_console_script_is_the_same(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    script = EntryPoint("s3warm", project["scripts"]["s3warm"], "console_scripts")
    monkeypatch.setattr(sys, "argv", ["s3warm", "budget", "--memory", "512MB", "--tmp", "512MB", "--rss", "50MiB"])
    assert script.load()() == 0
    assert "of the function's 512 MB" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["simulate", "--policy", "sieve"], ["demo"], ["budget"], ["--help"]], ids=" ".join)
@pytest.mark.parametrize("stream", ["stdout", "both"])
@pytest.mark.parametrize("buffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_reader_who_goes_leaves_no_traceback(arguments: list[str], stream: str, buffered: str) -> None:
    command = [sys.executable, "-W", "error", "-m", "s3warm", *arguments]
    errors = None if stream == "both" else subprocess.PIPE
    reading, writing = os.pipe()
    os.close(reading)  # nobody will ever read
    try:
        done = subprocess.run(
            command,
            stdout=writing,
            stderr=errors or writing,
            env=os.environ | {"PYTHONUNBUFFERED": buffered},
            check=False,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert done.stderr in (b"", None)
    assert done.returncode == 141 or arguments == ["--help"]
