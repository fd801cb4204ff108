"""What a layer takes from the wheels.

The runtime has boto3. Everything else that a handler can reach stays, and every licence; what goes is named here, each with its reason. Other people's
sources are as they are.
"""

from __future__ import annotations

import ast
import zipfile
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from examples.layer import elf

__all__ = ["LEFT_OUT", "contents"]

LEFT_OUT = (
    # For type checkers, which do not run in a function.
    "*.pyi",
    "*/py.typed",
    # zstandard's second backend, for PyPy and for PYTHON_ZSTANDARD_IMPORT_POLICY=cffi: CPython imports backend_c and never looks at it.
    "zstandard/_cffi.*",
    "zstandard/backend_cffi.py",
    # `import diskcache` tries this one and goes on without it, as it does where Django is not installed.
    "diskcache/djangocache.py",
    "diskcache/cli.py",  # a docstring
    # Commands for a shell, and what tests use: nothing that a handler imports.
    "s3warm/__main__.py",
    "s3warm/cli/*",
    "s3warm/simulation/*",
    "s3warm/testing.py",
    "s3warm/faked.py",
    "s3warm/unchanged.py",
    "s3warm/pytest_plugin.py",
)
"""Patterns of paths in the wheels; a star stands for slashes, too."""

_LICENCES = ("*/licenses/*", "*/LICEN[CS]E*", "*/COPYING*", "*/NOTICE*")


def contents(wheels: Iterable[Path]) -> dict[str, bytes]:
    """The files of a layer by their paths below `python/`, from wheels, with shared libraries cut to what is loaded, and metadata to their fields.

    Raises:
        ValueError: two wheels bring the same file, or a shared library is damaged.
    """
    found: dict[str, bytes] = {}
    for path in wheels:
        with zipfile.ZipFile(path) as wheel:
            for name in wheel.namelist():
                if name.endswith("/") or not _belongs(name):
                    continue
                if name in found:
                    raise ValueError(f"{path.name} brings {name}, which another wheel has brought")
                found[name] = _reduced(name, wheel.read(name))
    return found


def _belongs(name: str) -> bool:
    if name.partition("/")[0].endswith(".dist-info"):
        return name.endswith("/METADATA") or any(fnmatchcase(name, pattern) for pattern in _LICENCES)
    return not any(fnmatchcase(name, pattern) for pattern in LEFT_OUT)


def _reduced(name: str, body: bytes) -> bytes:
    if name.endswith(".so"):
        return elf.loadable(body)
    if name.endswith(".dist-info/METADATA"):
        # `importlib.metadata` reads the fields; behind them stands the README, for a page on PyPI.
        return body.replace(b"\r\n", b"\n").partition(b"\n\n")[0] + b"\n"
    if name.startswith("s3warm/") and name.endswith(".py"):
        return _undocumented(body)
    return body


def _undocumented(source: bytes) -> bytes:
    """A module without its docstrings, half of this package, which a function shows to nobody. Line numbers stay, for tracebacks."""
    lines = source.decode().splitlines(keepends=True)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            text = node.body[0]
            assert text.end_lineno is not None
            first, last = text.lineno - 1, text.end_lineno - 1
            # Something has to stand there: it may be all that the body has.
            lines[first : last + 1] = [" " * text.col_offset + '""\n', *["\n"] * (last - first)]
    return "".join(lines).encode()
