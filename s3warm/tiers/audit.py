"""Whether a cache directory holds what it says: each body proved by the code that proves it when it is read, each file accounted for."""

from __future__ import annotations

import os
import stat

from s3warm import codec
from s3warm.record import NamedTuple
from s3warm.tiers import row as rows
from s3warm.tiers.database import database_files
from s3warm.tiers.directory import open_body
from s3warm.tiers.own import is_own
from s3warm.tiers.readonly import BadDatabase
from s3warm.tiers.trees import check_tree, is_whole, manifest
from s3warm.tiers.verified import check_body, check_file, check_inline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

    from s3warm.tiers.row import Row
    from s3warm.tiers.survey import Found, Survey

__all__ = ["DAMAGED", "MISSING", "ORPHANED", "PLANTED", "Audit", "Finding", "audit"]

DAMAGED = "damaged"  # a row or a body that is not what was written; it would be dropped when it is read
MISSING = "missing"  # a row whose file is gone
ORPHANED = "orphaned"  # a file without a row
PLANTED = "planted"  # links, devices and names that s3warm never makes

_BY_MD5, _BY_CHECKSUM, _BY_SEAL = "md5", "checksum", "seal"


class Finding(NamedTuple):
    """Something that is wrong: its kind, the object or the file, and why."""

    kind: str
    what: str
    why: str


class Audit(NamedTuple):
    """What was looked at: `proofs` counts bodies by what proves them: `"md5"`, `"checksum"`, or `"seal"` where the kernel's times alone do.

    `bytes` are those of the stored bodies; `downloads` are not finished, and so not summed; `findings` say what is wrong.
    """

    proofs: dict[str, int]
    bytes: int
    downloads: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


class _Gone(Exception):
    """The file that a row speaks of is not there."""


def audit(survey: Survey, scratch: IO[bytes], looked_at: Callable[[int], object] = lambda _: None) -> Audit:
    """Look at all that the directory holds, a MiB at a time.

    Args:
        survey: the directory.
        scratch: an empty temporary file, for bodies that lie in rows.
        looked_at: told of the stored bytes of each body that was read.
    """
    proofs: dict[str, int] = {_BY_MD5: 0, _BY_CHECKSUM: 0, _BY_SEAL: 0}
    downloads = total = 0
    findings: list[Finding] = []
    try:
        findings += [Finding(DAMAGED, "the database", line) for line in survey.complaints()]
        for found in survey.rows():
            proof = _proved(survey, found, scratch, findings)
            if proof in proofs and found.row is not None:
                proofs[proof] += 1
                total += found.row.stored_size
                looked_at(found.row.stored_size)
            downloads += proof == rows.PARTIAL
        findings += _unaccounted(survey)
    except BadDatabase as error:
        findings.append(Finding(DAMAGED, "the database", str(error)))
    findings += _strangers(survey)
    return Audit(proofs, total, downloads, tuple(findings))


# -- rows and their bodies ----------------------------------------------------------------------------------------------------


def _proved(survey: Survey, found: Found, scratch: IO[bytes], findings: list[Finding]) -> str:
    """What proves the body of a row; empty if nothing does, which is then a finding, unless others have changed the row meanwhile."""
    row = found.row
    what = f"row {found.key.hex()}" if row is None else str(row.object)
    try:
        if row is None:
            raise codec.CorruptFrame(f"its row cannot be read: {found.problem}")
        return _prove(survey, found, row, scratch)
    except _Gone as error:
        finding = Finding(MISSING, what, str(error))
    except (codec.CorruptFrame, OSError, ValueError, TypeError) as error:
        finding = Finding(DAMAGED, what, str(error))
    if not found.key or survey.still(found):
        findings.append(finding)
    return ""


def _prove(survey: Survey, found: Found, row: Row, scratch: IO[bytes]) -> str:
    if row.state == rows.PARTIAL:
        return rows.PARTIAL  # it is summed when it is whole
    name = rows.body_name(row)
    own = rows.older_key(name) if row.state == rows.OLDER and name else rows.digest(row.namespace, row.object)
    if own != found.key:
        raise codec.CorruptFrame("its row speaks of another object")
    if row.object.tree:
        return _prove_tree(survey, found, row)
    if name is None:
        stored = survey.body(found.key)
        check_inline(row, stored)
        _fill(scratch, stored)
        check_body(row, scratch.fileno())
        return _BY_MD5 if row.info.verified_by == "md5" else _BY_CHECKSUM
    try:
        descriptor, seal = open_body(survey.directory.body(name))
    except FileNotFoundError:
        raise _Gone(f"there is no {name} in bodies") from None
    try:
        check_file(row, descriptor, seal)
        if not is_own(os.fstat(descriptor)):
            raise codec.CorruptFrame("its file lies elsewhere too")
        check_body(row, descriptor)
    finally:
        os.close(descriptor)
    return _BY_MD5 if row.info.verified_by == "md5" else _BY_SEAL


