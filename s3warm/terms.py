"""What a request says beside which object it wants: who pays, who must own the bucket, with which key of the customer's it is encrypted.

The names are those of S3's API and of boto3 (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Terms", "terms"]

_ACCEPTED = (
    'request={"RequestPayer": "requester", "ExpectedBucketOwner": "<12 digits>", "SSECustomerKey": <32 bytes>}, any of them; the '
    "algorithm and the MD5 of an SSE-C key follow from the key"
)


class Terms:
    """Terms of a request, equal to others with the same `fingerprint`, in which a key is hashed: it may lie on disk, and be printed.

    Attributes:
        fingerprint: what tells them from others.
        payer: who pays, or None.
        owner: the account that must own the bucket, or None.
        customer_key: of SSE-C, 32 bytes, or None; also None in terms that were read from disk or unpickled.
        encrypted: whether there is one.
    """

    __slots__ = ("customer_key", "encrypted", "fingerprint", "owner", "payer")

    def __init__(
        self, fingerprint: str, payer: str | None = None, owner: str | None = None, customer_key: bytes | None = None
    ) -> None:
        self.fingerprint = fingerprint
        self.payer = payer
        self.owner = owner
        self.customer_key = customer_key
        self.encrypted = "SSECustomerKey" in fingerprint

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Terms) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"<{self.fingerprint}>"

    def __reduce__(self) -> tuple[object, ...]:
        # An entry that is pickled, into a queue or another cache, does not take the key along.
        return Terms, (self.fingerprint, self.payer, self.owner)

    def parameters(self) -> dict[str, str | bytes]:
        """In boto3's words; it adds the key's MD5."""
        named: dict[str, str | bytes | None] = {"RequestPayer": self.payer, "ExpectedBucketOwner": self.owner}
        if self.customer_key is not None:
            named |= {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": self.customer_key}
        return {name: value for name, value in named.items() if value is not None}

    def headers(self) -> list[tuple[str, str]]:
        """As headers, names in lower case."""
        found = []
        if self.payer is not None:
            found.append(("x-amz-request-payer", self.payer))
        if self.owner is not None:
            found.append(("x-amz-expected-bucket-owner", self.owner))
        if self.customer_key is not None:
            from base64 import b64encode
            from hashlib import md5

            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html
            prefix = "x-amz-server-side-encryption-customer-"
            digest = md5(self.customer_key, usedforsecurity=False).digest()
            found += [
                (f"{prefix}algorithm", "AES256"),
                (f"{prefix}key", b64encode(self.customer_key).decode()),
                (f"{prefix}key-md5", b64encode(digest).decode()),
            ]
        return found


def terms(request: Mapping[str, object] | None) -> Terms | None:
    """The terms that a caller gives, as `request={...}`; None where there are none.

    Raises:
        TypeError: it is no mapping.
        ValueError: a name or a value is none that S3 knows.

    Example:
        >>> terms({"RequestPayer": "requester"})
        <RequestPayer=requester>
        >>> terms({"SSECustomerKey": bytes(32)})
        <SSECustomerKey=c50d124a8aaf41a1>
    """
    if request is None:
        return None
    if not hasattr(request, "items"):
        raise TypeError(f"request must be a mapping, as {_ACCEPTED}; not {type(request).__name__}")
    left = dict(request.items())
    payer, owner, key = left.pop("RequestPayer", None), left.pop("ExpectedBucketOwner", None), left.pop("SSECustomerKey", None)
    algorithm, _ = left.pop("SSECustomerAlgorithm", None), left.pop("SSECustomerKeyMD5", None)
    if left:
        raise ValueError(f"request does not take {', '.join(map(repr, left))}; it takes {_ACCEPTED}")
    if payer not in (None, "requester"):
        raise ValueError(f'RequestPayer must be "requester", not {payer!r}')
    if owner is not None and not (isinstance(owner, str) and len(owner) == 12 and owner.isascii() and owner.isdigit()):
        raise ValueError(f"ExpectedBucketOwner must be the 12 digits of an account, not {owner!r}")
    if algorithm not in (None, "AES256") or (algorithm is not None and key is None):
        raise ValueError('SSECustomerAlgorithm must be "AES256", beside an SSECustomerKey')
    secret = None if key is None else _secret(key)
    found = {"RequestPayer": payer, "ExpectedBucketOwner": owner, "SSECustomerKey": None if secret is None else _hash(secret)}
    fingerprint = " ".join(f"{name}={value}" for name, value in found.items() if value is not None)
    return Terms(fingerprint, payer and str(payer), owner and str(owner), secret) if fingerprint else None


def _secret(key: object) -> bytes:
    # It is quoted in no error: it is a secret.
    secret = (
        key.encode("latin-1", "replace")
        if isinstance(key, str)
        else bytes(key)
        if isinstance(key, (bytes, bytearray, memoryview))
        else b""
    )
    if len(secret) != 32:
        raise ValueError(f"SSECustomerKey must be 32 bytes, as they are and not in Base64; these are {len(secret)}")
    return secret


def _hash(secret: bytes) -> str:
    from s3warm.hashing import blake2b

    return blake2b(secret, digest_size=8).hexdigest()
