"""Heads: authentic, of one object, in one namespace, and never readable from their names."""

from __future__ import annotations

from hashlib import sha256

import pytest

from s3warm.codec import RAW
from s3warm.keys import ObjectKey, locate, locate_tree
from s3warm.terms import terms
from s3warm.tiers.row import PARTIAL, Row
from s3warm.tiers.sealed import Head, Refused, Sealer, check
from tests.support.entries import NOW, an_entry

SECRET = b"a secret of sixteen bytes"
SEALER = Sealer("ns", SECRET)
ENTRY = an_entry(b"body")
WHERE = ENTRY.object


def row(namespace: str = "ns", where: ObjectKey = WHERE, **changes: object) -> Row:
    made = Row(namespace, where, ENTRY.info, RAW, 4, 0, None, NOW, NOW + 300)
    return made._replace(**changes)  # type: ignore[arg-type]


def test_what_was_sealed_is_opened() -> None:
    raw = SEALER.sealed(row(), b"body")
    head = SEALER.opened(WHERE, raw)
    assert head == Head(raw, row(), sha256(b"body").digest())
    assert (head.etag, head.validated_at) == (ENTRY.etag, NOW)
    assert check(head, b"body") == b"body"


def test_a_head_without_a_body_has_no_sum() -> None:
    head = SEALER.opened(WHERE, SEALER.sealed(row(), None))
    assert head.sum is None
    with pytest.raises(Refused, match="another than the head says"):
        check(head, b"body")


def test_renewed_it_speaks_of_the_same_body_at_other_times() -> None:
    head = SEALER.opened(WHERE, SEALER.sealed(row(), b"body"))
    renewed = SEALER.opened(WHERE, SEALER.renewed(head, NOW + 1, float("inf")))
    assert renewed.row == row(validated_at=NOW + 1, expires_at=float("inf"))
    assert renewed.sum == head.sum


@pytest.mark.parametrize("body", [None, "body", b"", b"bod", b"bodY", b"body "])
def test_another_body_is_refused(body: object) -> None:
    with pytest.raises(Refused, match="another than the head says"):
        check(SEALER.opened(WHERE, SEALER.sealed(row(), b"body")), body)


@pytest.mark.parametrize(
    "raw", [None, "text", 1, b"", b"x" * 64, b"x" * (64 * 1024 + 1), [b"x"]], ids=lambda raw: repr(raw)[:12]
)
def test_what_is_no_head_is_refused(raw: object) -> None:
    with pytest.raises(Refused, match="it is no head"):
        SEALER.opened(WHERE, raw)


def test_a_head_of_somebody_elses_is_refused() -> None:
    for sealer in (Sealer("ns", b"another secret, as long"), Sealer("ns", b"")):
        with pytest.raises(Refused, match="HMAC"):
            SEALER.opened(WHERE, sealer.sealed(row(), b"body"))
        with pytest.raises(Refused, match="HMAC"):
            sealer.opened(WHERE, SEALER.sealed(row(), b"body"))


def test_every_byte_counts() -> None:
    raw = SEALER.sealed(row(), b"body")
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1
        with pytest.raises(Refused):
            SEALER.opened(WHERE, bytes(changed))


@pytest.mark.parametrize(
    "other",
    [
        row(namespace="another"),
        row(where=locate("bucket", "another")),
        row(where=locate("another", "key")),
        row(where=WHERE._replace(version_id="v1")),
        row(where=WHERE._replace(request=terms({"RequestPayer": "requester"}))),
        row(where=WHERE._replace(tree=True)),
        row(state=PARTIAL),
    ],
    ids=["namespace", "key", "bucket", "version", "terms", "tree", "partial"],
)
def test_an_authentic_head_of_something_else_is_refused(other: Row) -> None:
    with pytest.raises(Refused, match="another object"):
        SEALER.opened(WHERE, SEALER.sealed(other, b"body"))


def test_a_tree_is_never_opened() -> None:
    tree = locate_tree("s3://bucket/key/")
    with pytest.raises(Refused):
        SEALER.opened(tree, SEALER.sealed(row(where=tree), b"body"))


def test_the_log_is_no_head_and_a_head_is_no_log() -> None:
    raw = SEALER.sealed(row(), b"body")
    assert SEALER.is_authentic(raw[:32], raw[32:])
    assert not SEALER.is_authentic(raw[:32], raw[64:])


def test_names_tell_objects_apart_and_say_nothing_of_them() -> None:
    places = [
        WHERE,
        WHERE._replace(key="key2"),
        WHERE._replace(version_id="v1"),
        WHERE._replace(request=terms({"RequestPayer": "requester"})),
        WHERE._replace(request=terms({"SSECustomerKey": bytes(32)})),
        ObjectKey("bucketk", "ey"),
    ]
    sealers = [SEALER, Sealer("another", SECRET), Sealer("ns", b"another secret, as long"), Sealer("ns", b"")]
    names = [sealer.name(where) for sealer in sealers for where in places] + [sealer.log_name() for sealer in sealers]
    assert len(set(names)) == len(names)
    assert all(name.startswith("s3warm:{") and "key" not in name and "bucket" not in name for name in names)


def test_what_belongs_to_an_object_is_on_one_node_of_a_cluster() -> None:
    name = SEALER.name(WHERE)
    assert name.count("{") == name.count("}") == 1
    assert name.endswith("}"), "the lease has the same braces"
