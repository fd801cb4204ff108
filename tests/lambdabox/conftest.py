"""All tests here are marked `lambda` and skipped where no box can be made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lambdabox.available import why_not
from tests.lambdabox.generated import GeneratedOrigin

collect_ignore = ["handlers"]  # for doctests, which would import them outside of a box


def pytest_itemcollected(item: pytest.Item) -> None:
    if "lambdabox" in item.path.parts:
        item.add_marker("lambda")  # by name, for the word is a keyword


@pytest.fixture(scope="module")
def generated() -> Iterator[GeneratedOrigin]:
    """An origin of generated bodies, for boxes to ask."""
    missing = why_not()
    if missing is not None:
        pytest.skip(f"no LambdaBox here: {missing}")
    with GeneratedOrigin() as made:
        yield made


@pytest.fixture
def boxes() -> None:
    """Asked for by tests that make boxes."""
    missing = why_not()
    if missing is not None:
        pytest.skip(f"no LambdaBox here: {missing}")
