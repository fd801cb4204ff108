"""Bytecode for a layer, which is read-only in Lambda: without it every cold start compiles what it imports.

It is compiled unchecked (PEP 552): Python takes it without a look at the time or the text of the source, so that it holds whatever time
the unpacked files have, and is the same each time that it is made. What a function never looks at is left out of it, as each environment
would read and keep it: docstrings, annotations of parameters, columns for tracebacks, and what stands under `if TYPE_CHECKING`. `assert` stays,
and so do the annotations of classes, which are the fields of records. The lines of the sources are where they were.
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

# Run by the interpreter that it is for: the folder, and where its files will lie.
_COMPILE = """
import ast, importlib.util, marshal, pathlib, sys

class Bare(ast.NodeTransformer):
    def visit(self, node):
        node = self.generic_visit(node)
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, documented) and node.body and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse
        if isinstance(getattr(node, "body", None), list) and not node.body and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]
        return node

folder, place = sys.argv[1:]
for path in sorted(pathlib.Path(folder).rglob("*.py")):
    source, name = path.read_bytes(), path.relative_to(folder)
    tree = ast.fix_missing_locations(Bare().visit(ast.parse(source, str(name))))
    code = compile(tree, f"{place}/{name}", "exec", dont_inherit=True, optimize=0)
    unchecked = (1).to_bytes(4, "little")
    target = pathlib.Path(importlib.util.cache_from_source(path, optimization=""))
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(importlib.util.MAGIC_NUMBER + unchecked + importlib.util.source_hash(source) + marshal.dumps(code))
"""


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
        command = [compiler, "-I", "-X", "no_debug_ranges", "-W", "ignore", "-c", _COMPILE, folder, _PLACE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{compiler} cannot compile the layer:\n{done.stdout}{done.stderr}")
        return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*.pyc")}


def _tag(python: str) -> str:
    return f"cpython-{python.replace('.', '')}"
