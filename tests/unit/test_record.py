"""Records: `typing.NamedTuple` in all that is used of it, without importing `typing`."""

from __future__ import annotations

import copy
import pickle

import pytest

from s3warm.record import NamedTuple


class Point(NamedTuple):
    """A point."""

    x: float
    y: float = 0.0
    label: str | None = None

    @property
    def far(self) -> bool:
        return self.x > 10

    def moved(self, by: float) -> Point:
        return self._replace(x=self.x + by)

    @staticmethod
    def origin() -> Point:
        return Point(0.0)

    def __str__(self) -> str:
        return f"<{self.x}, {self.y}>"


class Empty(NamedTuple):
    """Nothing at all."""


def test_fields_come_in_the_order_of_the_class_with_defaults_for_the_last_ones() -> None:
    assert Point._fields == ("x", "y", "label")
    assert Point(1.0) == (1.0, 0.0, None)
    assert Point(x=1.0, label="a") == (1.0, 0.0, "a")


@pytest.mark.parametrize("arguments", [(), (1, 2, 3, 4)])
def test_too_few_or_too_many_fields_are_refused(arguments: tuple[float, ...]) -> None:
    with pytest.raises(TypeError):
        Point(*arguments)  # type: ignore[arg-type]


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(TypeError):
        Point(1.0, z=1)  # type: ignore[call-arg]
    with pytest.raises((TypeError, ValueError)):
        Point(1.0)._replace(z=1)  # type: ignore[call-arg]


def test_methods_and_properties_are_kept() -> None:
    assert (Point(11.0).far, Point(1.0).far) == (True, False)
    assert Point(1.0).moved(2.0) == Point(3.0)
    assert Point.origin() == (0.0, 0.0, None)
    assert (str(Point(1.0)), f"{Point(1.0)}") == ("<1.0, 0.0>", "<1.0, 0.0>")
    assert repr(Point(1.0)) == "Point(x=1.0, y=0.0, label=None)"


def test_a_replaced_record_is_of_the_same_class_and_leaves_the_first_alone() -> None:
    first = Point(1.0)
    second = first._replace(y=5.0)
    assert (type(second), second, first) == (Point, (1.0, 5.0, None), (1.0, 0.0, None))


def test_a_record_is_immutable_and_has_no_dictionary() -> None:
    point = Point(1.0)
    with pytest.raises(AttributeError):
        point.x = 2.0  # type: ignore[misc]
    with pytest.raises(AttributeError):
        point.other = 2.0  # type: ignore[attr-defined]
    assert not hasattr(point, "__dict__")


def test_a_record_is_a_tuple() -> None:
    x, y, label = Point(1.0, 2.0, "a")
    assert (x, y, label) == (1.0, 2.0, "a")
    assert hash(Point(1.0)) == hash((1.0, 0.0, None))
    assert Point(1.0)._asdict() == {"x": 1.0, "y": 0.0, "label": None}


def test_the_class_knows_its_name_module_and_docstring() -> None:
    assert (Point.__name__, Point.__module__, Point.__doc__) == ("Point", __name__, "A point.")


def test_a_record_without_fields_is_an_empty_tuple() -> None:
    assert Empty() == ()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_record_pickles(protocol: int) -> None:
    from s3warm.metrics import Event

    event = Event("fetched", "b", "k", 3, 0.5, "words")
    again = pickle.loads(pickle.dumps(event, protocol))
    assert (type(again), again) == (Event, event)


def test_a_record_is_copied_as_it_is() -> None:
    point = Point(1.0, label="a")
    assert (copy.copy(point), copy.deepcopy(point)) == (point, point)
