"""The `world` fixture: each flow test runs once for each origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import valkey
from tests.support.embedded import EmbeddedS3
from tests.support.gateway import RadosGateway, missing
from tests.support.tapped import Tap
from tests.support.worlds import FakeWorld, FleetWorld, LeanWorld, ServerWorld

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.worlds import World


@pytest.fixture(scope="session")
def embedded() -> Iterator[EmbeddedS3]:
    with EmbeddedS3() as server:
        yield server


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RadosGateway]:
    absent = missing()
    if absent is not None:
        pytest.skip(f"no real S3 gateway here: {absent}")
    with RadosGateway(tmp_path_factory.mktemp("gateway")) as server:
        yield server


@pytest.fixture(scope="session")
def needs_server() -> None:
    absent = valkey.missing()
    if absent is not None:
        pytest.skip(f"no Valkey or Redis server here: {absent}")


@pytest.fixture
def server(tmp_path: Path, needs_server: None) -> Iterator[valkey.ValkeyServer]:
    with valkey.ValkeyServer(tmp_path / "server") as server:
        yield server


@pytest.fixture
def tap(server: valkey.ValkeyServer) -> Iterator[Tap]:
    with Tap(server.port) as tap:
        yield tap


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory, needs_server: None) -> Iterator[valkey.ValkeyServer]:
    with valkey.ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(
    params=[
        "fake",
        pytest.param("fleet", marks=pytest.mark.e2e),
        "embedded",
        pytest.param("embedded lean", marks=pytest.mark.e2e),
        pytest.param("gateway", marks=pytest.mark.e2e),
        pytest.param("gateway lean", marks=pytest.mark.e2e),
    ]
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made: FakeWorld | ServerWorld
    if request.param == "fake":
        made = FakeWorld(tmp_path / "cache")
    elif request.param == "fleet":
        made = FleetWorld(tmp_path / "cache", request.getfixturevalue("shared_server").url)
    else:
        name, _, lean = request.param.partition(" ")
        server = request.getfixturevalue(name)
        access_key, secret_key = getattr(server, "access_key", "key"), getattr(server, "secret_key", "secret")
        kind = LeanWorld if lean else ServerWorld
        made = kind(name, server, tmp_path / "cache", access_key=access_key, secret_key=secret_key)
    try:
        yield made
    finally:
        made.close()
