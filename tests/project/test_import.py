"""What a cold start loads, and that the face is what it says."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import s3warm
from s3warm import face
from s3warm.front import Front

# What is loaded by an import is what was not loaded before it: the environment's own `.pth` files load some.
FACE = """
    import sys
    before = set(sys.modules)
    import s3warm
    after = set(sys.modules)
    import json
    print(json.dumps(sorted(after - before)))
"""
NEVER = [
    "boto3",
    "botocore",
    "urllib3",
    "sqlite3",
    "diskcache",
    "zstandard",
    "asyncio",
    "dataclasses",
    "typing",
    "logging",
    "json",
    "hashlib",
    "inspect",
    "datetime",
    "decimal",
    "pathlib",
    "tempfile",
    "shutil",
    "random._hashlib",
    "ssl",
    "socket",
    "http",
    "email",
    "concurrent",
    "difflib",
    "urllib",
    "random",
    "s3warm.testing",
    "s3warm.options",
    "s3warm.factory",
    "s3warm.errors",
    "s3warm.tiers.store",
    "s3warm.tiers.shelf",
]
WARM = """
    import sys
    from s3warm import Cache
    from s3warm.testing import FakeS3

    s3 = FakeS3({"s3://bucket/small": b"small", "s3://bucket/large": b"large" * 100_000})

    class Warming(Cache):
        def _supplier(self, client, settings):
            return s3

    with Warming(directory=sys.argv[1], namespace="x", ttl=3600) as cache:
        print(len(cache.get("bucket", "small")), len(cache.get("bucket", "large")), len(s3.requests))
"""
START = """
    import json, sys
    import s3warm
    with s3warm.Cache(directory=sys.argv[1], namespace="x", ttl=3600) as cache:
        sizes = [len(cache.get("bucket", "small")), len(cache.get("bucket", "large"))]
        stats = cache.stats()
        print(json.dumps([sizes, stats.disk_hits, stats.origin_requests, sorted(sys.modules)]))
"""


def run(script: str, *arguments: str) -> str:
    """The output of a script in a fresh interpreter, from which nothing may come on standard error."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    return set(json.loads(run(FACE)))


@pytest.mark.parametrize("module", NEVER)
def test_importing_s3warm_does_not_load(loaded: set[str], module: str) -> None:
    assert [name for name in loaded if name == module or name.startswith(module + ".")] == []


def test_importing_s3warm_loads_little_beside_itself(loaded: set[str]) -> None:
    assert "s3warm" in loaded
    others = {name.split(".")[0] for name in loaded} - {"s3warm"}
    assert len(others) < 27, sorted(others)


def test_importing_s3warm_loads_three_of_its_modules(loaded: set[str]) -> None:
    """Each costs some 250 µs; the others come with the first name that is used."""
    own = {name for name in loaded if name.split(".")[0] == "s3warm"}
    assert own == {"s3warm", "s3warm.machine", "s3warm.record"}


def test_the_first_name_loads_all_and_then_the_module_is_a_plain_one() -> None:
    """CPython specialises look-ups in modules without a `__getattr__` only: with it each hit costs 15 % more."""
    said = run(
        """
        import s3warm
        assert "__getattr__" in vars(s3warm) and "get" not in vars(s3warm)
        try:
            s3warm.gett
        except AttributeError as error:
            print(error)
        from s3warm import Stats
        assert "__getattr__" not in vars(s3warm)
        assert set(s3warm.__all__) <= set(vars(s3warm))
        assert s3warm.Stats is Stats
        """
    )
    assert said == "module 's3warm' has no attribute 'gett'\n"


def test_threads_that_use_the_first_names_at_once_get_them() -> None:
    said = run(
        """
        import sys, threading
        sys.setswitchinterval(1e-6)
        import s3warm
        start, found = threading.Barrier(8), []

        def use(name):
            start.wait()
            found.append(getattr(s3warm, name))

        threads = [threading.Thread(target=use, args=(name,)) for name in s3warm.__all__[:8]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(len(found))
        """
    )
    assert said == "8\n"


def test_a_disk_warm_start_never_loads_boto3(tmp_path: Path) -> None:
    directory = str(tmp_path / "warm")
    assert run(WARM, directory) == "5 500000 2\n"
    sizes, disk_hits, requests, modules = json.loads(run(START, directory))
    assert (sizes, disk_hits, requests) == ([5, 500_000], 2, 0)
    heavy = {"boto3", "botocore", "urllib3", "s3transfer", "hashlib", "_hashlib", "ssl", "socket", "email", "http", "asyncio"}
    assert {name.split(".")[0] for name in modules} & heavy == set()


def test_all_is_exact_and_sorted() -> None:
    assert s3warm.__all__ == sorted(s3warm.__all__)
    for name in s3warm.__all__:
        assert getattr(s3warm, name) is not None, "it is loaded now"
    public = {name for name, value in vars(s3warm).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public - {"annotations", "TYPE_CHECKING"} == set(s3warm.__all__)
    assert face.__all__ == s3warm.__all__


@pytest.mark.parametrize("name", s3warm.__all__)
def test_everything_public_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(s3warm, name))


def signature(function: Any) -> inspect.Signature:
    found = inspect.signature(function)
    parameters = [parameter for parameter in found.parameters.values() if parameter.name != "self"]
    return found.replace(parameters=parameters)


@pytest.mark.parametrize(
    "name",
    [
        *("get", "entry", "path", "tree", "release", "as_file", "open", "invalidate", "clear", "stats", "explain", "budgets"),
        *("preload", "get_many", "glob"),
    ],
)
def test_a_function_takes_and_gives_what_the_method_does(name: str) -> None:
    assert signature(getattr(s3warm, name)) == signature(getattr(s3warm.Cache, name))


def test_configure_takes_what_a_cache_takes() -> None:
    configure, cache = signature(s3warm.configure), signature(s3warm.Cache.__init__)
    assert configure.parameters == cache.parameters


def test_get_is_written_once() -> None:
    assert s3warm.get.__func__ is Front.get is s3warm.Cache.get  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["get", "entry", "invalidate", "explain"])
def test_what_follows_the_object_is_by_name_only(name: str) -> None:
    kinds = {parameter.kind for parameter in list(signature(getattr(s3warm, name)).parameters.values())[2:]}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


def test_the_module_has_a_version() -> None:
    from importlib.metadata import version

    assert s3warm.__version__ == version("s3warm")


WINDOWS = """
import os, sys
sys.platform = "win32"
for name in ("sysconf", "statvfs", "fork", "register_at_fork", "geteuid", "getuid", "O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK"):
    if hasattr(os, name):
        delattr(os, name)
sys.modules["fcntl"] = sys.modules["resource"] = None
from s3warm.testing import fake_s3
import s3warm
with fake_s3({"s3://b/k": b"body"}) as s3:
    assert s3warm.get("b", "k") is s3warm.get("b", "k")
    assert s3warm.explain("b", "k").tiers == ("memory",)
    assert s3warm.budgets().disk is None and s3warm.budgets().memory.bytes > 0
    print(len(s3.requests))
"""


def test_without_what_windows_lacks_it_runs_with_memory_alone() -> None:
    """Not Windows, but Python without the functions that are missing there."""
    done = subprocess.run([sys.executable, "-c", WINDOWS], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
