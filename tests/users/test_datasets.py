"""Libraries that read tables and arrays from `s3warm://`. None of them knows of s3warm."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from s3warm.default import default_cache, making
from s3warm.fsspec import S3WarmFileSystem
from s3warm.keys import locate
from s3warm.unchanged import Unchanged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.worlds import World

pytestmark = pytest.mark.e2e


def need(name: str) -> Any:
    """A library, untyped."""
    package = name.partition(".")[0]
    return pytest.importorskip(name, reason=f"needs the package {package}, of the dependency group `e2e` (make e2e)")


@pytest.fixture(autouse=True)
def _default(world: World) -> Iterator[None]:
    """The default cache is one over the world's S3."""
    S3WarmFileSystem.clear_instance_cache()
    with making(lambda *_, **__: world.cache(), world.cache(ttl=60)):
        yield


def url(world: World, key: str = "") -> str:
    return f"s3warm://{world.bucket}/{key}"


def requests() -> int:
    """How many S3 was sent so far."""
    return default_cache().stats().origin_requests


def a_table(*numbers: int, rows: int = 3) -> bytes:
    """A Parquet file with the numbers in `x`, over and over, and their names in `name`."""
    pyarrow, parquet = need("pyarrow"), need("pyarrow.parquet")
    column = [number for _ in range(rows) for number in numbers]
    into = io.BytesIO()
    parquet.write_table(pyarrow.table({"x": column, "name": [f"n{number}" for number in column]}), into)
    return into.getvalue()


def put_partitions(world: World) -> None:
    for year in (2025, 2026):
        world.put(f"sales/year={year}/part-0.parquet", a_table(year))
        world.put(f"sales/year={year}/part-1.parquet", a_table(-year))
    world.put("sales-of-others/x.parquet", b"none of it")


# -- pandas ----------------------------------------------------------------------------------------------------------------------


def test_pandas_reads_a_table_once_within_the_ttl_and_anew_after_it(world: World) -> None:
    pandas = need("pandas")
    world.put("t.parquet", a_table(1, 2))

    def read(**options: Any) -> list[int]:
        frame = pandas.read_parquet(url(world, "t.parquet"), **options)
        return [int(number) for number in frame["x"]]

    assert read() == [1, 2] * 3
    assert requests() == 2, "a listing of one key and one GET"
    assert read(columns=["x"]) == [1, 2] * 3
    assert read(storage_options={"ttl": 30}) == [1, 2] * 3
    assert requests() == 2
    world.put("t.parquet", a_table(7))
    assert read() == [1, 2] * 3
    world.now += 31
    assert read(storage_options={"ttl": 30}) == [7] * 3
    assert read() == [7] * 3


def test_pandas_reads_lines(world: World) -> None:
    pandas = need("pandas")
    world.put("day 1.csv", b"x,name\n1,n1\n2,n2\n")
    for _ in range(2):
        frame = pandas.read_csv(url(world, "day 1.csv"))
        assert list(frame["x"]) == [1, 2]
    assert requests() == 1


def test_pandas_reads_a_folder_of_partitions(world: World) -> None:
    pandas = need("pandas")
    put_partitions(world)
    frame = pandas.read_parquet(url(world, "sales/"))
    assert sorted(frame["x"]) == sorted([2025, -2025, 2026, -2026] * 3)
    assert {int(year) for year in frame["year"]} == {2025, 2026}
    assert requests() == 6, "one look, one listing, four files"
    pandas.read_parquet(url(world, "sales/"))
    assert requests() == 6


def test_pandas_is_told_that_nothing_is_written(world: World) -> None:
    pandas = need("pandas")
    for write in ("to_csv", "to_parquet"):
        with pytest.raises(OSError, match="s3warm:// only reads"):
            getattr(pandas.DataFrame({"x": [1]}), write)(url(world, "new"))


# -- pyarrow and polars ----------------------------------------------------------------------------------------------------------


