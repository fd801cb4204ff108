"""Errors: what they are, what they say, and that they travel between processes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from s3warm import errors
from s3warm.errors import (
    AccessDeniedError,
    ConfigurationError,
    IntegrityError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    OriginUnavailableError,
    S3WarmError,
)

ALL = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize(
    ("error", "also"),
    [
        (ObjectNotFoundError, FileNotFoundError),
        (AccessDeniedError, PermissionError),
        (OriginUnavailableError, ConnectionError),
        (ConfigurationError, ValueError),
        (ObjectTooLargeError, S3WarmError),
        (IntegrityError, S3WarmError),
    ],
)
def test_each_error_is_also_the_built_in_one_that_callers_know(error: type[Exception], also: type[Exception]) -> None:
    assert issubclass(error, also)
    assert issubclass(error, S3WarmError)


def test_too_large_and_integrity_are_no_trouble_of_the_system() -> None:
    assert not issubclass(ObjectTooLargeError, OSError)
    assert not issubclass(IntegrityError, OSError)


def test_the_module_exports_every_error_it_defines() -> None:
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, S3WarmError)}
    assert defined == set(errors.__all__)


@pytest.mark.parametrize("error", ALL)
def test_message_and_attributes_are_kept(error: type[S3WarmError]) -> None:
    raised = error("s3://b/k: words", bucket="b", key="k")
    assert (str(raised), raised.bucket, raised.key) == ("s3://b/k: words", "b", "k")
    assert (raised.args, getattr(raised, "errno", None)) == (("s3://b/k: words",), None)


@pytest.mark.parametrize("error", ALL)
def test_an_error_that_is_about_no_object_names_none(error: type[S3WarmError]) -> None:
    raised = error("words")
    assert (raised.bucket, raised.key) == (None, None)


@pytest.mark.parametrize("error", ALL)
@pytest.mark.parametrize(
    "again",
    [
        *(
            lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
            for protocol in (0, 2, pickle.HIGHEST_PROTOCOL)
        ),
        copy.copy,
        copy.deepcopy,
    ],
    ids=["pickle 0", "pickle 2", "pickle", "copy", "deepcopy"],
)
def test_an_error_survives_the_journey(error: type[S3WarmError], again: Callable[[S3WarmError], S3WarmError]) -> None:
    before = error("s3://b/ü: words", bucket="b", key="ü")
    before.add_note("asked by the test")
    after = again(before)
    assert after is not before
    assert type(after) is error
    assert (str(after), after.bucket, after.key, after.args) == (str(before), "b", "ü", before.args)
    assert after.__notes__ == ["asked by the test"]


def test_whether_an_outage_is_meant_travels_too() -> None:
    error = OriginUnavailableError("archived", bucket="b", key="k")
    assert error.outage
    error.outage = False
    assert pickle.loads(pickle.dumps(error)).outage is False
    assert OriginUnavailableError("another").outage


def test_a_caller_catches_by_the_built_in_name_and_reads_the_object() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        raise ObjectNotFoundError("s3://b/k does not exist", bucket="b", key="k")
    assert repr(caught.value) == "ObjectNotFoundError('s3://b/k does not exist')"
