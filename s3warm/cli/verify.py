"""`s3warm verify`."""

from __future__ import annotations

import json
import os
import tempfile

from s3warm.cli import text
from s3warm.cli.command import Command
from s3warm.tiers.audit import audit
from s3warm.tiers.survey import Survey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator

    from s3warm.tiers.audit import Audit

__all__ = ["COMMAND"]

_MEANINGS = {"md5": "by MD5", "checksum": "by checksum", "seal": "by the kernel's times alone"}


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="the cache directory, such as /tmp/s3warm")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(chosen: Namespace) -> int:
    with Survey(os.path.abspath(chosen.directory)) as survey, tempfile.TemporaryFile() as scratch:
        found = audit(survey, scratch)
    if chosen.json:
        plain = {"ok": found.ok, "bodies": found.proofs, "bytes": found.bytes, "downloads": found.downloads}
        print(json.dumps(plain | {"findings": [finding._asdict() for finding in found.findings]}, indent=1))
    else:
        print(*_lines(chosen.directory, found), sep="\n")
    return 0 if found.ok else 1


def _lines(directory: str, found: Audit) -> Iterator[str]:
    for finding in found.findings:
        yield f"{finding.kind:<8}  {text.name(finding.what)}: {text.name(finding.why)}"
    proofs = ", ".join(f"{count:,} {_MEANINGS[proof]}" for proof, count in found.proofs.items() if count)
    whole = f"{text.plural(sum(found.proofs.values()), 'body is', 'bodies are')} whole{f' ({proofs})' if proofs else ''}, {text.size(found.bytes)}"
    downloads = f"; {text.plural(found.downloads, 'download')} not finished" if found.downloads else ""
    wrong = f"; {text.plural(len(found.findings), 'finding')}" if found.findings else "; nothing is wrong"
    yield f"{text.name(directory)}: {whole}{downloads}{wrong}"


COMMAND = Command(
    "Read every body in a cache directory and prove it by what there is: checksums of bodies in rows, MD5 where the ETag is one, frames of "
    "zstd by decompressing them, and the time at which the kernel saw a file change last. Reports what is damaged or missing, files that no "
    "row names, and links and other things that s3warm does not make. Exit status 1 if there is any of it. Nothing is changed: what is damaged "
    "the cache drops by itself when it meets it.",
    _arguments,
    _run,
)
