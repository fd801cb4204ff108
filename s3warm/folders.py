"""A bucket's keys as files and folders, in fsspec's words: S3 has neither, only keys with slashes in them.

An entry is a dict with `name` (`"bucket/key"`, literally), `size` in bytes and `type`; that of a file has `ETag` and `LastModified` as well. Keys
that end in a slash, which consoles show as folders, are folders here too. A key with an empty segment (`a//b`) lies in the last folder with a
name (`a`), as no path can name one without.
"""

from __future__ import annotations

from s3warm.globbing import listable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from s3warm.origin.base import Listed, Page

    Info = dict[str, Any]
    Pages = Callable[[str, str, str], Iterator[Page]]  # of a bucket, a prefix and a delimiter; see `Origin.pages`

__all__ = ["by_folder", "file", "files_below", "folder", "in_folder", "look_up", "parent"]


def file(path: str, size: int, etag: str, last_modified: float | None) -> Info:
    """The entry of an object.

    Example:
        >>> file("models/net.onnx", 7, '"e"', 0.0)["LastModified"].isoformat()
        '1970-01-01T00:00:00+00:00'
    """
    from datetime import UTC, datetime

    modified = None if last_modified is None else datetime.fromtimestamp(last_modified, UTC)
    return {"name": path, "size": size, "type": "file", "ETag": etag, "LastModified": modified}


def folder(path: str) -> Info:
    """The entry of a folder.

    Example:
        >>> folder("models/bert")
        {'name': 'models/bert', 'size': 0, 'type': 'directory'}
    """
    return {"name": path, "size": 0, "type": "directory"}


def parent(path: str) -> str:
    """The folder that a path lies in.

    Example:
        >>> parent("models/bert/config.json"), parent("models/bert//config.json")
        ('models/bert', 'models/bert')
    """
    return path.rpartition("/")[0].rstrip("/")


def in_folder(pages: Pages, bucket: str, prefix: str) -> list[Info] | None:
    """The entries whose keys begin with the prefix and have no slash after it, in the order of their names; None: there is nothing at all.

    One request for each 1,000 of them, however much lies in the folders among them.
    """
    entries: list[Info] = []
    there = False
    for page in pages(bucket, listable(bucket, prefix), "/"):
        there = there or bool(page.objects or page.prefixes)
        entries += _files(bucket, page.objects, prefix)
        for found in page.prefixes:
            if found == "/" or found.endswith("//"):
                entries += in_folder(pages, bucket, found) or ()
            elif found.startswith(prefix):
                entries.append(folder(f"{bucket}/{found[:-1]}"))
    entries.sort(key=_order)
    return entries if there else None


def files_below(pages: Pages, bucket: str, prefix: str) -> list[Info]:
    """All files whose keys begin with the prefix, by one listing: one request for each 1,000 of them."""
    return [entry for page in pages(bucket, listable(bucket, prefix), "") for entry in _files(bucket, page.objects, prefix)]


def by_folder(path: str, files: Iterable[Info]) -> dict[str, list[Info]]:
    """Each folder at and below the path, and the entries in it in the order of their names, from all files below it.

    Example:
        >>> found = by_folder("b/a", [file("b/a/x/1", 1, "", None), file("b/a/2", 1, "", None)])
        >>> {name: [entry["name"] for entry in entries] for name, entries in found.items()}
        {'b/a': ['b/a/2', 'b/a/x'], 'b/a/x': ['b/a/x/1']}
    """
    folders: dict[str, list[Info]] = {path: []}
    for entry in files:
        child = entry
        while (holder := parent(child["name"])) not in folders:
            folders[holder] = [child]
            child = folder(holder)
        folders[holder].append(child)
    for entries in folders.values():
        entries.sort(key=_order)
    return folders


def look_up(pages: Pages, bucket: str, key: str) -> Info | None:
    """The entry of a key, or of the folder of that name; None: there is neither. Mostly one request."""
    if not key:
        next(pages(bucket, "", "/"))
        return folder(bucket)
    start = listable(bucket, key)
    for page in pages(bucket, start, "/"):
        found = _files(bucket, (each for each in page.objects if each.key == key), key)
        if found:
            return found[0]
        if f"{key}/" in page.prefixes:
            return folder(f"{bucket}/{key}")
        if start == key and (page.objects or page.prefixes):
            # Keys come in order, this one before all others; but `key-1` and a thousand more come before `key/`.
            return _only_folder(pages, bucket, key) if page.token else None
    return None


def _only_folder(pages: Pages, bucket: str, key: str) -> Info | None:
    there = any(page.objects or page.prefixes for page in pages(bucket, f"{key}/", "/"))
    return folder(f"{bucket}/{key}") if there else None


def _files(bucket: str, objects: Iterable[Listed], prefix: str) -> list[Info]:
    """The entries of those that begin with the prefix: a directory bucket may have been asked for more."""
    return [
        file(f"{bucket}/{each.key}", each.size, each.etag, each.last_modified)
        for each in objects
        if each.key.startswith(prefix) and not each.key.endswith("/")
    ]


def _order(entry: Info) -> tuple[str, bool]:
    """By name; of a file and a folder of one name the file comes first."""
    return entry["name"], entry["type"] == "directory"
