"""Modules that load themselves: what everybody may do with a module may be done with them before."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = "import sys, s3warm; s3warm.get; first = s3warm.emf; "


@pytest.mark.parametrize(
    "code",
    [
        "assert type(first) is not type(sys); first.metrics; assert type(first) is type(sys)",
        "import s3warm.emf; assert s3warm.emf is first is sys.modules['s3warm.emf']",
        "from s3warm import emf; assert emf is first; assert emf.metrics.__module__ == 's3warm.emf'",
        "from s3warm.emf import metrics; assert first.metrics is metrics",
        "first.metrics = 5; from s3warm.emf import metrics; assert metrics == 5",
        "assert 'metrics' in dir(first)",
        "assert 'metrics' in vars(first)",
        "assert first.__doc__ and first.__file__ and first.__spec__.name == 's3warm.emf'",
        "import importlib; assert importlib.reload(first) is first",
        "import unittest.mock as m\nwith m.patch('s3warm.emf.metrics', 5): assert first.metrics == 5\nassert first.metrics != 5",
        "del first.metrics; assert not hasattr(first, 'metrics')",
        "import pydoc; assert 'metrics' in pydoc.render_doc(first)",
        (
            "from threading import Barrier; from concurrent.futures import ThreadPoolExecutor as Pool; b = Barrier(8); p = Pool(8)\n"
            "assert len({id(f.result()) for f in [p.submit(lambda: (b.wait(), first.metrics)[1]) for _ in range(8)]}) == 1"
        ),
    ],
)
def test_it_is_the_module_from_its_first_use_on(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BEGIN + code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_before_that_nothing_of_it_is_loaded() -> None:
    code = BEGIN + "s3warm.aio; assert 'asyncio' not in sys.modules; assert 's3warm.measured' not in sys.modules"
    subprocess.run([sys.executable, "-S", "-c", code], timeout=60, check=True, cwd=__file__.rpartition("/tests/")[0])


def test_one_that_cannot_be_loaded_says_so_each_time() -> None:
    code = (
        BEGIN + "sys.modules['s3warm.measured'] = None\nfor _ in 'ab':\n try: first.metrics\n except ImportError: print('no')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "no\nno\n"
