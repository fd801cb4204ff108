"""Memory stays bounded, whatever the size: the contract's bars, over objects that are large enough to break them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.bench.bodies import MIB
from tests.bench.rss import Sizes, measure

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="only Linux resets the peak")

# Of each a multiple of what may be held beside it; `make bench` has the sizes of the contract.
SIZES = Sizes(path=192 * MIB, get=96 * MIB, open=96 * MIB, disk=32 * MIB)


def test_no_call_grows_beyond_its_bar(tmp_path: Path) -> None:
    figures = measure(str(tmp_path), SIZES)
    assert len(figures) == 7
    assert [str(figure) for figure in figures if not figure.holds] == []
    # What is measured is there to be seen: whoever gets a body holds it.
    assert [str(figure) for figure in figures if figure.bar > SIZES.get and figure.growth < SIZES.get * 0.9] == []
