"""The wheel: small, typed, and with three dependencies."""

from __future__ import annotations

import email
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel of this very source, built from a copy of what belongs to it."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    shutil.copytree(ROOT / "s3warm", source / "s3warm", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--disable-pip-version-check"]
    if find_spec("hatchling") is not None:
        command.append("--no-build-isolation")  # it is here already: the registry need not be asked
    done = subprocess.run([*command, "--wheel-dir", place, source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = place.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        yield archive


def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def test_it_is_smaller_than_500_kilobytes(wheel: zipfile.ZipFile) -> None:
    assert wheel.filename is not None
    assert Path(wheel.filename).stat().st_size < 500_000


def test_it_is_for_any_platform(wheel: zipfile.ZipFile) -> None:
    assert wheel.filename is not None
    assert wheel.filename.endswith("-py3-none-any.whl")


def test_it_holds_every_module_and_the_mark_of_types(wheel: zipfile.ZipFile) -> None:
    source = {str(path.relative_to(ROOT)) for path in (ROOT / "s3warm").rglob("*.py")}
    packed = set(wheel.namelist())
    assert source <= packed
    assert "s3warm/py.typed" in packed
    assert {name for name in packed if ".dist-info/" not in name} == source | {"s3warm/py.typed"}


def test_it_requires_three_things(wheel: zipfile.ZipFile) -> None:
    required = [line for line in metadata(wheel).get_all("Requires-Dist") or [] if "extra ==" not in line]
    assert sorted(re.split(r"[^A-Za-z0-9_-]", line)[0] for line in required) == ["boto3", "diskcache", "zstandard"]


def test_it_is_for_python_3_11_and_later_under_apache(wheel: zipfile.ZipFile) -> None:
    described = metadata(wheel)
    assert described["Requires-Python"] == ">=3.11"
    assert described["License-Expression"] == "Apache-2.0"
    assert any(name.endswith("LICENSE") for name in wheel.namelist())


def test_pytest_finds_the_fixture(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
    assert "[pytest11]\ns3warm = s3warm.pytest_plugin" in wheel.read(name).decode()


def test_fsspec_finds_the_file_system(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
    assert "[fsspec.specs]\ns3warm = s3warm.fsspec:S3WarmFileSystem" in wheel.read(name).decode()
