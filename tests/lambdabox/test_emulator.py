"""Once with AWS's own emulator, so that not all stands on a Runtime API of this project's making."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lambdabox.emulator import Emulator, EmulatorUnavailable, program
from tests.lambdabox.environment import variables
from tests.support.static_origin import StaticOrigin

HANDLERS = Path(__file__).parent / "handlers"


@pytest.fixture
def origin() -> Iterator[StaticOrigin]:
    with StaticOrigin() as made:
        yield made


@pytest.fixture
def emulator(origin: StaticOrigin, tmp_path: Path) -> Iterator[Emulator]:
    """With the handler `warm`."""
    if importlib.util.find_spec("awslambdaric") is None:
        pytest.skip("AWS's runtime client is not installed (awslambdaric, dependency group lambda)")
    try:
        program()
    except EmulatorUnavailable as missing:
        pytest.skip(f"no Runtime Interface Emulator here: {missing}")
    environ = variables("warm.handler", 256, str(HANDLERS))
    environ |= {"AWS_ENDPOINT_URL_S3": origin.endpoint, "S3WARM_DIRECTORY": str(tmp_path / "cache")}
    with Emulator("warm.handler", HANDLERS, environ, tmp_path / "log") as made:
        yield made


def test_two_invocations_one_request(origin: StaticOrigin, emulator: Emulator) -> None:
    body = b'{"greeting": "hello"}'
    origin.put("bucket", "flags.json", body)
    event = {"bucket": "bucket", "keys": ["flags.json"]}
    expected = {"flags.json": hashlib.sha256(body).hexdigest()}
    assert emulator.invoke(event) == expected, emulator.log
    assert emulator.invoke(event) == expected, emulator.log
    assert [(served.method, served.key, served.status) for served in origin.requests()] == [("GET", "flags.json", 200)]
