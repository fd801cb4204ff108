"""What a request says besides: what is accepted, and that a customer's key is shown nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from s3warm.keys import ObjectKey, locate
from s3warm.terms import Terms, terms
from s3warm.tiers.row import digest, pack, unpack
from tests.unit.test_row import ROW

KEY = bytes(range(32))
SECRET = "abcdefghijklmnopqrstuvwxyz012345"


def test_none_and_nothing_are_no_terms() -> None:
    assert terms(None) is None
    assert terms({}) is None
    assert terms({"RequestPayer": None, "SSECustomerKey": None}) is None


def test_equal_terms_are_one_key_and_others_are_others() -> None:
    payer = {"RequestPayer": "requester"}
    assert locate("b", "k", request=payer) == locate("b", "k", request=dict(payer))
    keys = {
        locate("b", "k", request=request)
        for request in (None, payer, {"ExpectedBucketOwner": "1" * 12}, {"SSECustomerKey": KEY}, {"SSECustomerKey": KEY[::-1]})
    }
    assert len(keys) == 5
    assert len({digest("ns", key) for key in keys}) == 5
    assert terms({"SSECustomerKey": SECRET}) == terms({"SSECustomerKey": SECRET.encode(), "SSECustomerAlgorithm": "AES256"})


@pytest.mark.parametrize(
    ("request_", "error", "says"),
    [
        ("requester", TypeError, "must be a mapping"),
        ({"Payer": "requester"}, ValueError, "does not take 'Payer'; it takes"),
        ({"RequestPayer": "me"}, ValueError, 'must be "requester"'),
        ({"ExpectedBucketOwner": 111122223333}, ValueError, "12 digits"),
        ({"ExpectedBucketOwner": "11112222333"}, ValueError, "12 digits"),
        ({"ExpectedBucketOwner": "1111\r\n2222333"}, ValueError, "12 digits"),
        ({"SSECustomerAlgorithm": "AES256"}, ValueError, "beside an SSECustomerKey"),
        ({"SSECustomerAlgorithm": "aws:kms", "SSECustomerKey": KEY}, ValueError, 'must be "AES256"'),
        ({"SSECustomerKey": SECRET[:-1]}, ValueError, "must be 32 bytes, .*; these are 31"),
        ({"SSECustomerKey": 5}, ValueError, "must be 32 bytes"),
    ],
)
def test_what_s3_would_not_take_is_refused(request_: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        terms(request_)
    assert SECRET[:8] not in str(caught.value)


def test_the_key_is_in_no_text() -> None:
    key = locate("b", "k", request={"SSECustomerKey": SECRET})
    row = ROW._replace(object=key)
    for text in (repr(key), str(key), pack(row), repr(row), repr({"key": key})):
        assert SECRET not in text
        assert SECRET[:8] not in text
    read = unpack(pack(row)).object
    assert read == key
    assert isinstance(read.request, Terms)
    assert (read.request.customer_key, read.request.encrypted) == (None, True)
    assert read.request.headers() == [] == list(read.request.parameters())


def test_plain_objects_have_none() -> None:
    assert ObjectKey("b", "k") == locate("b", "k", request={})
