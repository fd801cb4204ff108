"""Libraries that want a path or a file, with what s3warm gives them. None of them knows of s3warm."""

from __future__ import annotations

import io
import mmap
import os
import sqlite3
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from s3warm.testing import FakeCache, FakeS3
from tests.support.entries import noise, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import BinaryIO

    from s3warm import Cache

MIB = 2**20


def need(name: str) -> Any:
    """A library, untyped."""
    package = {"PIL": "pillow"}.get(name.partition(".")[0], name.partition(".")[0])
    return pytest.importorskip(name, reason=f"needs the package {package}, of the dependency group `e2e` (make e2e)")


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3()


@pytest.fixture
def cache(s3: FakeS3, tmp_path: Path) -> Iterator[Cache]:
    with FakeCache(s3, directory=tmp_path / "cache", ttl=60) as made:
        yield made


@pytest.fixture(params=["file", "stream"])
def opened(request: pytest.FixtureRequest, cache: Cache, s3: FakeS3) -> Iterator[Callable[[str], BinaryIO]]:
    """`open`: of the file in /tmp, and of a stream where there is no room for one."""
    if request.param == "file":
        yield cache.open
    else:
        with FakeCache(s3, disk_budget=0) as streaming:
            yield streaming.open


# -- onnxruntime ----------------------------------------------------------------------------------------------------------------


def a_model(factor: float, *, beside: str | None = None, size: int = 4) -> tuple[bytes, bytes]:
    """A model that multiplies by a weight for each element, and its weights where they lie in a file `beside` it."""
    helper, types = need("onnx.helper"), need("onnx").TensorProto
    weights = need("numpy").full(size, factor, dtype="float32").tobytes()
    tensor = types(name="weights", data_type=types.FLOAT, dims=[size])
    if beside is None:
        tensor.raw_data, weights = weights, b""
    else:
        tensor.data_location = types.EXTERNAL
        tensor.external_data.add(key="location", value=beside)
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "weights"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", types.FLOAT, [size])],
        [helper.make_tensor_value_info("y", types.FLOAT, [size])],
        [tensor],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString(), weights


def product(session: Any, size: int = 4) -> float:
    """What the model makes of ones."""
    outputs = session.run(None, {"x": need("numpy").ones(size, dtype="float32")})
    return float(outputs[0][-1])


@pytest.mark.e2e
def test_onnxruntime_loads_a_model_by_its_path_and_again_when_it_is_another(s3: FakeS3, cache: Cache) -> None:
    runtime = need("onnxruntime")
    s3["s3://models/net.onnx"], _ = a_model(2)
    loaded: dict[Path, Any] = {}

    def predict() -> float:
        path = cache.path("s3://models/net.onnx")
        if path not in loaded:
            loaded.clear()
            loaded[path] = runtime.InferenceSession(path)
        return product(loaded[path])

    assert [predict(), predict()] == [2, 2]
    s3.advance(60)
    session = next(iter(loaded.values()))
    assert predict() == 2
    assert next(iter(loaded.values())) is session, "confirmed: the same path, and the same session"
    s3["s3://models/net.onnx"], _ = a_model(3)
    s3.advance(60)
    assert [predict(), product(session)] == [3, 2]
    assert [request.status for request in s3.requests] == [200, 304, 200]


@pytest.mark.e2e
def test_onnxruntime_finds_the_weights_that_lie_beside_a_model_of_a_tree(s3: FakeS3, cache: Cache) -> None:
    runtime, size = need("onnxruntime"), 500_000
    s3["s3://models/net/onnx/model.onnx"], s3["s3://models/net/onnx/model.onnx_data"] = a_model(
        2, beside="model.onnx_data", size=size
    )
    folder = cache.tree("s3://models/net/")
    session = runtime.InferenceSession(folder / "onnx" / "model.onnx")
    assert product(session, size) == 2
    _, s3["s3://models/net/onnx/model.onnx_data"] = a_model(3, beside="model.onnx_data", size=size)
    s3.advance(60)
    s3.requests.clear()
    newer = cache.tree("s3://models/net/")
    assert product(runtime.InferenceSession(newer / "onnx" / "model.onnx"), size) == 3
    assert product(runtime.InferenceSession(folder / "onnx" / "model.onnx"), size) == 2, "the older one is whole"
    assert product(session, size) == 2
    assert [request.uri.rpartition("/")[2] for request in s3.requests] == ["", "model.onnx_data"], "the model is linked"


# -- numpy, mmap --------------------------------------------------------------------------------------------------------------


def an_array(seed: int, size: int = 2 * MIB) -> tuple[bytes, Any]:
    numpy = need("numpy")
    array = numpy.frombuffer(noise(size, seed), dtype="uint8")
    file = io.BytesIO()
    numpy.save(file, array)
    return file.getvalue(), array


