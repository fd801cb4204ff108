"""Build the layers in a folder, and print what each holds: `python -m examples.layer [--python 3.12] [--architecture arm64] [FOLDER]`."""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from examples.layer.build import ROOT, build
from examples.layer.bytecode import interpreter
from examples.layer.wheels import ARCHITECTURES, VERSIONS, Target, own_wheel

ROW = "{:<38} {:<10} {:>5} {:>11} {:>11}"


def main(arguments: list[str]) -> int:
    """Build what is asked for; the exit status: 0, or 1 if a layer cannot be built."""
    parser = argparse.ArgumentParser(prog="python -m examples.layer", description="Build s3warm's layers for AWS Lambda.")
    parser.add_argument("folder", nargs="?", default="dist", type=Path, metavar="FOLDER", help="where to (default: dist)")
    parser.add_argument(
        "--python", choices=VERSIONS, action="append", help="the runtime's version; may be repeated (default: all)"
    )
    parser.add_argument("--architecture", choices=ARCHITECTURES, action="append", help="may be repeated (default: both)")
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    pythons = chosen.python or VERSIONS
    compilers = {python: interpreter(python) for python in pythons}
    print(ROW.format("layer", "package", "files", "unzipped", "zipped"))
    try:
        with tempfile.TemporaryDirectory() as place:
            wheel = own_wheel(Path(place))
            for python, architecture in itertools.product(pythons, chosen.architecture or ARCHITECTURES):
                made = build(wheel, Target(python, architecture), compilers[python], chosen.folder)
                print(*rows(made), sep="\n", flush=True)
    except (RuntimeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    for python in (python for python, compiler in compilers.items() if compiler is None):
        print(f"no bytecode for {python}, as no python{python} is on the PATH: each cold start compiles what it imports")
    return 0


def rows(layer: Path) -> Iterator[str]:
    """A line for each package in a layer, and one for all of it; bytes, of which the zip's own directory is in the last line alone."""
    sums: dict[str, list[int]] = {}
    with zipfile.ZipFile(layer) as archive:
        for info in archive.infolist():
            package = info.filename.removeprefix(ROOT).partition("/")[0].partition("-")[0]
            counted = sums.setdefault(package, [0, 0, 0])
            for place, number in enumerate((1, info.file_size, info.compress_size)):
                counted[place] += number
    for package, (files, unzipped, zipped) in sorted(sums.items()):
        yield ROW.format("", package, files, f"{unzipped:,}", f"{zipped:,}")
    files, unzipped, _ = map(sum, zip(*sums.values(), strict=True))
    yield ROW.format(layer.name, "all", files, f"{unzipped:,}", f"{layer.stat().st_size:,}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
