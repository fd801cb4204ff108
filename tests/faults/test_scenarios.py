"""Random scenarios: whatever S3, the network, the clock and the callers do, what the cache gives is right, or an error of its own.

Each follows from its seed: SEED=n repeats one, SEEDS_FROM=n begins elsewhere.
"""

from __future__ import annotations

import importlib
import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from s3warm import revalidation
from tests.faults.scenario import CHUNK, PART, Scenario, Totals
from tests.faults.scenario_site import Site
from tests.faults.tried import SOAK, note
from tests.support.embedded import EmbeddedS3
from tests.support.gateway import RadosGateway, missing
from tests.support.supplier import full_jitter, shrink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EMBEDDED, GATEWAY = (2000, 300) if SOAK else (200, 30)
FIRST = int(os.environ.get("SEEDS_FROM", "1"))
ONLY = os.environ.get("SEED")

# What knows the length of a part is there before it is shrunk: imported later it would know the short one for good.
for _name in ("bodies", "trees", "origin.fetch", "origin.tee", "origin.transfer", "origin.stream", "tiers.scattered"):
    importlib.import_module(f"s3warm.{_name}")


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, part=PART, chunk=CHUNK)
    full_jitter(monkeypatch, 0.0)  # nobody sleeps
    for name in [name for name in os.environ if name.startswith("S3WARM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def embedded() -> Iterator[Site]:
    with EmbeddedS3() as server:
        server.reset()
        site = Site("embedded", server)
        yield site
        site.close()
        server.reset()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Site]:
    absent = missing()
    if absent is not None:
        pytest.skip(f"no real S3 gateway here: {absent}")
    with RadosGateway(tmp_path / "gateway") as server:
        site = Site("gateway", server)
        yield site
        site.close()


def run(site: Site, count: int, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Totals:
    monkeypatch.setattr(revalidation, "draw", site.draw)
    seeds = range(FIRST, FIRST + count) if ONLY is None else [int(ONLY)]
    print(f"seeds from {seeds[0]}")
    totals, began = Totals(), time.perf_counter()
    for seed in seeds:
        scenario = Scenario(seed, site, tmp_path, totals)
        try:
            scenario.run()
        except Exception as error:  # noqa: BLE001 - told with its seed
            story = "\n".join(scenario.steps)
            pytest.fail(f"{error!r}\n\nSEED={seed} .venv/bin/python -m pytest {command}\n\n{story}\n")
        shutil.rmtree(scenario.directory, ignore_errors=True)
        if isinstance(site.server, EmbeddedS3):
            site.server.reset()
    totals.requests = sum(site.proxy.methods.values())
    print(f"{(time.perf_counter() - began) / totals.scenarios:.2f} s each; {dict(totals.outcomes)}")
    if ONLY is None:
        assert set(site.proxy.methods) == {"GET"}
    return totals


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_scenarios_against_the_embedded_server(embedded: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    totals = run(embedded, EMBEDDED, "-m faults tests/faults/test_scenarios.py", tmp_path, monkeypatch)
    if ONLY is None:
        note("scenarios-embedded", totals.tried(embedded.proxy.met), totals.outcome())


@pytest.mark.e2e
@pytest.mark.timeout(3600)
def test_scenarios_against_the_gateway(gateway: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    totals = run(gateway, GATEWAY, "-m e2e tests/faults/test_scenarios.py", tmp_path, monkeypatch)
    if ONLY is None:
        note("scenarios-gateway", totals.tried(gateway.proxy.met), totals.outcome())