@pytest.mark.e2e
def test_a_map_of_numpy_stays_as_it_is_whatever_becomes_of_the_object(s3: FakeS3, tmp_path: Path) -> None:
    numpy = need("numpy")
    s3["s3://models/embeddings.npy"], first = an_array(1)
    with FakeCache(s3, directory=tmp_path / "cache", ttl=60, disk_budget="8MiB") as cache:
        path = cache.path("s3://models/embeddings.npy")
        mapped = numpy.load(path, mmap_mode="r", allow_pickle=False)
        s3["s3://models/embeddings.npy"], second = an_array(2)
        s3.advance(60)
        newer = cache.path("s3://models/embeddings.npy")
        assert newer != path
        newly_mapped = numpy.load(newer, mmap_mode="r", allow_pickle=False)
        assert numpy.array_equal(newly_mapped, second)
        assert numpy.array_equal(mapped, first)
        assert path.exists(), "as long as there is room"
        s3["s3://models/large"] = noise(5 * MIB, 3)
        cache.path("s3://models/large")
        assert not path.exists(), "its room was needed"
        assert cache.path("s3://models/embeddings.npy") == newer, "it is in use"
        cache.release("s3://models/embeddings.npy")
        cache.clear()
        assert not newer.exists()
        assert numpy.array_equal(mapped, first), "a map outlives the name"
        assert numpy.array_equal(newly_mapped, second)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 1


@pytest.mark.e2e
def test_numpy_loads_an_archive_of_arrays(s3: FakeS3, opened: Callable[[str], BinaryIO]) -> None:
    numpy = need("numpy")
    file = io.BytesIO()
    numpy.savez(file, weights=numpy.arange(1000), bias=numpy.ones(3))
    s3["s3://models/net.npz"] = file.getvalue()
    with opened("s3://models/net.npz") as source, numpy.load(source, allow_pickle=False) as arrays:
        assert sorted(arrays) == ["bias", "weights"]
        assert arrays["weights"].sum() == 499_500


def test_mmap_maps_a_file(s3: FakeS3, cache: Cache) -> None:
    body = noise(100_000)
    s3["s3://models/net.bin"] = body
    with cache.open("s3://models/net.bin") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with mapped:
        s3["s3://models/net.bin"] = b"another"
        cache.clear()
        assert cache.get("s3://models/net.bin") == b"another"
        assert mapped[:] == body, "closed, released, cleared and replaced: the map is what it was"
        with pytest.raises(TypeError, match="readonly"):
            mapped[0] = 1


# -- archives -------------------------------------------------------------------------------------------------------------------


def test_zipfile_reads_members(s3: FakeS3, opened: Callable[[str], BinaryIO]) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(5):
            archive.writestr(f"{number}.txt", text(50_000 + number))
    s3["s3://reports/year.zip"] = file.getvalue()
    with opened("s3://reports/year.zip") as source, zipfile.ZipFile(source) as archive:
        assert archive.testzip() is None
        assert archive.read("3.txt") == text(50_003)


@pytest.mark.parametrize("mode", ["r:gz", "r|gz", "r:*"])
def test_tarfile_reads_members(s3: FakeS3, opened: Callable[[str], BinaryIO], mode: Any) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for number in range(5):
            member = tarfile.TarInfo(f"{number}.txt")
            member.size = 50_000 + number
            archive.addfile(member, io.BytesIO(text(member.size)))
    s3["s3://reports/year.tar.gz"] = file.getvalue()
    read = {}
    with opened("s3://reports/year.tar.gz") as source, tarfile.open(fileobj=source, mode=mode) as archive:
        for found in archive:
            content = archive.extractfile(found)
            assert content is not None
            read[found.name] = content.read()
    assert read == {f"{number}.txt": text(50_000 + number) for number in range(5)}


def test_of_a_large_zip_file_only_what_is_read_is_fetched(s3: FakeS3) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(10):
            archive.writestr(f"{number}.bin", noise(3 * MIB, number))
    s3["s3://reports/year.zip"] = file.getvalue()
    with FakeCache(s3, disk_budget=0) as cache:
        with cache.open("s3://reports/year.zip") as source, zipfile.ZipFile(source) as archive:
            assert archive.read("7.bin") == noise(3 * MIB, 7)
        assert cache.stats().origin_bytes < 6 * MIB, "of 30 MiB"


# -- tables ---------------------------------------------------------------------------------------------------------------------


def a_table(groups: int, rows: int) -> bytes:
    """Parquet with groups of rows that do not compress: some 2 MiB a group of 100,000 rows and two columns of 8 bytes."""
    arrow, parquet = need("pyarrow"), need("pyarrow.parquet")
    file = io.BytesIO()
    schema = arrow.schema([("id", arrow.int64()), ("weight", arrow.int64())])
    with parquet.ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer:
        for group in range(groups):
            bits = arrow.array(need("numpy").frombuffer(noise(rows * 8, group), dtype="int64"))
            ids = arrow.array(range(group * rows, (group + 1) * rows), arrow.int64())
            writer.write_table(arrow.table([ids, bits], schema=schema), row_group_size=rows)
    return file.getvalue()