def _prove_tree(survey: Survey, found: Found, row: Row) -> str:
    """A tree by the seals of its files, and by their ETags where all that look like an MD5 are one: of what KMS has encrypted none is."""
    folder = survey.directory.body(rows.file_name(row))
    if not os.path.lexists(folder):
        raise _Gone(f"there is no {os.path.basename(folder)} in bodies")
    if row.state == rows.OLDER:
        return _BY_SEAL  # in use, or about to go: its manifest is its successor's
    text = survey.body(found.key)
    try:
        check_tree(folder, text, row.info.size)
    except (OSError, ValueError, TypeError) as error:
        raise codec.CorruptFrame(f"a file of it is not as it was: {error}") from error
    members = manifest(text)
    extra = sorted(set(_files(folder)) - {name for name, *_ in members})
    if extra:
        raise codec.CorruptFrame(f"{extra[0]} is none of its files")
    summed = all(
        len(etag.strip('"')) == 32 and is_whole(os.path.join(folder, name), etag, seal[1]) for name, etag, *seal in members
    )
    return _BY_MD5 if summed else _BY_SEAL


def _files(folder: str) -> Iterator[str]:
    """Relative names of all that is no directory; links to directories are files here."""
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in (*files, *links):
            yield os.path.relpath(os.path.join(place, name), folder)


def _fill(scratch: IO[bytes], stored: bytes) -> None:
    scratch.seek(0)
    scratch.truncate()
    scratch.write(stored)
    scratch.flush()


# -- files --------------------------------------------------------------------------------------------------------------------


def _unaccounted(survey: Survey) -> Iterator[Finding]:
    """Files that no row names, and that nobody is writing."""
    directory = survey.directory
    for folder in (directory.bodies, directory.staging):
        for name in filter(_is_ours, sorted(os.listdir(folder))):
            free = not survey.in_use(name) and not survey.is_being_written(name)
            # In this order: who has written a file adds its row before it is no longer at it.
            if free and not rows.is_named(name, survey.text):
                why = "no row names it; it is removed when the cache is opened anew, or when its object comes again"
                yield Finding(ORPHANED, os.path.join(os.path.basename(folder), name), why)


def _strangers(survey: Survey) -> Iterator[Finding]:
    """What s3warm has not put there."""
    directory = survey.directory
    plain = {
        *database_files(directory.path),
        *(os.path.join(directory.path, name) for name in ("lock", "pins", "intents", "unswept")),
    }
    for place in sorted(os.scandir(directory.path), key=lambda each: each.name):
        if place.path in plain:
            yield from _stranger(place.path, place.name, is_tree=False)
        elif place.path not in (directory.bodies, directory.staging):
            yield Finding(PLANTED, place.name, "s3warm makes no file of that name")
    for folder in (directory.bodies, directory.staging):
        for name in sorted(os.listdir(folder)):
            shown = os.path.join(os.path.basename(folder), name)
            if not _is_ours(name):
                yield Finding(PLANTED, shown, "s3warm makes no file of that name")
            else:
                yield from _stranger(os.path.join(folder, name), shown, is_tree=name.endswith((".tree", ".partial")))


def _is_ours(name: str) -> bool:
    """Whether a file has a name that s3warm could give."""
    return name.isascii() and rows.key_of_name(name) is not None


def _stranger(path: str, shown: str, *, is_tree: bool) -> Iterator[Finding]:
    try:
        status = os.lstat(path)
    except FileNotFoundError:  # evicted meanwhile
        return
    if stat.S_ISLNK(status.st_mode):
        yield Finding(PLANTED, shown, f"a link to {os.readlink(path)}; it is never followed")
    elif not (is_tree and stat.S_ISDIR(status.st_mode)) and not stat.S_ISREG(status.st_mode):
        yield Finding(PLANTED, shown, "no plain file")
    elif stat.S_ISREG(status.st_mode) and not is_own(status):
        yield Finding(PLANTED, shown, "a file that has another name elsewhere")
