"""What a layer is made of, without the registry: which files stay, what is cut from them, and that the zip is the same each time."""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.util
import marshal
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType

import pytest

from examples.layer import elf
from examples.layer.build import write
from examples.layer.bytecode import bytecode, interpreter
from examples.layer.contents import contents
from examples.layer.wheels import requirements

ROOT = Path(__file__).parents[2]
EXTENSION = importlib.machinery.EXTENSION_SUFFIXES[0]
HEADER = "<16sHHIQQQIHHHHHH"


def library(*segments: tuple[int, int], size: int = 4096, machine: int = 0xB7) -> bytes:
    """A file with the headers of a shared library and these segments (offset, bytes), and a table of sections at its end."""
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack(HEADER, ident, 3, machine, 1, 0, 64, size - 128, 0, 64, 56, len(segments), 64, 2, 1)
    table = b"".join(struct.pack("<IIQQQQQQ", 1, 5, at, at, at, length, length, 4096) for at, length in segments)
    start = header + table
    return start + bytes(number % 251 for number in range(size - len(start)))


def fields(data: bytes) -> tuple[int, ...]:
    """What the header says of sections: where they are, how many, and which has their names."""
    unpacked = struct.unpack_from(HEADER, data)
    return unpacked[6], unpacked[12], unpacked[13]


def wheel(folder: Path, name: str, files: Mapping[str, bytes]) -> Path:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/", b"")
        for file, body in files.items():
            archive.writestr(file, body)
    return path


def test_a_library_ends_with_its_last_segment() -> None:
    whole = library((0, 700), (1000, 500), (800, 100))
    cut = elf.loadable(whole)
    assert len(cut) == 1500
    assert cut[64:] == whole[64:1500]
    assert fields(whole) == (4096 - 128, 2, 1)
    assert fields(cut) == (0, 0, 0)
    assert elf.loadable(cut) == cut


def test_the_table_of_segments_is_kept_where_it_stands_last() -> None:
    assert len(elf.loadable(library((0, 10)))) == 64 + 56


@pytest.mark.parametrize(("number", "name"), [(0x3E, "x86_64"), (0xB7, "arm64")])
def test_the_architecture_of_a_library(number: int, name: str) -> None:
    assert elf.machine(elf.loadable(library((0, 700), machine=number))) == name


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "no ELF file"),
        (b"MZ" + bytes(100), "no ELF file"),
        (b"\x7fELF\x01\x01" + bytes(100), "no ELF file of 64 bits"),
        (b"\x7fELF\x02\x02" + bytes(100), "in little endian"),
        (library(), "no segments"),
        (library((0, 5000)), "cut off: its segments end at byte 5,000 of 4,096"),
    ],
)
def test_what_is_no_whole_library_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        elf.loadable(data)


def test_a_processor_that_lambda_does_not_have() -> None:
    with pytest.raises(ValueError, match="e_machine 243"):
        elf.machine(library((0, 10), machine=243))


@pytest.mark.skipif(sys.platform != "linux", reason="extension modules are ELF files on Linux")
def test_a_real_extension_works_without_what_is_cut(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("zstandard.backend_c")
    assert spec is not None
    assert spec.origin is not None
    whole = Path(spec.origin).read_bytes()
    cut = elf.loadable(whole)
    assert len(cut) < len(whole)
    assert cut[64:] == whole[64 : len(cut)]
    (tmp_path / f"backend_c{EXTENSION}").write_bytes(cut)
    code = "import backend_c as z; body = b'warm' * 9999; print(z.ZstdDecompressor().decompress(z.ZstdCompressor().compress(body)) == body)"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_what_stays_of_the_wheels(tmp_path: Path) -> None:
    stays = {
        "s3warm/__init__.py": b"1",
        "s3warm/rules/costs.py": b"2",
        "s3warm-1.0.dist-info/licenses/LICENSE": b"Apache",
        "zstandard/__init__.py": b"3",
        "zstandard-1.0.dist-info/LICENSE": b"BSD",
        "diskcache/core.py": b"4",
        "diskcache-1.0.dist-info/LICENCE.txt": b"Apache",
        "diskcache-1.0.dist-info/NOTICE": b"by",
    }
    goes = {
        "s3warm/cli/main.py": b"",
        "s3warm/simulation/rule.py": b"",
        "s3warm/testing.py": b"",
        "s3warm/__main__.py": b"",
        "s3warm/py.typed": b"",
        "s3warm-1.0.dist-info/RECORD": b"",
        "s3warm-1.0.dist-info/entry_points.txt": b"",
        "zstandard/__init__.pyi": b"",
        "zstandard/_cffi.cpython-312-x86_64-linux-gnu.so": b"not even a library",
        "zstandard/backend_cffi.py": b"",
        "diskcache/djangocache.py": b"",
    }
    cut = {
        "zstandard/backend_c.cpython-312-x86_64-linux-gnu.so": library((0, 700)),
        "zstandard-1.0.dist-info/METADATA": b"Name: zstandard\r\nVersion: 1.0\r\n\r\n# zstandard\r\n\r\nlong\r\n",
    }
    every = stays | goes | cut
    wheels = [
        wheel(tmp_path, package, {name: body for name, body in every.items() if name.startswith(package)})
        for package in ("s3warm", "zstandard", "diskcache")
    ]
    found = contents(wheels)
    assert {name: found.pop(name) for name in cut} == {
        "zstandard/backend_c.cpython-312-x86_64-linux-gnu.so": elf.loadable(library((0, 700))),
        "zstandard-1.0.dist-info/METADATA": b"Name: zstandard\nVersion: 1.0\n",
    }
    assert found == stays


def test_two_wheels_may_not_bring_one_file(tmp_path: Path) -> None:
    first, second = (wheel(tmp_path, name, {"shared/a.py": b""}) for name in ("one", "two"))
    with pytest.raises(ValueError, match=r"two-1\.0.* brings shared/a\.py"):
        contents([first, second])


def test_what_is_left_out_is_imported_by_nothing_that_stays(tmp_path: Path) -> None:
    files = {str(path.relative_to(ROOT)): path.read_bytes() for path in (ROOT / "s3warm").rglob("*.py")}
    kept = contents([wheel(tmp_path, "s3warm", files)])
    gone = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in files.keys() - kept.keys()}
    assert {"s3warm.cli.main", "s3warm.simulation", "s3warm.testing"} <= gone
    wanted = {(name, module) for name, source in kept.items() for module in imported(source)}
    assert len(wanted) > len(kept)
    assert [(name, module) for name, module in sorted(wanted) if module in gone] == []


