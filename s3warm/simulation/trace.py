"""Traces of requests: CSV files, also gzipped, with the columns time, key and size."""

from __future__ import annotations

import csv
import gzip
import os
import zlib
from functools import cached_property

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _csv import Reader
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["SUFFIXES", "Request", "Trace", "TraceError", "read", "read_all"]

Request = tuple[int, int]  # the object's number, from 0, and its size in bytes

SUFFIXES = (".csv", ".csv.gz")
_COLUMNS = ("time", "key", "size")
_LARGEST = 50 * 10**12  # bytes; S3 holds no larger object


class TraceError(ValueError):
    """A trace cannot be read; the message names the file and, where it is one line's fault, the line."""


class Trace:
    """Requests in their order. An object whose size has changed is another one: the old copy is of no use any more."""

    def __init__(self, name: str, requests: Iterable[tuple[str, int]]) -> None:
        numbers: dict[tuple[str, int], int] = {}
        self.name = name
        self.requests: Sequence[Request] = [(numbers.setdefault(pair, len(numbers)), pair[1]) for pair in requests]
        self.objects = len(numbers)
        self.footprint = sum(size for _, size in numbers)  # bytes of all objects

    @cached_property
    def bytes(self) -> int:
        """Bytes that are asked for in all."""
        return sum(size for _, size in self.requests)


def read_all(paths: Iterable[str]) -> Iterator[Trace]:
    """The traces in files and directories, one after the other, those of a directory by name.

    Raises:
        TraceError: a file is no trace, or a directory has none.
        OSError: a file cannot be opened.
    """
    for path in paths:
        if os.path.isdir(path):
            names = sorted(name for name in os.listdir(path) if name.endswith(SUFFIXES))
            if not names:
                raise TraceError(f"{path}: no file in this directory ends in {' or '.join(SUFFIXES)}")
            for name in names:
                yield read(os.path.join(path, name))
        else:
            yield read(path)


def read(path: str) -> Trace:
    """One trace; what ends in .gz is decompressed.

    Raises:
        TraceError: it is no trace.
        OSError: it cannot be opened.
    """
    name = os.path.basename(path)
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    with open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    opened = gzip.open(path, "rt", encoding="utf-8-sig", newline="") if packed else open(path, encoding="utf-8-sig", newline="")  # noqa: SIM115
    lines = 0
    try:
        with opened as file:
            reader = csv.reader(file, strict=True)
            requests = []
            for request in _parsed(reader):
                requests.append(request)
                lines = reader.line_num
    except TraceError as error:
        raise TraceError(f"{path}, {error}") from None
    except UnicodeDecodeError:
        raise TraceError(f"{path}, after line {lines}: this is no text in UTF-8") from None
    except csv.Error as error:
        raise TraceError(f"{path}, after line {lines}: {error}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise TraceError(f"{path}, after line {lines}: the gzip file is damaged ({error})") from None
    if not requests:
        raise TraceError(f"{path}: there is no request in it")
    return Trace(name, requests)


def _parsed(reader: Reader) -> Iterator[tuple[str, int]]:
    """Key and size of each line. A first line that names the columns may have them in any order, with others between them."""
    places = (0, 1, 2)
    width = 3
    first = True
    for row in reader:
        if not row:
            continue
        if first:
            first = False
            names = [cell.strip().lower() for cell in row]
            if set(_COLUMNS) <= set(names):
                places = (names.index("time"), names.index("key"), names.index("size"))
                width = len(names)
                continue
        if len(row) != width:
            raise TraceError(f"line {reader.line_num}: {len(row)} columns instead of {width} (time, key, size)")
        time, key, size = (row[place] for place in places)
        _check_time(time, reader.line_num)
        digits = size.strip()
        if not (digits.isascii() and digits.isdigit() and len(digits) < 20 and int(digits) <= _LARGEST):
            raise TraceError(f"line {reader.line_num}: the size {size[:40]!r} is not a whole number of bytes up to 50 TB")
        yield key, int(digits)


def _check_time(text: str, line: int) -> None:
    try:
        if float(text) - float(text) == 0.0:  # neither NaN nor infinite
            return
    except ValueError:
        pass
    raise TraceError(f"line {line}: the time {text[:40]!r} is not a number")
