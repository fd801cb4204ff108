"""Bytecode for a layer, which is read-only in Lambda: without it every cold start compiles what it imports.

It is compiled unchecked (PEP 552): Python takes it without a look at the time or the text of the source, so that it holds whatever time
the unpacked files have, and is the same each time that it is made.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

__all__ = ["bytecode", "interpreter"]

_PLACE = "/opt/python"  # where Lambda unpacks a layer, for tracebacks


def interpreter(python: str) -> str | None:
    """The path of CPython of this version, such as 3.12, which alone compiles for it: this one, or one on the PATH; else None."""
    if sys.implementation.cache_tag == _tag(python):
        return sys.executable
    found = shutil.which(f"python{python}")
    if found is None:
        return None
    asked = [found, "-c", "import sys; print(sys.implementation.cache_tag)"]
    # There are commands of that name that only say where an interpreter might be.
    answer = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return found if answer == _tag(python) else None


def bytecode(files: Mapping[str, bytes], compiler: str) -> dict[str, bytes]:
    """The bytecode of all modules among these files, by its path, as this interpreter compiles it.

    Raises:
        RuntimeError: a module cannot be compiled.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in (name for name in files if name.endswith(".py")):
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[name])
        command = [compiler, "-I", "-m", "compileall", "-q", "-o", "0", "--invalidation-mode", "unchecked-hash"]
        done = subprocess.run([*command, "-s", folder, "-p", _PLACE, folder], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{compiler} cannot compile the layer:\n{done.stdout}{done.stderr}")
        return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*.pyc")}


def _tag(python: str) -> str:
    return f"cpython-{python.replace('.', '')}"
