"""From wheels to the zip of a layer, the same bytes each time."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from examples.layer.bytecode import bytecode
from examples.layer.contents import contents
from examples.layer.wheels import Target, dependencies

__all__ = ["ROOT", "build", "file_name", "write"]

ROOT = "python/"
"""Where a runtime looks for packages in a layer."""

_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can have
_READABLE = 0o100644 << 16  # for the user that runs functions, who is not the owner
_UNIX = 3


def file_name(target: Target) -> str:
    """The name of a layer's zip."""
    return f"s3warm-layer-python{target.python}-{target.architecture}.zip"


def build(wheel: Path, target: Target, compiler: str | None, folder: Path) -> Path:
    """Make the layer of s3warm's wheel in a folder; without a compiler (an interpreter of the target's version) it has no bytecode.

    Raises:
        RuntimeError: a wheel cannot be had, or a module cannot be compiled.
        ValueError: a wheel is not as wheels should be.
    """
    with tempfile.TemporaryDirectory() as downloads:
        files = contents([wheel, *dependencies(wheel, target, Path(downloads))])
    if compiler is not None:
        files |= bytecode(files, compiler)
    path = folder / file_name(target)
    write(files, path)
    return path


def write(files: Mapping[str, bytes], path: Path) -> None:
    """Write a zip that depends on nothing but these files: in order of their names, and of one date."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(ROOT + name, _DATE)
            info.create_system = _UNIX
            info.external_attr = _READABLE
            archive.writestr(info, files[name], zipfile.ZIP_DEFLATED, 9)
