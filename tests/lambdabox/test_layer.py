"""A handler whose s3warm, diskcache and zstandard come from the layer, which is read-only, as in Lambda."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from examples.layer.build import build
from examples.layer.wheels import VERSIONS, Target, own_wheel
from tests.lambdabox.box import LambdaBox
from tests.support.static_origin import StaticOrigin

HANDLER = Path(__file__).parent / "handlers" / "layered.py"
PYTHON = "{}.{}".format(*sys.version_info)
TEXT = b"warm objects compress well\n" * 4_000

pytestmark = pytest.mark.usefixtures("boxes")


@pytest.fixture
def handler(tmp_path: Path) -> Path:
    """The handler, in a folder of its own, with the layer unpacked beside it."""
    architecture = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine())
    if architecture is None or PYTHON not in VERSIONS:
        pytest.skip(f"there is no layer for Python {PYTHON} on {platform.machine()}")
    made = build(own_wheel(tmp_path), Target(PYTHON, architecture), sys.executable, tmp_path)
    function = tmp_path / "function"
    with zipfile.ZipFile(made) as layer:
        layer.extractall(function / "layer")
    return Path(shutil.copy(HANDLER, function))


def test_a_function_has_s3warm_from_its_layer_alone(handler: Path) -> None:
    event = {"bucket": "bucket", "key": "text"}
    with StaticOrigin() as origin:
        origin.put("bucket", "text", TEXT)
        # Relative to the function's code, which the box shows at a path of its own.
        environ = {"AWS_ENDPOINT_URL": origin.endpoint, "PYTHONPATH": os.path.join("layer", "python")}
        with LambdaBox(handler, 256, environ=environ) as box:
            first = box.invoke(event)
            box.crash()
            second = box.invoke(event)
        assert len(origin.requests()) == 1
    assert (first["misses"], second["disk_hits"]) == (1, 1)
    assert (first["disk_errors"], second["corrupt"]) == (0, 0)
    for answer in (first, second):
        assert answer["sha256"] == hashlib.sha256(TEXT).hexdigest()
        assert {"s3warm.tiers.store", "diskcache.core", "zstandard.backend_c"} <= answer["files"].keys()
        assert [name for name, file in answer["files"].items() if not file.startswith(answer["folder"] + "/")] == []
