"""What a shared server holds of an object: a head, which says all of it and is authenticated, and perhaps its body as it is stored.

A head is the HMAC-SHA256 (RFC 2104) of the rest; the SHA-256 of the stored body, or zeros where there is none; and a row as the disk tier has
it, in JSON: namespace (with the endpoint), bucket, key, version, ETag, length, when it was validated and when it expires. So a body cannot be put
under another head, nor a head under another object, and nothing is executed to read one.
"""

from __future__ import annotations

from s3warm.record import NamedTuple
from s3warm.tiers.row import FORMAT, WHOLE, Row, pack, readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.keys import ObjectKey

__all__ = ["Head", "Refused", "Sealer", "check"]

_SUM = 32  # bytes of an HMAC, and of a SHA-256
_BODILESS = bytes(_SUM)
_LONGEST = 64 * 1024  # bytes of a head: S3's own metadata have 2 KiB, a key 1 KiB


class Refused(ValueError):
    """What the server gave is nothing that a holder of the secret has put there for this object."""


class Head(NamedTuple):
    """What is known of an object, and whether its body lies beside.

    Attributes:
        raw: as it lies on the server.
        row: what it says.
        sum: SHA-256 of the stored body; None if there is none.
    """

    raw: bytes
    row: Row
    sum: bytes | None

    @property
    def etag(self) -> str:
        """The entity tag, opaque, with its quotation marks."""
        return self.row.info.etag

    @property
    def validated_at(self) -> float:
        """When S3 was asked, in seconds since the epoch."""
        return self.row.validated_at


class Sealer:
    """Makes and opens heads, and names objects on the server; of one namespace, with one secret.

    Who has another secret has other names as well: a new secret is a new, empty place, and no object's name can be read from the server's keys.
    Without a secret, `b""`, the sums tell damage, but nobody's hand.

    Example:
        >>> from s3warm.keys import locate
        >>> where = locate("s3://cfg/flags.json")
        >>> sealer = Sealer("app", b"secret of the fleet")
        >>> len(sealer.name(where)), sealer.name(where) == Sealer("app", b"another secret").name(where)
        (49, False)
    """

    def __init__(self, namespace: str, secret: bytes) -> None:
        self.namespace = namespace
        self._secret = secret

    def name(self, where: ObjectKey) -> str:
        """What an object is called on the server. What is in braces decides its node in a cluster: all that belongs to it is together."""
        return "s3warm:{" + self.sum(repr((FORMAT, *where)).encode())[:20].hex() + "}"

    def log_name(self) -> str:
        """What the log of what was invalidated is called."""
        return "s3warm:{" + self.sum(b"log")[:20].hex() + "}:log"

    def sum(self, message: bytes) -> bytes:
        """Its HMAC, in this namespace."""
        from hmac import digest

        return digest(self._secret, self.namespace.encode() + b"\0" + message, "sha256")

    def sealed(self, row: Row, body: bytes | None) -> bytes:
        """The head of a row, and of its stored body, if that is to lie beside it."""
        return self._seal(row, None if body is None else _sha256(body))

    def renewed(self, head: Head, validated_at: float, expires_at: float) -> bytes:
        """The same with other times."""
        return self._seal(head.row._replace(validated_at=validated_at, expires_at=expires_at), head.sum)

    def opened(self, where: ObjectKey, raw: object) -> Head:
        """The head that the server gave for an object.

        Raises:
            Refused: it is none of that object's, or not authentic.
        """
        if not isinstance(raw, bytes) or not 2 * _SUM < len(raw) <= _LONGEST:
            raise Refused("it is no head")
        if not self.is_authentic(raw[:_SUM], raw[_SUM:]):
            raise Refused("its HMAC is wrong")
        row = readable(raw[2 * _SUM :].decode("ascii", "replace"))
        if row is None or row.state != WHOLE or row.namespace != self.namespace or row.object != where or row.object.tree:
            raise Refused("it is of another object")
        of_body = raw[_SUM : 2 * _SUM]
        return Head(raw, row, None if of_body == _BODILESS else of_body)

    def is_authentic(self, said: bytes, message: bytes) -> bool:
        """Whether a sum was made by who has the secret."""
        from hmac import compare_digest

        return compare_digest(said, self.sum(message))

    def _seal(self, row: Row, of_body: bytes | None) -> bytes:
        rest = (of_body or _BODILESS) + pack(row).encode("ascii")
        return self.sum(rest) + rest


def check(head: Head, body: object) -> bytes:
    """The stored body that a head speaks of.

    Raises:
        Refused: it is another, or there is none.
    """
    if not isinstance(body, bytes) or len(body) != head.row.stored_size or _sha256(body) != head.sum:
        raise Refused("its body is another than the head says")
    return body


def _sha256(body: bytes) -> bytes:
    from hashlib import sha256

    return sha256(body).digest()
