"""The layers that `make layer` builds, from wheels of the registry: what is in them, and that they serve where nothing else is."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import platform
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.layer import elf
from examples.layer.__main__ import main
from examples.layer.build import file_name
from examples.layer.wheels import ARCHITECTURES, VERSIONS, Target
from tests.support.static_origin import StaticOrigin

ROOT = Path(__file__).parents[2]
PYTHON = "{}.{}".format(*sys.version_info)
HERE = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine())
LARGEST = 3 * 2**20  # bytes, unzipped
PACKAGES = {"s3warm", "diskcache", "zstandard"}
RUNTIME = (
    "boto3",
    "botocore",
    "dateutil",
    "jmespath",
    "s3transfer",
    "six",
    "urllib3",
)  # what Lambda's has beside the standard library
TEXT = b"warm objects compress well\n" * 4_000

# As a function would find it: the layer, the runtime's boto3, the standard library, and nothing else.
CHILD = """
import json, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
import s3warm
body = s3warm.get("bucket", "text")
from s3warm import codec
frame = codec.compress(body, 1)
whole = codec.decompress(frame, len(body))
top = {name: module for name, module in sys.modules.items() if "." not in name}
print(json.dumps({
    "right": [body, whole] == [Path(sys.argv[3]).read_bytes()] * 2,
    "frame": len(frame),
    "places": {name: top[name].__file__ for name in ("s3warm", "diskcache", "zstandard", "boto3") if name in top},
    **s3warm.stats()._asdict(),
}))
"""

pytestmark = [
    pytest.mark.e2e,  # for it asks the registry
    pytest.mark.skipif(PYTHON not in VERSIONS, reason=f"there is no layer for Python {PYTHON}"),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder with the layers for this version of Python, and what was printed."""
    return build(tmp_path_factory.mktemp("layers"))


@pytest.fixture(scope="module")
def layers(built: tuple[Path, str]) -> Iterator[dict[str, zipfile.ZipFile]]:
    """The layers by architecture."""
    with contextlib.ExitStack() as stack:
        yield {each: stack.enter_context(zipfile.ZipFile(built[0] / file_name(Target(PYTHON, each)))) for each in ARCHITECTURES}