def test_pyarrow_reads_the_partitions_that_are_wanted(world: World) -> None:
    dataset = need("pyarrow.dataset")
    put_partitions(world)
    fs = fsspec.filesystem("s3warm")
    sales = dataset.dataset(f"{world.bucket}/sales", filesystem=fs, format="parquet", partitioning="hive")
    table = sales.to_table(filter=dataset.field("year") == 2026)
    assert sorted(table["x"].to_pylist()) == sorted([2026, -2026] * 3)
    held = [key for key in fs.find(f"{world.bucket}/sales") if default_cache().explain(*key.split("/", 1)).tiers]
    assert [key for key in held if "year=2026" in key] == [
        f"{world.bucket}/sales/year=2026/part-{part}.parquet" for part in (0, 1)
    ]
    assert len(held) <= 3, "the other year's are not fetched, but for the one that the schema is taken from"


def test_polars_reads_an_open_file_and_a_dataset_of_pyarrow(world: World) -> None:
    polars, dataset = need("polars"), need("pyarrow.dataset")
    put_partitions(world)
    world.put("t.parquet", a_table(1, 2))
    fs = fsspec.filesystem("s3warm")
    for _ in range(2):
        with fs.open(f"{world.bucket}/t.parquet") as file:
            assert polars.read_parquet(file)["x"].to_list() == [1, 2] * 3
        with fs.open(f"{world.bucket}/t.parquet") as file:
            assert polars.scan_parquet(file).select(polars.col("x").sum()).collect().item() == 9
        assert polars.read_parquet(url(world, "t.parquet"), use_pyarrow=True).height == 6
    assert requests() == 1
    sales = dataset.dataset(f"{world.bucket}/sales", filesystem=fs, format="parquet", partitioning="hive")
    found = polars.scan_pyarrow_dataset(sales).filter(polars.col("year") == 2025).select("x").collect()
    assert sorted(found["x"].to_list()) == sorted([2025, -2025] * 3)


# -- zarr and xarray -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(world: World, tmp_path: Path) -> str:
    """A store of zarr with one array of four chunks, and its URL."""
    numpy, xarray = need("numpy"), need("xarray")
    need("zarr")
    values = numpy.arange(64.0).reshape(8, 8)
    xarray.Dataset({"v": (("a", "b"), values)}).to_zarr(
        tmp_path / "store.zarr", consolidated=False, encoding={"v": {"chunks": (4, 4)}}
    )
    for path in (tmp_path / "store.zarr").rglob("*"):
        if path.is_file():
            world.put(str(path.relative_to(tmp_path)), path.read_bytes())
    return url(world, "store.zarr")


def test_zarr_fetches_the_chunks_that_are_read_and_each_once(world: World, store: str) -> None:
    zarr = need("zarr")
    array = zarr.open_group(store, mode="r")["v"]
    before = requests()
    assert array[0, 0] == 0.0
    assert requests() == before + 1
    for _ in range(2):
        assert float(array[:].sum()) == 2016.0
    assert requests() == before + 4


def test_xarray_opens_a_store(world: World, store: str) -> None:
    xarray = need("xarray")
    for _ in range(2):
        with xarray.open_zarr(store, consolidated=False, chunks=None, storage_options={"ttl": 60}) as opened:
            assert float(opened["v"].sum()) == 2016.0
    chunks = [
        default_cache().explain(world.bucket, f"store.zarr/v/c/{row}/{column}").tiers for row in (0, 1) for column in (0, 1)
    ]
    assert all("memory" in tiers for tiers in chunks)


def test_a_test_that_changes_a_shared_table_fails() -> None:
    pandas = need("pandas")
    table = pandas.DataFrame({"a": [1, 2]})
    unchanged = Unchanged()
    unchanged.note(locate("s3://b/k"), "read_csv", table)
    unchanged.check()
    unchanged.note(locate("s3://b/k"), "read_csv", table)
    assert list(table["a"]) == [1, 2]
    unchanged.check()
    unchanged.note(locate("s3://b/k"), "read_csv", table)
    table.loc[0, "a"] = 3
    with pytest.raises(AssertionError, match="what read_csv made of s3://b/k was changed since"):
        unchanged.check()