def imported(source: bytes) -> Iterator[str]:
    """All that a module may import, at its start or later."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_runtime_has_boto3_and_extras_are_no_part_of_it(tmp_path: Path) -> None:
    described = (
        "Name: s3warm\nRequires-Dist: boto3>=1.34\nRequires-Dist: diskcache<6,>=5.6.3\nRequires-Dist: boto3-more\n"
        "Requires-Dist: fsspec>=2024; extra == 'fsspec'\nRequires-Dist: zstandard>=0.22\n\nRequires-Dist: no field\n"
    )
    made = wheel(tmp_path, "s3warm", {"s3warm-1.0.dist-info/METADATA": described.encode()})
    assert requirements(made) == ["diskcache<6,>=5.6.3", "boto3-more", "zstandard>=0.22"]


def test_bytecode_that_is_never_held_against_its_source() -> None:
    files = {
        "package/__init__.py": b"ONE = 1\n",
        "package/part.py": b"KNOWN = {'a', 'b', 'c'}\n",
        "package/data.txt": b"no module",
    }
    made = bytecode(files, sys.executable)
    tag = sys.implementation.cache_tag
    assert set(made) == {f"package/__pycache__/__init__.{tag}.pyc", f"package/__pycache__/part.{tag}.pyc"}
    for body in made.values():
        assert body[:4] == importlib.util.MAGIC_NUMBER
        assert int.from_bytes(body[4:8], "little") == 0b01, "by hash, and unchecked"
    code = marshal.loads(made[f"package/__pycache__/part.{tag}.pyc"][16:])
    assert isinstance(code, CodeType)
    assert code.co_filename == "/opt/python/package/part.py"
    assert bytecode(files, sys.executable) == made


def test_a_module_that_cannot_be_compiled() -> None:
    with pytest.raises(RuntimeError, match=r"cannot compile the layer(?s:.*)broken\.py"):
        bytecode({"package/broken.py": b"def"}, sys.executable)


def test_the_interpreter_of_a_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert interpreter("{}.{}".format(*sys.version_info)) == sys.executable
    monkeypatch.setenv("PATH", str(tmp_path))
    assert interpreter("2.99") is None
    command = tmp_path / "python2.99"
    command.write_text("#!/bin/sh\necho cpython-298\n")
    command.chmod(0o755)
    assert interpreter("2.99") is None
    command.write_text("#!/bin/sh\necho cpython-299\n")
    assert interpreter("2.99") == str(command)


def test_the_zip_depends_on_its_files_alone(tmp_path: Path) -> None:
    files = {"b.py": b"b" * 1000, "a/c.py": b"c", "a.py": b"a"}
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    write(files, first)
    write(dict(reversed(files.items())), second)
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()
    with zipfile.ZipFile(first) as archive:
        infos = archive.infolist()
        assert [info.filename for info in infos] == ["python/a.py", "python/a/c.py", "python/b.py"]
        assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.external_attr >> 16 for info in infos} == {0o100644}
        assert archive.read("python/b.py") == b"b" * 1000
        assert archive.getinfo("python/b.py").compress_size < 1000
