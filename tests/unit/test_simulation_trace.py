"""Traces: what is read, what is said about a line that cannot be, and that generated ones are what they are meant to be."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from s3warm.simulation.generated import KINDS, generate, generate_all
from s3warm.simulation.trace import TraceError, read, read_all


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "web.csv"


def test_a_trace(path: Path) -> None:
    path.write_text("time,key,size\n0,a,10\n0.5,b,20\n1e3,a,10\n")
    trace = read(str(path))
    assert (trace.name, trace.requests) == ("web", [(0, 10), (1, 20), (0, 10)])
    assert (trace.objects, trace.footprint, trace.bytes) == (2, 30, 40)


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "as spreadsheets write it"])
def test_a_gzipped_trace_whatever_its_name(tmp_path: Path, mark: str) -> None:
    for name in ("web.csv.gz", "web"):
        (tmp_path / name).write_bytes(gzip.compress(f"{mark}time,key,size\n0,a,10\n".encode()))
        trace = read(str(tmp_path / name))
        assert (trace.name, trace.requests) == ("web", [(0, 10)])


@pytest.mark.parametrize(
    "text",
    [
        "0,a,10\n1,b,0\n",  # without names
        "\ufefftime,key,size\r\n0,a,10\r\n1,b,0\r\n",  # as spreadsheets write it
        "Size, Key ,tenant,time\n10,a,x,0\n 0 ,b,y,1\n",  # in another order, with others
        'time,key,size\n\n0,"a",10\n\n1,b,0',
    ],
)
def test_what_is_understood_too(path: Path, text: str) -> None:
    path.write_text(text, newline="")
    assert read(str(path)).requests == [(0, 10), (1, 0)]


def test_a_key_may_be_anything(path: Path) -> None:
    path.write_text('time,key,size\n0,"a,b",10\n0,"a\nb",10\n0,,10\n0,"a,b",10\n')
    assert [number for number, _ in read(str(path)).requests] == [0, 1, 2, 0]


def test_an_object_whose_size_changes_is_another_one(path: Path) -> None:
    path.write_text("time,key,size\n0,a,10\n0,a,11\n0,a,11\n0,a,10\n")
    trace = read(str(path))
    assert [number for number, _ in trace.requests] == [0, 1, 1, 0]
    assert trace.footprint == 21


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1,b", "line 3: 2 columns instead of 3 (time, key, size)"),
        ("1,b,2,3", "line 3: 4 columns instead of 3 (time, key, size)"),
        ("noon,b,2", "line 3: the time 'noon' is not a number"),
        ("nan,b,2", "line 3: the time 'nan' is not a number"),
        ("inf,b,2", "line 3: the time 'inf' is not a number"),
        ("1,b,", "line 3: the size '' is not"),
        ("1,b,-2", "line 3: the size '-2' is not a whole number of bytes"),
        ("1,b,2.5", "line 3: the size '2.5' is not"),
        ("1,b,1_000", "line 3: the size '1_000' is not"),
        ("1,b,٣", "line 3: the size '٣' is not"),
        (f"1,b,{51 * 10**12}", "up to 50 TB"),
        ("1,b," + "9" * 9999, "line 3: the size '9999999999999999999999999999999999999999' is not"),
        ('1,"b,2', "after line 2: unexpected end of data"),
        ('1,"b"c,2', "after line 2: ',' expected after '\"'"),
    ],
)
def test_a_bad_line_is_named(path: Path, line: str, said: str) -> None:
    path.write_text(f"time,key,size\n0,a,10\n{line}\n")
    with pytest.raises(TraceError) as caught:
        read(str(path))
    assert str(caught.value).startswith(f"{path}, ")
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n\n", "time,key,size\n"])
def test_an_empty_trace(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(TraceError, match="there is no request in it"):
        read(str(path))


def test_what_is_no_text(path: Path) -> None:
    path.write_bytes(b"time,key,size\n0,\xff\xfe,1\n")
    with pytest.raises(TraceError, match="no text in UTF-8"):
        read(str(path))


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_gzip_file(path: Path, damage: str) -> None:
    whole = gzip.compress(b"time,key,size\n" + b"".join(b"0,%d,10\n" % number for number in range(5_000)))
    damaged = whole[: len(whole) // 2] if damage == "cut" else whole[:10] + b"\xff" * 20 + whole[30:]
    path.write_bytes(damaged)
    with pytest.raises(TraceError, match="the gzip file is damaged"):
        read(str(path))


def test_a_directory_is_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("0,a,10\n")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"0,a,10\n"))
    (tmp_path / "README.md").write_text("none of them")
    assert [trace.name for trace in read_all([str(tmp_path), str(tmp_path / "b.csv")])] == ["a", "b", "b"]


def test_a_directory_without_a_trace(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"no file in this directory ends in \.csv or \.csv\.gz"):
        list(read_all([str(tmp_path)]))


# -- generated ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_makes_one_trace(kind: str) -> None:
    trace = generate(kind, seed=1, requests=3_000)
    assert trace.requests == generate(kind, seed=1, requests=3_000).requests
    assert trace.requests != generate(kind, seed=2, requests=3_000).requests
    assert len(trace.requests) == 3_000
    sizes: dict[int, int] = {}
    assert all(sizes.setdefault(key, size) == size > 0 for key, size in trace.requests)
    assert 200 < trace.objects == len(sizes) < 2_900


def test_there_is_one_of_each_kind() -> None:
    assert [trace.name for trace in generate_all(requests=10)] == ["zipf", "scan", "shift", "lambda"]


def test_a_shift_moves_the_working_set() -> None:
    requests = generate("shift", requests=10_000).requests
    assert set(requests[:5_000]).isdisjoint(requests[5_000:])


def test_a_scan_reads_each_object_once() -> None:
    requests = generate("scan", requests=10_000).requests
    assert len(set(requests[4_000:5_000])) == 1_000
    assert set(requests[4_000:5_000]).isdisjoint(requests[5_000:])
    assert len(set(requests[:4_000])) < 2_500
