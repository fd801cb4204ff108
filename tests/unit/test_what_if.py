"""`s3warm budget`: what is said is what a cache would choose."""

from __future__ import annotations

import json
import os

import pytest

from s3warm import Cache, ConfigurationError, machine
from s3warm.cli.main import main
from s3warm.cli.what_if import bytes_of, would_choose
from s3warm.factory import LEAN_MEMORY

MIB = 2**20


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    for name in [name for name in os.environ if name.startswith(("S3WARM_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("S3WARM_DIRECTORY", f"{tmp_path}/cache")
    monkeypatch.setattr(machine, "resident_memory", lambda: 60 * MIB)
    monkeypatch.setattr(machine, "free_disk", lambda _: 500 * MIB)


@pytest.mark.parametrize("origin", ["auto", "boto3", "lean"])
@pytest.mark.parametrize("region", ["eu-west-1", ""], ids=["plain", "without a region"])
@pytest.mark.parametrize("megabytes", [128, 192, 256, 512, 3008])
def test_a_function_in_lambda_chooses_just_that(
    monkeypatch: pytest.MonkeyPatch, megabytes: int, origin: str, region: str
) -> None:
    for name, value in {
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(megabytes),
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_REGION": region,
        "AWS_LAMBDA_MAX_CONCURRENCY": "2",
        "S3WARM_ORIGIN": origin,
    }.items():
        monkeypatch.setenv(name, value)
    # Before the cache opens its directory, and then as it has found it.
    foretold = would_choose(os.environ)
    with Cache() as cache:
        chosen = cache.budgets()
    assert foretold.memory == chosen.memory
    assert (foretold.largest_in_memory, foretold.directory) == (chosen.largest_in_memory, chosen.directory)
    assert chosen.disk is not None
    assert foretold.disk is not None
    assert 0 <= chosen.disk.bytes - foretold.disk.bytes < MIB, "an empty database"


def test_what_is_given_counts_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = would_choose({}, memory=256 * MIB, tmp=1024 * MIB, concurrency=2, rss=100 * MIB)
    # Half of what 100 MiB of imports, 10 MiB of a client and the reserve of 64 leave, for two.
    assert LEAN_MEMORY == 10 * MIB
    assert chosen.memory.bytes == (256 - 110 - 64) // 2 * MIB // 2
    assert "of the function's 256 MB beside 110 MiB in use" in chosen.memory.origin
    assert chosen.memory.origin.endswith("divided by 2 processes")
    assert chosen.disk is not None
    assert chosen.disk == (int(1024 * MIB * 0.8), "80% of 1024 MiB free + 0 MiB held by the cache")
    assert chosen.directory == "/tmp/s3warm"
    by_boto3 = would_choose({}, memory=256 * MIB, tmp=1024 * MIB, concurrency=2, rss=100 * MIB, boto3=True)
    assert by_boto3.memory.bytes != chosen.memory.bytes


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("S3WARM_MEMORY_BUDGET", "10%", "51.2 MiB: 10% of the function's 512 MB"),
        ("S3WARM_DISK_BUDGET", "0", "disk    off"),
        ("S3WARM_DISABLED", "1", "memory  off: S3WARM_DISABLED=1"),
        ("S3WARM_DIRECTORY", "/mnt/x", "(in /mnt/x)"),
    ],
)
def test_settings_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert main(["budget", "--memory", "512MB", "--tmp", "512MB"]) == 0
    assert told in capsys.readouterr().out


def test_in_words_and_as_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S3WARM_DIRECTORY")
    arguments = ["budget", "--memory", "512 mb", "--tmp", "0.5GB", "--rss", "60MB"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines() == [
        "memory  128.0 MiB: 25% of the function's 512 MB; bodies up to 64.0 MiB",
        "disk    409.6 MiB: 80% of 512 MiB free + 0 MiB held by the cache (in /tmp/s3warm)",
    ]
    assert main([*arguments, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["memory"] == {"bytes": 128 * MIB, "why": "25% of the function's 512 MB"}
    assert plain["disk"]["bytes"] == int(512 * MIB * 0.8)
    assert (plain["largest_in_memory"], plain["directory"]) == (64 * MIB, "/tmp/s3warm")


@pytest.mark.parametrize(
    ("text", "size"), [("512MB", 512 * MIB), ("2gb", 2048 * MIB), ("1536 KB", 1536 * 1024), ("10GiB", 10240 * MIB)]
)
def test_megabytes_are_lambdas(text: str, size: int) -> None:
    assert bytes_of(text, "--memory") == size


@pytest.mark.parametrize("text", ["512", "0", "-1MB", "25%", "much", "MB", "", "1e999MB", "512TB"])
def test_what_is_no_size(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError, match="is not understood"):
        bytes_of(text, "--memory")
    assert main(["budget", f"--tmp={text}"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert captured.err.startswith(f"s3warm: --tmp={text!r} is not understood; accepted: a size")
    assert ('did you mean "512MB"?' in captured.err) is (text == "512")


@pytest.mark.parametrize("number", ["0", "-2"])
def test_no_processes(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["budget", f"--concurrency={number}"]) == 2
    assert "accepted: 1 or more" in capsys.readouterr().err
