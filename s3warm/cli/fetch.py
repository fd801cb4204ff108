"""`python -m s3warm fetch`."""

from __future__ import annotations

import os
import shutil
import sys

from s3warm.cli.progress import Progress
from s3warm.errors import ConfigurationError
from s3warm.factory import LAMBDA_DIRECTORY, Cache
from s3warm.machine import in_lambda
from s3warm.settings import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["fetch"]


def fetch(uris: Sequence[str], *, directory: str | None, output: str | None) -> int:
    """Bring objects and trees, showing how far they are on stderr, and print their paths on stdout."""
    settings = resolve(None, {"directory": directory} if directory else {}, os.environ)
    place = settings.directory or (LAMBDA_DIRECTORY if in_lambda(os.environ) else None)
    if place is None and output is None:
        raise ConfigurationError(
            "nothing would be left of what is fetched: name the cache's directory by S3WARM_DIRECTORY or --directory, or give --output"
        )
    progress = Progress(sys.stderr)
    several = len(uris) > 1 or (output is not None and os.path.isdir(output))
    with Cache(settings, on_event=progress) as cache:
        for uri in uris:
            progress.begin(uri)
            path = cache.tree(uri) if uri.endswith("/") else cache.path(uri)
            progress.end(path)
            print(path if output is None else _copied(uri, path, output, several=several), flush=True)
            cache.release(uri)
    return 0


def _copied(uri: str, path: Path, output: str, *, several: bool) -> str:
    """The path of a copy under the object's own name."""
    target = os.path.join(output, os.path.basename(uri.rstrip("/"))) if several else output
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
    else:
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
        shutil.copyfile(path, target)
    return target
