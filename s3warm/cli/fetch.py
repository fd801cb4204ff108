"""`python -m s3warm fetch`."""

from __future__ import annotations

import os
import shutil
import sys

from s3warm.cli.command import Command
from s3warm.cli.progress import Progress
from s3warm.errors import ConfigurationError
from s3warm.factory import LAMBDA_DIRECTORY, Cache
from s3warm.machine import in_lambda
from s3warm.settings import resolve, switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["COMMAND", "fetch"]


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("uris", nargs="+", metavar="s3://bucket/key")
    parser.add_argument("--directory", metavar="PATH", help="the cache directory, instead of S3WARM_DIRECTORY")
    parser.add_argument(
        "--output", metavar="PATH", help="copy the object there as well; with several objects, or for a tree, a directory"
    )


def _run(chosen: Namespace) -> int:
    return fetch(chosen.uris, directory=chosen.directory, output=chosen.output)


def fetch(uris: Sequence[str], *, directory: str | None, output: str | None) -> int:
    """Bring objects and trees, showing how far they are on stderr, and print their paths on stdout."""
    settings = resolve(None, {"directory": directory} if directory else {}, os.environ)
    place = settings.directory or (LAMBDA_DIRECTORY if in_lambda(os.environ) else None)
    if output is None and switch("S3WARM_DISABLED", os.environ):
        raise ConfigurationError("S3WARM_DISABLED=1 keeps nothing in the cache's directory: unset it, or give --output")
    if output is None and place is None:
        raise ConfigurationError(
            "nothing would be left of what is fetched: name the cache's directory by S3WARM_DIRECTORY or --directory, or give --output"
        )
    progress = Progress(sys.stderr, objects=len(uris))
    targets = _targets(uris, output)
    with Cache(settings, on_event=progress) as cache:
        for uri, target in zip(uris, targets, strict=True):
            progress.begin(uri)
            path = cache.tree(uri) if uri.endswith("/") else cache.path(uri)
            progress.end(path)
            if target is not None:
                _copy(path, target)
            print(path if target is None else target, flush=True)
            cache.release(uri)
        progress.end_all()
    return 0


def _targets(uris: Sequence[str], output: str | None) -> list[str | None]:
    """Where each object is to be copied: to the output itself, or below it under its own name."""
    if output is None:
        return [None] * len(uris)
    one_tree = len(uris) == 1 and uris[0].endswith("/")
    if len(uris) == 1 and (one_tree or not (os.path.isdir(output) or output.endswith("/"))):
        return [output]
    names = [uri.rstrip("/").rpartition("/")[2] for uri in uris]
    for uri, name in zip(uris, names, strict=True):
        if name in ("", ".", "..") or names.count(name) > 1:
            why = "another one has the same" if names.count(name) > 1 else "it is the name of no file"
            raise ConfigurationError(f"{uri} cannot be copied to {output} under its own name, as {why}; fetch it by itself")
    return [os.path.join(output, name) for name in names]


def _copy(path: Path, target: str) -> None:
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
    else:
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
        shutil.copyfile(path, target)


COMMAND = Command(
    "Bring objects into the cache directory (S3WARM_DIRECTORY, with the other S3WARM_* variables), as s3warm.path and, for a "
    "URI that ends in a slash, s3warm.tree do, and print where each lies. What was cut off before goes on. The first that cannot be had ends it.",
    _arguments,
    _run,
    interrupted="; what is finished stays in the cache directory",
)
