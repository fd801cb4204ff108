"""What may happen to an entry on a server that others can write to: one random change at a time, and what has to come of it."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any, NamedTuple

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3warm.tiers.sealed import Sealer

    Hash = dict[bytes, bytes]

SUM = 32
REFUSED, HARMLESS = "refused", "harmless"


class Materials(NamedTuple):
    """What an attacker can find on servers, and who he is.

    Attributes:
        current: what the server has of the object, and should have.
        older: what it had of it before, by now expired; its body is another.
        others: what it, or another server, has of other objects and versions, in other namespaces and with other secrets.
        stranger: seals without the fleet's secret.
    """

    current: Hash
    older: Hash
    others: list[Hash]
    stranger: Sealer


class Mutation(NamedTuple):
    """What lies on the server instead, and whether that is to be refused."""

    kind: str
    value: Hash | bytes | list[bytes] | set[bytes]
    verdict: str


def mutated(found: Materials, chance: random.Random) -> Mutation:
    """One of all that may happen."""
    kind = chance.choice(sorted(KINDS))
    value, verdict = KINDS[kind](found, chance)
    return Mutation(kind, value, verdict)


def lay(client: Any, name: str, value: Hash | bytes | list[bytes] | set[bytes]) -> None:
    """Put it there in place of whatever is."""
    client.delete(name)
    if isinstance(value, dict):
        client.hset(name, mapping=value)
    elif isinstance(value, bytes):
        client.set(name, value)
    elif isinstance(value, list):
        client.rpush(name, *value)
    else:
        client.sadd(name, *value)


def flipped(data: bytes, chance: random.Random) -> bytes:
    """One bit, or some bytes, are others."""
    changed = bytearray(data)
    if chance.random() < 0.5:
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    else:
        for _ in range(chance.randint(1, 8)):
            at = chance.randrange(len(data))
            changed[at] = (data[at] + chance.randint(1, 255)) % 256
    return bytes(changed)


def resealed(sealer: Sealer, raw: bytes, fields: Callable[[list[Any]], list[Any]], body: bytes | None = None) -> bytes:
    """A head whose row says something else, sealed by somebody; with a body of his own, if he has one."""
    from hashlib import sha256

    of_body = raw[SUM : 2 * SUM] if body is None else sha256(body).digest()
    rest = of_body + json.dumps(fields(json.loads(raw[2 * SUM :]))).encode()
    return sealer.sum(rest) + rest


def odd(chance: random.Random) -> Any:
    """A value that nobody expects."""
    return chance.choice(
        (
            *(None, True, -1, 0, 1, 2**31, 2**63, 2**64, 10**400, -(10**400), 0.5, 1e308, -1e308, float("inf"), float("nan")),
            *("", "x", "\x00", "\ud800", "ключ", "a" * 5000, "no-store", "0" * 4000),
            *([], {}, [[]], {"a": 1}, {"a": {}}, [None] * 20, ["b", "k", None, False, None]),
        )
    )


def oddly(chance: random.Random) -> Callable[[list[Any]], list[Any]]:
    """Changes a field of a row, or one of the object's or of the metadata's."""

    def change(row: list[Any]) -> list[Any]:
        place = chance.choice((row, row, row[2], row[3]))
        place[chance.randrange(len(place))] = odd(chance)
        return row

    return change


def claiming(size: int) -> bytes:
    """A zstd frame that says so (RFC 8878, section 3.1.1.1: a single segment, eight bytes of content size)."""
    return b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little") + b"\x01\x00\x00"


def _with(found: Materials, **fields: bytes) -> Hash:
    return {**found.current, **{name.encode(): value for name, value in fields.items()}}


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _longer(data: bytes, chance: random.Random) -> bytes:
    more = chance.randbytes(chance.choice((1, 7, 64, 5000, 100_000)))
    return chance.choice((data + more, more + data, data + data))


def _other_body(found: Materials, chance: random.Random) -> bytes:
    return chance.choice([other[b"b"] for other in found.others if other[b"b"] != found.current[b"b"]])


def _typed(found: Materials, chance: random.Random) -> Any:
    head = found.current[b"h"]
    return chance.choice((head, b"", b"1", [head], [b"h", head], {head}, {b"h"}))


def _later(found: Materials, chance: random.Random) -> bytes:
    shift = chance.choice((-1e9, -1.0, 1.0, 60.0, 1e9))

    def change(row: list[Any]) -> list[Any]:
        return [*row[:8], row[8] + shift, row[9] + shift, *row[10:]]

    return resealed(found.stranger, found.current[b"h"], change)


def _bomb(found: Materials, chance: random.Random) -> Hash:
    size = chance.choice((2**31, 2**40, 2**63 - 1))
    frame = chance.choice((claiming(size), zstandard.compress(bytes(100_000))))
    said = chance.choice((size, 1000))

    def change(row: list[Any]) -> list[Any]:
        return [*row[:3], [row[3][0], said, *row[3][2:]], "zstd", len(frame), *row[6:]]

    return _with(found, h=resealed(found.stranger, found.current[b"h"], change, frame), b=frame)


def _format(found: Materials, chance: random.Random) -> bytes:
    number = chance.choice((0, 1, 4, 6, 5.5, "5", None))
    return resealed(found.stranger, found.current[b"h"], lambda row: [number, *row[1:]])


def _time(chance: random.Random) -> bytes:
    return chance.choice(
        (b"", b"nan", b"inf", b"-inf", b"1e999", b"x", b"\x00\xff", b"0", b"1" * 5000, repr(chance.random() * 4e9).encode())
    )


KINDS: dict[str, Callable[[Materials, random.Random], tuple[Any, str]]] = {
    "flipped head": lambda found, chance: (_with(found, h=flipped(found.current[b"h"], chance)), REFUSED),
    "flipped body": lambda found, chance: (_with(found, b=flipped(found.current[b"b"], chance)), REFUSED),
    "cut head": lambda found, chance: (_with(found, h=_cut(found.current[b"h"], chance)), REFUSED),
    "cut body": lambda found, chance: (_with(found, b=_cut(found.current[b"b"], chance)), REFUSED),
    "longer head": lambda found, chance: (_with(found, h=_longer(found.current[b"h"], chance)), REFUSED),
    "longer body": lambda found, chance: (_with(found, b=_longer(found.current[b"b"], chance)), REFUSED),
    "another's head": lambda found, chance: (_with(found, h=chance.choice(found.others)[b"h"]), REFUSED),
    "another's body": lambda found, chance: (_with(found, b=_other_body(found, chance)), REFUSED),
    "another's all": lambda found, chance: (chance.choice(found.others), REFUSED),
    "older body under the newer head": lambda found, _: (_with(found, b=found.older[b"b"]), REFUSED),
    "older head over the newer body": lambda found, _: (_with(found, h=found.older[b"h"]), REFUSED),
    "older all under the newer time": lambda found, _: ({**found.older, b"t": found.current[b"t"]}, HARMLESS),
    "older all": lambda found, _: (found.older, HARMLESS),
    "no body": lambda found, _: ({name: value for name, value in found.current.items() if name != b"b"}, REFUSED),
    "no head": lambda found, _: ({name: value for name, value in found.current.items() if name != b"h"}, HARMLESS),
    "no time": lambda found, _: ({name: value for name, value in found.current.items() if name != b"t"}, HARMLESS),
    "another time": lambda found, chance: (_with(found, t=_time(chance)), HARMLESS),
    "another type": lambda found, chance: (_typed(found, chance), REFUSED),
    "other times, sealed by a stranger": lambda found, chance: (_with(found, h=_later(found, chance)), REFUSED),
    "odd row, sealed by a stranger": lambda found, chance: (
        _with(found, h=resealed(found.stranger, found.current[b"h"], oddly(chance))),
        REFUSED,
    ),
    "huge frame, sealed by a stranger": lambda found, chance: (_bomb(found, chance), REFUSED),
    "another format, sealed by a stranger": lambda found, chance: (_with(found, h=_format(found, chance)), REFUSED),
}
