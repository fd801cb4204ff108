"""The command line, `python -m s3warm`, against a static server that the environment names."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from s3warm import Cache, Event
from s3warm.cli.main import main
from s3warm.cli.progress import MIB, WIDTH, Progress
from tests.support.entries import noise
from tests.support.static_origin import StaticOrigin

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "s3://models/net.onnx"
TREE = "s3://models/bert/"
FILES = {"config.json": b"{}", "shards/1.bin": noise(10_000)}
LARGE = "s3://models/large.bin"


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StaticOrigin]:
    """A server with a model and a tree, and an environment in which it is S3."""
    for name in [name for name in os.environ if name.startswith(("S3WARM_", "AWS_"))]:
        monkeypatch.delenv(name)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with StaticOrigin() as server:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL_S3": server.endpoint,
            "TMPDIR": str(temporary),
        }.items():
            monkeypatch.setenv(name, value)
        server.put("models", "net.onnx", b"weights")
        for key, body in FILES.items():
            server.put("models", f"bert/{key}", body)
        yield server


@pytest.fixture
def cache(origin: StaticOrigin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The cache directory that the environment names."""
    monkeypatch.setenv("S3WARM_DIRECTORY", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(*arguments: object) -> int:
    """The exit status of a command."""
    return main([str(argument) for argument in arguments])


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put_large(origin: StaticOrigin, tmp_path: Path, size: int) -> None:
    """An object of zeros that takes no time to write."""
    with open(tmp_path / "large", "wb") as file:
        file.truncate(size)
    origin.put("models", "large.bin", tmp_path / "large")


# -- to the cache directory ---------------------------------------------------------------------------------------------------


def test_a_warmed_directory_answers_without_a_request(
    origin: StaticOrigin, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fetch", MODEL, TREE) == 0
    model, tree = map(Path, capsys.readouterr().out.splitlines())
    assert (model.read_bytes(), files_of(tree)) == (b"weights", FILES)
    assert cache in model.parents
    assert cache in tree.parents
    assert [request.key for request in origin.requests()][:2] == ["net.onnx", ""]
    assert len(origin.requests()) == 4
    origin.forget()
    assert run("fetch", TREE, MODEL) == 0
    assert capsys.readouterr().out.splitlines() == [str(tree), str(model)]
    with Cache() as warmed:
        assert (warmed.path(MODEL), warmed.tree(TREE)) == (model, tree)
    assert origin.requests() == []


def test_the_directory_of_the_command_wins_over_the_environment(
    origin: StaticOrigin, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fetch", MODEL, "--directory", tmp_path / "other") == 0
    assert tmp_path / "other" in Path(capsys.readouterr().out.strip()).parents
    assert not cache.exists()


def test_what_is_fetched_is_not_in_use_afterwards(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fetch", MODEL, TREE) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    with Cache() as another:
        another.clear()
    assert [path.exists() for path in paths] == [False, False]


def test_settings_come_from_the_environment(
    origin: StaticOrigin, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.put("models", "parts.bin", b"weights", etag="0123-2")
    monkeypatch.setenv("S3WARM_VERIFY", "require")
    assert run("fetch", "s3://models/parts.bin") == 1
    assert "cannot be verified" in capsys.readouterr().err
    monkeypatch.setenv("S3WARM_VERIFY", "sometimes")
    assert run("fetch", "s3://models/parts.bin") == 2
    assert "S3WARM_VERIFY='sometimes' is not understood" in capsys.readouterr().err


# -- to a place of one's own ----------------------------------------------------------------------------------------------------


def test_one_object_becomes_the_output_and_nothing_else_is_left(
    origin: StaticOrigin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "model.onnx"
    assert run("fetch", MODEL, "--output", output) == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert output.read_bytes() == b"weights"
    assert output.stat().st_mode & stat.S_IWUSR, "a copy is its owner's to write"
    assert os.listdir(tmp_path / "tmp") == [], "the cache was a temporary one"
    origin.put("models", "net.onnx", b"newer")
    assert run("fetch", MODEL, "--output", output) == 0
    assert output.read_bytes() == b"newer"


def test_several_objects_go_into_the_output_under_their_own_names(
    origin: StaticOrigin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "output"
    assert run("fetch", MODEL, TREE, f"{TREE}config.json", "--output", output) == 0
    assert files_of(output) == {
        "net.onnx": b"weights",
        "bert/config.json": b"{}",
        "bert/shards/1.bin": FILES["shards/1.bin"],
        "config.json": b"{}",
    }
    assert capsys.readouterr().out.splitlines() == [str(output / name) for name in ("net.onnx", "bert", "config.json")]


def test_one_object_goes_into_an_output_that_is_a_directory(
    origin: StaticOrigin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fetch", MODEL, "--output", tmp_path / "tmp") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'tmp' / 'net.onnx'}\n"
    assert (tmp_path / "tmp" / "net.onnx").read_bytes() == b"weights"


def test_a_tree_becomes_the_output(origin: StaticOrigin, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "output"
    assert run("fetch", TREE, "--output", output) == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert files_of(output) == FILES
    assert all(path.stat().st_mode & stat.S_IWUSR for path in output.rglob("*"))


def test_with_a_directory_the_output_is_a_copy(
    origin: StaticOrigin, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert run("fetch", MODEL, "--output", tmp_path / "model.onnx") == 0
    assert len(origin.requests()) == 1
    (tmp_path / "model.onnx").write_bytes(b"changed")
    with Cache() as warmed:
        assert warmed.path(MODEL).read_bytes() == b"weights"


def test_two_objects_of_one_name_do_not_overwrite_each_other(
    origin: StaticOrigin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin.put("others", "net.onnx", b"other")
    status = run("fetch", MODEL, "s3://others/net.onnx", "--output", tmp_path / "output")
    assert status == 2
    assert "as another one has the same" in capsys.readouterr().err
    assert files_of(tmp_path / "output") == {}


def test_the_same_command_twice_leaves_the_same_output(origin: StaticOrigin, tmp_path: Path) -> None:
    for _ in range(2):
        assert run("fetch", TREE, "--output", tmp_path / "output") == 0
        assert files_of(tmp_path / "output") == FILES


def test_an_output_that_ends_in_a_slash_is_a_directory(origin: StaticOrigin, tmp_path: Path) -> None:
    assert run("fetch", MODEL, "--output", f"{tmp_path}/output/") == 0
    assert files_of(tmp_path / "output") == {"net.onnx": b"weights"}


def test_nothing_is_written_beside_the_output(origin: StaticOrigin, tmp_path: Path) -> None:
    origin.put("models", "a/../evil", b"evil")
    run("fetch", MODEL, "s3://models/a/../", "--output", tmp_path / "new" / "output")
    assert not (tmp_path / "new" / "evil").exists()


# -- errors ---------------------------------------------------------------------------------------------------------------------


def test_without_a_place_nothing_is_fetched_and_the_advice_is_given(
    origin: StaticOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fetch", MODEL) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    for advice in ("s3warm: nothing would be left", "S3WARM_DIRECTORY", "--directory", "--output"):
        assert advice in captured.err
    assert origin.requests() == []


def test_disabled_there_is_no_place_either(
    origin: StaticOrigin, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3WARM_DISABLED", "1")
    assert run("fetch", MODEL) == 2
    assert "S3WARM_DISABLED=1 keeps nothing" in capsys.readouterr().err


@pytest.mark.parametrize("uri", ["s3://models/no.onnx", "s3://models/none/"])
def test_an_object_that_does_not_exist(cache: Path, capsys: pytest.CaptureFixture[str], uri: str) -> None:
    assert run("fetch", MODEL, uri, TREE) == 1
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1, "what came before it is there"
    assert captured.err.splitlines()[-1].startswith("s3warm: ")
    assert uri in captured.err.splitlines()[-1]


@pytest.mark.parametrize("uri", ["net.onnx", "s3://", "s3://models", "s3://models/", "s3://mod els/x", "https://models/x", ""])
def test_what_is_no_uri(origin: StaticOrigin, cache: Path, capsys: pytest.CaptureFixture[str], uri: str) -> None:
    assert run("fetch", uri) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert captured.err.startswith("s3warm: ")
    assert origin.requests() == []


def test_an_output_that_cannot_be_written(origin: StaticOrigin, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert run("fetch", MODEL, "--output", tmp_path / "file" / "model.onnx") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("s3warm: ")


def test_interrupted(cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Cache, "path", interrupted)
    assert run("fetch", MODEL) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("s3warm: interrupted; what is finished stays in the cache directory\n")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "s3warm", *map(str, arguments)]


def test_interrupted_in_the_middle_it_goes_on_the_next_time(origin: StaticOrigin, cache: Path, tmp_path: Path) -> None:
    parts = 24  # more than are under way at a time
    put_large(origin, tmp_path, parts * 4 * MIB)
    origin.pace(latency=0.0, rate=8e6)
    # A shell starts what runs in the background with SIGINT ignored, and a child would inherit that.
    heard = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from s3warm.cli.main import main; sys.exit(main(sys.argv[1:]))"
    interruptible = [sys.executable, "-c", heard, *command("fetch", LARGE)[5:]]
    with subprocess.Popen(interruptible, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        assert child.stderr.readline().startswith(LARGE), "parts are finished"
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "s3warm: interrupted; what is finished stays in the cache directory"
    origin.pace(latency=0.0, rate=None)
    origin.forget()
    done = subprocess.run(command("fetch", LARGE), check=True, capture_output=True, text=True, timeout=60)
    assert Path(done.stdout.strip()).stat().st_size == parts * 4 * MIB
    assert 2 <= len(origin.requests()) < parts


@pytest.mark.parametrize(
    ("arguments", "status"), [(["--help"], 0), (["fetch", "--help"], 0), ([], 2), (["fetch"], 2), (["x"], 2)]
)
def test_help_and_what_is_no_command(arguments: list[str], status: int) -> None:
    done = subprocess.run(command(*arguments), check=False, capture_output=True, text=True, timeout=60)
    said, other = (done.stdout, done.stderr) if status == 0 else (done.stderr, done.stdout)
    assert (done.returncode, other) == (status, "")
    assert said.startswith("usage: python -m s3warm")
    if arguments != ["x"]:
        assert ("s3://bucket/key" if "fetch" in arguments else "fetch" if status == 0 else "command") in said


# -- progress -------------------------------------------------------------------------------------------------------------------


def test_without_a_terminal_there_are_lines(origin: StaticOrigin, cache: Path, tmp_path: Path) -> None:
    put_large(origin, tmp_path, 20 * MIB)
    done = subprocess.run(command("fetch", LARGE, MODEL), check=True, capture_output=True, text=True, timeout=60)
    assert len(done.stdout.splitlines()) == 2
    assert all(Path(line).is_file() for line in done.stdout.splitlines())
    *under_way, large, model, both = done.stderr.splitlines()
    assert under_way
    assert all(re.fullmatch(rf"{LARGE}: +\d+% of 20\.0 MiB, [\d,]+ MiB/s", line) for line in under_way)
    assert re.fullmatch(r"2 fetched: 20\.0 MiB in [\d.]+ s", both)
    assert re.fullmatch(rf"{LARGE}: 20\.0 MiB in [\d.]+ s", large)
    assert re.fullmatch(rf"{MODEL}: 0\.0 MiB in [\d.]+ s", model)


def test_on_a_terminal_there_is_a_bar(origin: StaticOrigin, cache: Path, tmp_path: Path) -> None:
    put_large(origin, tmp_path, 20 * MIB)
    mine, its = os.openpty()
    with subprocess.Popen(command("fetch", LARGE), stdout=subprocess.PIPE, stderr=its, text=True) as child:
        os.close(its)
        drawn = b""
        with contextlib.suppress(OSError):  # Linux says EIO when nobody has the other side any more
            while piece := os.read(mine, 1024):
                drawn += piece
        assert child.stdout is not None
        assert Path(child.stdout.read().strip()).stat().st_size == 20 * MIB
    os.close(mine)
    assert child.returncode == 0
    *bars, last = drawn.decode().split("\r\x1b[K")[1:]
    assert re.fullmatch(rf"{LARGE}: 20\.0 MiB in [\d.]+ s\r\n", last)
    assert bars
    assert all(re.fullmatch(rf"\[[#.]{{{WIDTH}}}\] +\d+% of 20\.0 MiB, [\d,]+ MiB/s", bar) for bar in bars)
    assert bars[-1].startswith("[" + "#" * WIDTH + "] 100%")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def moved(so_far: int, total: int = 20 * MIB) -> Event:
    return Event("progress", "models", "large.bin", so_far, total=total)


def test_each_tenth_has_one_line() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, clock)
    progress.begin(LARGE)
    for share in range(101):
        clock.now += 0.1
        progress(moved(share * MIB, 100 * MIB))
    lines = stream.getvalue().splitlines()
    assert [line.split("%")[0] for line in lines] == [f"{LARGE}: {tenth:>3}" for tenth in range(10, 101, 10)]
    assert lines[4] == f"{LARGE}:  50% of 100.0 MiB, 10 MiB/s"
    progress.begin(MODEL)
    progress(moved(10 * MIB))
    assert stream.getvalue().splitlines()[10:] == [f"{MODEL}:  50% of 20.0 MiB, 10,000 MiB/s"], "no time has passed yet"


def test_a_bar_is_drawn_over_and_over() -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress(stream, clock)
    progress.begin(LARGE)
    clock.now += 2
    progress(moved(0))
    progress(moved(10 * MIB))
    progress(moved(20 * MIB))
    half = WIDTH // 2
    assert stream.getvalue().split("\r\x1b[K") == [
        "",
        f"[{'.' * WIDTH}]   0% of 20.0 MiB, 0 MiB/s",
        f"[{'#' * half}{'.' * half}]  50% of 20.0 MiB, 5 MiB/s",
        f"[{'#' * WIDTH}] 100% of 20.0 MiB, 10 MiB/s",
    ]


def test_of_many_objects_the_bar_tells_which_and_the_end_tells_of_all(tmp_path: Path) -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress(stream, clock, objects=12)
    (tmp_path / "1").write_bytes(bytes(3 * MIB))
    for _ in range(12):
        progress.begin(LARGE)
        progress(moved(10 * MIB))
        clock.now += 2
        progress.end(tmp_path / "1")
    progress.end_all()
    bars = [line for line in stream.getvalue().split("\r\x1b[K") if line.startswith("[")]
    assert [bar.partition(", object ")[2] for bar in bars] == [f"{number} of 12" for number in range(1, 13)]
    assert stream.getvalue().splitlines()[-1] == "12 fetched: 36.0 MiB in 24.0 s"


@pytest.mark.parametrize("event", [Event("fetched", "b", "k", 10), Event("progress", "b", "k", 0, total=0), Event("evicted")])
def test_nothing_else_is_shown(event: Event) -> None:
    for stream in (io.StringIO(), Terminal()):
        progress = Progress(stream, Clock())
        progress.begin(LARGE)
        progress(event)
        assert stream.getvalue() == ""


def test_the_end_tells_the_size_of_a_file_and_of_a_tree(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for path in (tmp_path / "1", tmp_path / "deep" / "2"):
        path.write_bytes(bytes(MIB))
    for stream, begin in ((io.StringIO(), ""), (Terminal(), "\r\x1b[K")):
        clock = Clock()
        progress = Progress(stream, clock)
        progress.begin(TREE)
        clock.now += 1.25
        progress.end(tmp_path)
        assert stream.getvalue() == f"{begin}{TREE}: 2.0 MiB in 1.2 s\n"
        progress.begin(MODEL)
        progress.end(tmp_path / "1")
        assert stream.getvalue().endswith(f"{MODEL}: 1.0 MiB in 0.0 s\n")
