"""The origin of generated bodies, and what checks them: each must see the other's mistakes."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing

import pytest

from s3warm import codec
from tests.lambdabox.generated import GeneratedOrigin
from tests.lambdabox.objects import BUCKET, LARGEST, MIB, TEXT_RATIO, Checker, body_of, key_of, stored_size
from tests.lambdabox.workload import OBJECTS, sizes, steps
from tests.support.static_origin import Fault


@pytest.fixture(scope="module")
def origin() -> Iterator[GeneratedOrigin]:
    with GeneratedOrigin() as made:
        yield made


@pytest.fixture
def checker(origin: GeneratedOrigin) -> Iterator[Checker]:
    origin.forget()
    with closing(Checker(origin.folder)) as made:
        yield made


@pytest.fixture
def connection(origin: GeneratedOrigin) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection(origin.endpoint.removeprefix("http://"))) as made:
        yield made


def _get(connection: http.client.HTTPConnection, key: str, **headers: str) -> tuple[int, str, bytes]:
    connection.request("GET", f"/{BUCKET}/{key}", headers={name.replace("_", "-"): text for name, text in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.getheader("ETag", ""), answer.read()


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("size", [0, 1, 1024, 70_000, 3 * MIB + 1])
def test_what_comes_is_what_is_checked_for(
    checker: Checker, connection: http.client.HTTPConnection, size: int, text: bool
) -> None:
    key = key_of(1, size, text=text)
    status, _, body = _get(connection, key)
    assert (status, len(body), body) == (200, size, checker.body(key))
    assert checker.is_right(key, body)
    assert not checker.is_right(key, body + b"x")
    assert not checker.is_right("a key", body)
    if size:
        assert not checker.is_right(key, body[:-1])
        assert not checker.is_right(key, body[:-1] + bytes([body[-1] ^ 1]))


def test_bodies_differ(checker: Checker) -> None:
    assert checker.body(key_of(1, 1000, text=False)) != checker.body(key_of(2, 1000, text=False))


def test_a_flipped_bit_is_seen(origin: GeneratedOrigin, checker: Checker, connection: http.client.HTTPConnection) -> None:
    key = key_of(3, 200_000, text=False)
    origin.fault(Fault("flip", 150_000))
    assert not checker.is_right(key, _get(connection, key)[2])
    assert checker.is_right(key, _get(connection, key)[2])


def test_conditions_and_ranges_are_answered_and_counted(
    origin: GeneratedOrigin, checker: Checker, connection: http.client.HTTPConnection
) -> None:
    key = key_of(4, 100_000, text=True)
    _, etag, body = _get(connection, key)
    assert _get(connection, key, If_None_Match=etag) == (304, etag, b"")
    assert _get(connection, key, If_None_Match='"other"') == (200, etag, body)
    assert _get(connection, key, Range="bytes=5000-5099", If_Match=etag) == (206, etag, body[5000:5100])
    assert _get(connection, key, If_Match='"other"')[0] == 412
    assert origin.counts() == {"whole": 2, "304": 1, "conditional": 1, "range": 1}


def test_what_it_does_not_generate_it_does_not_have(connection: http.client.HTTPConnection) -> None:
    assert _get(connection, "other")[0] == 404
    assert _get(connection, f"1-{LARGEST + 1}.noise")[0] == 404
    with pytest.raises(ValueError, match="at most"):
        key_of(1, LARGEST + 1, text=False)


def test_text_compresses_as_the_replay_has_it_and_noise_does_not(checker: Checker) -> None:
    for size in (50_000, 3 * MIB):
        key = key_of(5, size, text=True)
        frame = codec.compress(checker.body(key), 1)
        assert frame is not None
        assert len(frame) == pytest.approx(stored_size(key), rel=0.1)
        assert len(frame) == pytest.approx(size * TEXT_RATIO, rel=0.1)
        assert codec.compress(checker.body(key_of(5, size, text=False)), 1) is None


@pytest.mark.parametrize("memory_mb", [128, 1024])
def test_the_objects_are_of_all_sizes_and_twenty_times_the_memory(memory_mb: int) -> None:
    made = sizes(20 * memory_mb * MIB)
    assert (len(made), made[0]) == (OBJECTS, 1024)
    assert LARGEST - 2 <= made[-1] <= LARGEST
    assert sum(made) == pytest.approx(20 * memory_mb * MIB, rel=0.01)


def test_steps_are_the_same_for_one_seed_and_within_what_they_may_be() -> None:
    made = steps(256, 400, seed=1)
    assert made == steps(256, 400, seed=1) != steps(256, 400, seed=2)
    assert all(body_of(step.key) is not None and 0 <= step.work <= 128 * MIB for step in made)
    assert len({step.work for step in made}) > 10
    counts = sorted((sum(other.key == key for other in made) for key in {step.key for step in made}), reverse=True)
    assert counts[0] > 20  # the most popular
    assert counts.count(1) > 100