@pytest.mark.e2e
def test_pyarrow_reads_a_table(s3: FakeS3, opened: Callable[[str], BinaryIO]) -> None:
    parquet = need("pyarrow.parquet")
    s3["s3://reports/year.parquet"] = a_table(3, 1000)
    with opened("s3://reports/year.parquet") as source:
        table = parquet.read_table(source)
        assert (table.num_rows, table.column("id")[2999].as_py()) == (3000, 2999)


@pytest.mark.e2e
def test_pyarrow_reads_a_table_by_its_path(s3: FakeS3, cache: Cache) -> None:
    parquet = need("pyarrow.parquet")
    s3["s3://reports/year.parquet"] = a_table(3, 1000)
    with cache.as_file("s3://reports/year.parquet") as path:
        assert path.suffix == ".parquet"
        table = parquet.read_table(path, memory_map=True)
    cache.clear()
    assert table.column("id")[2999].as_py() == 2999


@pytest.mark.e2e
def test_of_a_large_table_only_the_group_that_is_read_is_fetched(s3: FakeS3, tmp_path: Path) -> None:
    parquet, groups, rows = need("pyarrow.parquet"), 16, 100_000
    body = a_table(groups, rows)
    assert len(body) > 24 * MIB
    s3["s3://reports/year.parquet"] = body
    with FakeCache(s3, directory=tmp_path / "cache", disk_budget="16MiB") as cache:
        with cache.open("s3://reports/year.parquet") as source, parquet.ParquetFile(source) as table:
            assert table.num_row_groups == groups
            group = table.read_row_group(9)
        assert (group.num_rows, group.column("id")[0].as_py()) == (rows, 9 * rows)
        stats = cache.stats()
        assert stats.origin_bytes < len(body) // 4
        assert stats.disk_bytes < MIB, "past the cache"
    first, second, *others = s3.requests
    assert (first.span, second.span) == (None, None), "for a file, for which there is no room, and for a stream"
    assert others
    assert all(request.span is not None and request.status == 206 for request in others)


# -- others ---------------------------------------------------------------------------------------------------------------------


def test_sqlite_opens_a_database_that_nobody_writes(s3: FakeS3, cache: Cache, tmp_path: Path) -> None:
    for size in (10, 20):
        path = tmp_path / f"{size}.db"
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE flags (name TEXT PRIMARY KEY, value INTEGER)")
        connection.executemany("INSERT INTO flags VALUES (?, ?)", [(f"flag {number}", number) for number in range(size)])
        connection.commit()
        connection.close()
    s3["s3://cfg/flags.db"] = (tmp_path / "10.db").read_bytes()
    path = cache.path("s3://cfg/flags.db")
    beside = sorted(os.listdir(path.parent))
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    assert connection.execute("SELECT value FROM flags WHERE name = 'flag 7'").fetchone() == (7,)
    assert sorted(os.listdir(path.parent)) == beside, "neither journal nor log"
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM flags")
    s3["s3://cfg/flags.db"] = (tmp_path / "20.db").read_bytes()
    s3.advance(60)
    newer = sqlite3.connect(f"file:{cache.path('s3://cfg/flags.db')}?mode=ro&immutable=1", uri=True)
    count = "SELECT count(*) FROM flags"
    assert (newer.execute(count).fetchone(), connection.execute(count).fetchone()) == ((20,), (10,))
    connection.close()
    newer.close()


@pytest.mark.e2e
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_pillow_opens_an_image(s3: FakeS3, opened: Callable[[str], BinaryIO], kind: str) -> None:
    image, file = need("PIL.Image"), io.BytesIO()
    image.frombytes("RGB", (200, 100), noise(60_000)).save(file, kind)
    s3["s3://images/cat"] = file.getvalue()
    source: AbstractContextManager[BinaryIO] = opened("s3://images/cat")
    with source as body, image.open(body) as picture:
        picture.load()
        assert (picture.format, picture.size, picture.mode) == (kind, (200, 100), "RGB")
        assert kind == "JPEG" or picture.tobytes() == noise(60_000)


def test_text_and_csv_are_read_line_by_line(s3: FakeS3, opened: Callable[[str], BinaryIO]) -> None:
    import csv

    s3["s3://reports/day.csv"] = "".join(f"{number},\u00e9 {number}\r\n" for number in range(50_000)).encode()
    with opened("s3://reports/day.csv") as source, io.TextIOWrapper(source, "utf-8", newline="") as lines:
        rows = list(csv.reader(lines))
    assert (len(rows), rows[-1]) == (50_000, ["49999", "é 49999"])