def build(folder: Path) -> tuple[Path, str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main([str(folder), "--python", PYTHON]) == 0
    return folder, printed.getvalue()


def packed(layer: zipfile.ZipFile) -> dict[str, bytes]:
    """The files by the path that a runtime sees below /opt/python."""
    return {name.removeprefix("python/"): layer.read(name) for name in layer.namelist()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_is_small(layers: dict[str, zipfile.ZipFile], architecture: str) -> None:
    assert 2**20 < sum(info.file_size for info in layers[architecture].infolist()) < LARGEST


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_holds_three_packages_and_their_licences(layers: dict[str, zipfile.ZipFile], architecture: str) -> None:
    assert all(name.startswith("python/") for name in layers[architecture].namelist())
    files = packed(layers[architecture])
    tops = {name.partition("/")[0] for name in files}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES, "not boto3, which the runtime has"
    assert {top.partition("-")[0] for top in tops if top.endswith(".dist-info")} == PACKAGES
    for package in PACKAGES:
        licences = [body for name, body in files.items() if re.fullmatch(rf"{package}-[^/]+/(.*/)?LICENSE", name)]
        assert len(licences) == 1
        assert re.search(rb"Apache|Redistribution and use", licences[0])
        (fields,) = (body for name, body in files.items() if re.fullmatch(rf"{package}-[^/]+/METADATA", name))
        assert b"Name: " + package.encode() in fields.splitlines()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_library_is_for_its_architecture(layers: dict[str, zipfile.ZipFile], architecture: str) -> None:
    libraries = {name: body for name, body in packed(layers[architecture]).items() if name.endswith(".so")}
    assert [name.partition(".")[0] for name in libraries] == ["zstandard/backend_c"]
    assert {elf.machine(body) for body in libraries.values()} == {architecture}
    assert all(len(body) < 1_000_000 for body in libraries.values()), "debug symbols are ten times that"


def test_both_architectures_hold_the_same(layers: dict[str, zipfile.ZipFile]) -> None:
    first, second = (
        {re.sub(r"x86_64|aarch64", "any", name): body for name, body in packed(layer).items()} for layer in layers.values()
    )
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == [name for name in first if name.endswith(".so")]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_module_has_its_bytecode(layers: dict[str, zipfile.ZipFile], architecture: str) -> None:
    files = packed(layers[architecture])
    sources = {name for name in files if name.endswith(".py")}
    compiled = {re.sub(r"__pycache__/(.*)\.cpython-\d+\.pyc", r"\1.py", name) for name in files if name.endswith(".pyc")}
    assert len(sources) > 90
    assert compiled == sources


def test_a_second_build_is_the_same(built: tuple[Path, str], tmp_path: Path) -> None:
    again, _ = build(tmp_path)
    names = sorted(path.name for path in built[0].iterdir())
    assert names == sorted(file_name(Target(PYTHON, each)) for each in ARCHITECTURES)
    for name in names:
        assert digest(again / name) == digest(built[0] / name), name


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_printed_is_what_is_there(built: tuple[Path, str], layers: dict[str, zipfile.ZipFile]) -> None:
    folder, printed = built
    lines = [line.replace(",", "").split() for line in printed.splitlines()]
    for architecture, layer in layers.items():
        name = file_name(Target(PYTHON, architecture))
        (number,) = (number for number, line in enumerate(lines) if line[0] == name)
        infos = layer.infolist()
        expected = [len(infos), sum(info.file_size for info in infos), (folder / name).stat().st_size]
        assert lines[number][1:] == ["all", *map(str, expected)]
        by_package = lines[number - len(PACKAGES) : number]
        assert {line[0] for line in by_package} == PACKAGES
        assert [sum(int(line[column]) for line in by_package) for column in (1, 2)] == expected[:2]


@pytest.fixture
def function(layers: dict[str, zipfile.ZipFile], tmp_path: Path) -> Callable[[dict[str, str]], Any]:
    """Runs CHILD with the layer of this machine unpacked, and the environment variables that it gets."""
    if HERE is None:
        pytest.skip(f"Lambda has no {platform.machine()}, so that no layer runs here")
    layer, runtime, expected = tmp_path / "opt", tmp_path / "runtime", tmp_path / "expected"
    layers[HERE].extractall(layer)
    runtime.mkdir()
    for name in RUNTIME:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (runtime / source.name).symlink_to(source)
    expected.write_bytes(TEXT)

    def run(environ: dict[str, str]) -> Any:
        command = [sys.executable, "-I", "-S", "-W", "error", "-c", CHILD]
        before = sorted(layer.rglob("*"))
        done = subprocess.run(
            [*command, layer / "python", runtime, expected],
            env={"S3WARM_DIRECTORY": str(tmp_path / "cache"), "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}
            | {"AWS_ACCESS_KEY_ID": "layer", "AWS_SECRET_ACCESS_KEY": "layer"}
            | environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(layer.rglob("*")) == before, "something had to be compiled"
        answer = json.loads(done.stdout)
        places = {name: Path(place) for name, place in answer["places"].items()}
        assert {name for name, place in places.items() if place.is_relative_to(layer / "python")} == PACKAGES
        assert answer["right"]
        assert answer["frame"] < len(TEXT) // 10
        return answer

    return run


def test_it_serves_from_s3_and_then_from_tmp(function: Callable[[dict[str, str]], Any]) -> None:
    with StaticOrigin() as origin:
        origin.put("bucket", "text", TEXT)
        environ = {"AWS_ENDPOINT_URL": origin.endpoint, "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1"}
        first = function(environ)
        assert (first["misses"], first["disk_errors"]) == (1, 0)
        assert "boto3" not in first["places"]
        second = function(environ)
        assert (second["disk_hits"], second["corrupt"]) == (1, 0)
        assert len(origin.requests()) == 1


def test_it_works_with_the_runtime_s_boto3(function: Callable[[dict[str, str]], Any]) -> None:
    with StaticOrigin() as origin:
        origin.put("bucket", "text", TEXT)
        answer = function({"AWS_ENDPOINT_URL": origin.endpoint})
        assert answer["misses"] == 1
        assert "/runtime/boto3/" in answer["places"]["boto3"]
        assert len(origin.requests()) == 1
