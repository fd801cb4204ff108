"""Shared libraries without what no loader reads: debug information, symbols for debuggers, and the table of sections that leads to them.

The kernel and the dynamic loader go by the program headers alone (System V ABI, chapter 5, "Program Header"); sections are for linkers and
debuggers. So what lies behind the last segment can go, for any processor and on any machine, where binutils' strip knows its own processor
only. What is loaded stays as it was, byte for byte.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = ["MACHINES", "loadable", "machine"]

MACHINES = {0x3E: "x86_64", 0xB7: "arm64"}
"""Lambda's architectures by the `e_machine` of their files."""

_MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little endian
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")  # Elf64_Ehdr
_SEGMENT = struct.Struct("<8xQ16xQ16x")  # of an Elf64_Phdr: p_offset and p_filesz


class _Header(NamedTuple):
    ident: bytes
    type: int
    machine: int
    version: int
    entry: int
    phoff: int
    shoff: int
    flags: int
    ehsize: int
    phentsize: int
    phnum: int
    shentsize: int
    shnum: int
    shstrndx: int


def machine(library: bytes) -> str:
    """The architecture, in Lambda's words, that a shared library is for.

    Raises:
        ValueError: it is no library for one of Lambda's architectures.
    """
    found = MACHINES.get(_header(library).machine)
    if found is None:
        raise ValueError(f"this library is for a processor that Lambda does not have (e_machine {_header(library).machine})")
    return found


def loadable(library: bytes) -> bytes:
    """The library up to the end of its last segment, without a table of sections.

    Raises:
        ValueError: it is no library of 64 bits in little endian, has no segments, or has lost some of them.
    """
    header = _header(library)
    if header.phentsize != _SEGMENT.size or not header.phnum:
        raise ValueError("this library has no segments, so that nothing of it could be loaded")
    behind = header.phoff + header.phnum * _SEGMENT.size
    segments = _SEGMENT.iter_unpack(library[header.phoff : behind])
    end = max(behind, *(offset + size for offset, size in segments))
    if end > len(library):
        raise ValueError(f"this library is cut off: its segments end at byte {end:,} of {len(library):,}")
    return _HEADER.pack(*header._replace(shoff=0, shnum=0, shstrndx=0)) + library[_HEADER.size : end]


def _header(library: bytes) -> _Header:
    if len(library) < _HEADER.size or not library.startswith(_MAGIC):
        raise ValueError("this is no ELF file of 64 bits in little endian")
    return _Header(*_HEADER.unpack_from(library))
