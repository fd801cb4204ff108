"""The box itself: what is proven in it is worth what it is worth."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lambdabox.available import why_not
from tests.lambdabox.box import LambdaBox
from tests.lambdabox.environment import PROJECT
from tests.lambdabox.errors import BoxCrashed, HandlerError, TimedOut
from tests.lambdabox.mounts import hidden
from tests.support.static_origin import StaticOrigin

HANDLERS = Path(__file__).parent / "handlers"
ECHO = HANDLERS / "echo.py"
MIB = 1024 * 1024

pytestmark = pytest.mark.usefixtures("boxes")


@pytest.fixture(scope="module")
def shared() -> Iterator[LambdaBox]:
    missing = why_not()
    if missing is not None:
        pytest.skip(f"no LambdaBox here: {missing}")
    with LambdaBox(ECHO, 256, tmp_mb=64) as made:
        yield made


@pytest.fixture
def box(shared: LambdaBox) -> LambdaBox:
    """One box for the tests that leave a runtime behind in which the next test can run."""
    return shared


def test_an_event_goes_in_and_an_answer_comes_out(box: LambdaBox) -> None:
    answer = box.invoke({"text": "Grüße", "numbers": [1, 2.5, None]}, timeout=20)
    assert answer["event"] == {"text": "Grüße", "numbers": [1, 2.5, None]}
    assert 0 < answer["remaining"] <= 20_000
    assert (answer["memory"], answer["function"]) == ("256", "box")
    assert answer["environ"]["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert answer["environ"]["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
    again = box.invoke({})
    assert again["started"] == answer["started"]
    assert again["request"] != answer["request"]
    assert box.init_seconds > 0


def test_only_what_lambda_has_is_in_the_environment(box: LambdaBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_THE_HOST", "1")
    box.crash()
    assert "FROM_THE_HOST" not in box.invoke({})["environ"]


def test_environment_variables_of_the_function() -> None:
    with LambdaBox("tests.lambdabox.handlers.echo.handler", 128, 16, {"FLAG": "on", "AWS_REGION": "eu-north-1"}) as box:
        environ = box.invoke({})["environ"]
    assert (environ["FLAG"], environ["AWS_REGION"]) == ("on", "eu-north-1")


def test_a_handler_s_error_comes_back_and_the_runtime_lives_on(box: LambdaBox) -> None:
    before = box.invoke({})["pid"]
    with pytest.raises(HandlerError) as caught:
        box.invoke({"action": "fail", "message": "no such thing"})
    assert (caught.value.error_type, caught.value.error_message) == ("KeyError", "'no such thing'")
    assert "echo.py" in "".join(caught.value.stack_trace)
    assert "no such thing" in box.log
    assert box.invoke({})["pid"] == before


def test_an_init_error_is_the_answer_and_init_runs_again(tmp_path: Path) -> None:
    file = tmp_path / "function.py"
    file.write_text("import os\nopen('/tmp/tries', 'a').write('x')\nif os.path.getsize('/tmp/tries') < 3: raise ZeroDivisionError('init')\n"
                    "def handler(event, context): return os.path.getsize('/tmp/tries')\n")  # fmt: skip
    with LambdaBox(file, 128, 16) as box:
        for _ in range(2):
            with pytest.raises(HandlerError) as caught:
                box.invoke({})
            assert (caught.value.error_type, caught.value.error_message) == ("ZeroDivisionError", "init")
        assert box.invoke({}) == 3
    assert "ZeroDivisionError" in box.log  # also after its end


def test_a_module_that_is_not_there() -> None:
    with LambdaBox("no_such_module.handler", 128, 16) as box, pytest.raises(HandlerError) as caught:
        box.invoke({})
    assert caught.value.error_type == "Runtime.ImportModuleError"


def test_tmp_has_its_size_and_is_empty_at_first() -> None:
    with LambdaBox(ECHO, 128, tmp_mb=512) as box:
        project = {path.split("/")[2] for path in hidden(PROJECT, sys.prefix, sys.base_prefix)}  # where it lies in /tmp
        assert set(box.invoke({"action": "write", "text": ""})) == {"kept", *project}
        full = box.invoke({"action": "fill"}, timeout=60)
        assert full["errno"] == errno.ENOSPC
        assert 485 * MIB < full["written"] < 500 * MIB
        assert box.oom_kills() == 0  # its page cache is not what the cap is for


def test_a_project_under_tmp_stays_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "function.py").write_text("import os\ndef handler(event, context): return os.listdir(event)\n")
    monkeypatch.setattr("tests.lambdabox.mounts.hidden", lambda *paths: [*hidden(*paths), str(project)])
    (tmp_path / "other").touch()
    with LambdaBox(project / "function.py", 128, 16) as box:
        assert box.invoke(str(project)) == ["function.py"]
        assert box.invoke(str(tmp_path)) == ["project"]
    assert os.listdir(project) == ["function.py"]


def test_what_a_file_system_over_tmp_would_hide() -> None:
    assert hidden("/tmp/b/c", "/tmp/a", "/tmp/b", "/tmpfs", "/opt") == ["/tmp/a", "/tmp/b"]


def test_a_crash_keeps_tmp_and_runs_init_again(box: LambdaBox) -> None:
    box.invoke({"action": "write", "text": "before"})
    started = box.invoke({})["started"]
    box.crash()
    after = box.invoke({"action": "read"})
    assert after["text"] == "before"
    assert after["started"] > started
    assert not os.path.exists("/tmp/kept")


def test_a_runtime_that_exits_is_a_crash(box: LambdaBox) -> None:
    with pytest.raises(BoxCrashed, match="status 7"):
        box.invoke({"action": "exit", "status": 7})
    assert box.invoke({"n": 1})["event"] == {"n": 1}


def test_what_the_runtime_started_dies_with_it(box: LambdaBox) -> None:
    pid = box.invoke({"action": "spawn"})
    assert _runs(pid)
    box.crash()
    assert not _runs(pid)


def test_a_time_out_kills_the_runtime(box: LambdaBox) -> None:
    before = box.invoke({})["pid"]
    with pytest.raises(TimedOut):
        box.invoke({"action": "sleep", "seconds": 60}, timeout=0.2)
    assert box.invoke({})["pid"] != before


def test_nothing_moves_while_frozen(box: LambdaBox) -> None:
    box.invoke({"action": "beat"})
    time.sleep(0.05)
    box.freeze()
    time.sleep(0.5)
    box.thaw()
    seen = box.invoke({"action": "gap"})
    assert 0.5 <= seen["gap"] < 2
    assert seen["later"] > 0


def test_an_invocation_thaws(box: LambdaBox) -> None:
    box.invoke({})
    box.freeze()
    assert box.invoke({"n": 2})["event"] == {"n": 2}


def test_a_frozen_box_can_crash(box: LambdaBox) -> None:
    before = box.invoke({})["pid"]
    box.freeze()
    box.crash()
    assert box.invoke({})["pid"] != before


def test_rss_is_what_the_handler_holds(box: LambdaBox) -> None:
    box.crash()
    box.invoke({})
    bare = box.rss()
    box.invoke({"action": "hold", "bytes": 64 * MIB})
    assert 4 * MIB < bare < 40 * MIB
    assert abs(box.rss() - bare - 64 * MIB) < 4 * MIB
    box.crash()
    assert box.rss() < MIB


def test_a_body_as_large_as_the_memory_gets_the_runtime_killed(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(128 * MIB)
    with StaticOrigin() as origin:
        origin.put("bucket", "large", large)
        origin.put("bucket", "small", b"12345")
        with LambdaBox(HANDLERS / "download.py", 128, 16, {"AWS_ENDPOINT_URL": origin.endpoint}) as box:
            with pytest.raises(BoxCrashed, match="signal 9"):
                box.invoke({"bucket": "bucket", "key": "large"})
            assert box.oom_kills() == 1
            assert box.invoke({"bucket": "bucket", "key": "small"}) == 5
            assert box.oom_kills() == 1


def test_the_share_of_the_cpu() -> None:
    missing = why_not(cpu=True)
    if missing is not None:
        pytest.skip(f"no LambdaBox with a share of the CPU here: {missing}")
    with LambdaBox(ECHO, 256, 16, cpu=True) as box:
        share = box.invoke({"action": "spin", "seconds": 1.5})
    assert share < 0.25  # 256 / 1769 is 0.145; periods of 0.1 s, and a busy machine gives less


def test_s3warm_is_warm_after_a_crash() -> None:
    bodies = {f"key-{number}": os.urandom(50_000) for number in range(20)}
    expected = {key: hashlib.sha256(body).hexdigest() for key, body in bodies.items()}
    with StaticOrigin() as origin:
        for key, body in bodies.items():
            origin.put("bucket", key, body)
        with LambdaBox(HANDLERS / "warm.py", 256, environ={"AWS_ENDPOINT_URL": origin.endpoint}) as box:
            event = {"bucket": "bucket", "keys": list(bodies)}
            assert box.invoke(event) == expected
            assert len(origin.requests()) >= len(bodies)
            origin.forget()
            box.crash()
            assert box.invoke(event) == expected, box.log
            assert origin.requests() == []
            assert box.oom_kills() == 0


def _runs(pid: int) -> bool:
    """Whether it does more than wait for its parent to take note of its end."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
