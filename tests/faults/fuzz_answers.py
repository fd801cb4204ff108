"""Targets: what S3 and the endpoint of credentials say in XML and JSON."""

from __future__ import annotations

import json
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

from s3warm.errors import ObjectNotFoundError, S3WarmError
from s3warm.keys import ObjectKey
from s3warm.origin.answers import error_code, listing
from s3warm.origin.base import Listed, TransportError
from s3warm.origin.credentials import CredentialSource
from s3warm.trees import Planting
from tests.faults.fuzz import Choices, target

NOW = 1_800_000_000.0
SECRET = "wJalrXUtnFEMI-K7MDENG"
_XML = '<?xml version="1.0" encoding="UTF-8"?>'
_DECLARATIONS = (_XML, _XML, "", '<?xml version="1.0" encoding="x"?>', "<?xml version='1.0' encoding='utf-16'?>", "\ufeff",
                 '<?xml version="1.0" encoding="idna"?>', '<!DOCTYPE a [<!ENTITY b "c">]>', "<!-- -->")  # fmt: skip
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


@target("errors", 40)
def errors(choices: Choices) -> bool:
    """`error_code` raises nothing."""
    code = choices.one(("NoSuchKey", "SlowDown", "AccessDenied"))
    body = f"{choices.one((_XML, '', chr(0xFEFF)))}<Error><Code>{code}</Code><Message>{escape(choices.word(8))}</Message></Error>".encode()
    whole = choices.sometimes(2)
    if not whole:
        body = choices.data(60) if choices.sometimes(4) else choices.damaged(body)
    choices.given = body
    found = error_code(body)
    assert len(found) <= 100
    assert _PLAIN.issuperset(found)
    assert not whole or found == code
    return found != ""


@target("listings", 80)
def listings(choices: Choices) -> bool:
    """`listing` raises TransportError."""
    encoded = choices.sometimes(2)
    objects = [Listed(choices.text(10) or "k", '"e"', abs(choices.number())) for _ in range(choices.below(4))]
    # XML cannot say every character.
    objects = [each._replace(key=each.key if encoded else "".join(filter(str.isalnum, each.key)) or "k") for each in objects]
    token = choices.word(6)
    odd = choices.sometimes(4)
    rows = "".join(
        f"<Contents><Key>{quote_plus(each.key) if encoded else escape(each.key)}</Key><ETag>{escape(each.etag)}</ETag>"
        f"<Size>{choices.one((each.size, choices.text(4), choices.number(), '1_0', '٣', '-5')) if odd else min(each.size, 10**18 - 1)}</Size></Contents>"
        for each in objects
    )
    tail = f"<EncodingType>url</EncodingType>" if encoded else ""  # noqa: F541
    tail += f"<IsTruncated>{'true' if token else 'false'}</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
    body = f"<ListBucketResult xmlns='x'>{rows}{tail}</ListBucketResult>"
    kind = choices.below(4)
    if kind == 0:
        said, odd = choices.damaged(body.encode()), True
    elif kind == 1:
        said, odd = (choices.one(_DECLARATIONS) + body).encode(choices.one(("utf-8", "utf-8", "utf-16"))), True
    elif choices.sometimes(16):
        said, odd = choices.data(60), True
    else:
        said = body.encode()
    choices.given = said
    try:
        found, _, following = listing(said)
    except TransportError:
        assert odd, "it was well formed"
        return False
    for each in found:
        assert isinstance(each.key, str)
        assert isinstance(each.size, int)
        assert each.size >= 0
    if not odd:
        assert found == [each._replace(size=min(each.size, 10**18 - 1)) for each in objects]
        assert following == token
    return True


class Lister:
    """As much of an origin as a tree asks for its listing."""

    def __init__(self, found: list[Listed]) -> None:
        self.found = found

    def list(self, bucket: str, prefix: str, limit: int) -> list[Listed]:
        return self.found


_PARTS = ("a", "b", "a", "", ".", "..", "\0", "~", "x" * 255, "x" * 256, "é" * 128, "a\nb", "\\", "C:", " ", "...")


@target("tree names", 40)
def tree_names(choices: Choices) -> bool:
    """`Planting.fetch` raises S3WarmErrors."""
    prefix = choices.one(("p/", "/", "//", "../", "a/b/"))
    names = ["/".join(choices.one(_PARTS) if choices.sometimes(2) else choices.one(("a", "b", "c")) for _ in range(choices.below(3) + 1))
             for _ in range(choices.below(5))]  # fmt: skip
    if choices.sometimes(4):
        names.append(choices.text(12))
    found = [Listed(prefix + name, '"e"', choices.below(3)) for name in names]
    choices.given = found
    try:
        answer = Planting(Lister(found), None, None).fetch(ObjectKey("b", prefix, tree=True), if_none_match=None)  # type: ignore[arg-type] # they are not asked
    except ObjectNotFoundError:
        assert all(each.key.endswith("/") and not each.size for each in found)
        return False
    except S3WarmError:
        return False
    below = {each.key[len(prefix) :] for each in answer.found}  # type: ignore[union-attr] # no condition, no NotModified
    for name in below:
        parts = name.split("/")
        assert not {"", ".", ".."} & {*parts}, "it would lie elsewhere"
        assert "\0" not in name
        assert max(len(part.encode()) for part in parts) <= 255
        assert not any(other.startswith(name + "/") for other in below), "a file and a directory"
    return True


_TIMES: tuple[object, ...] = ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00", "2000-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59",
          "2030-01-01", "20300101", 1_900_000_000, None, True, [], {})  # fmt: skip


@target("credentials", 60)
def credentials(choices: Choices) -> bool:
    """`CredentialSource.current` raises TransportError, with `credentials`, and never says what it was given."""
    said: dict[str, object] = {"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": SECRET, "Token": choices.one(("t", "", None))}
    said["Expiration"] = choices.one(_TIMES)
    whole = choices.sometimes(2) and said["Expiration"] == _TIMES[0]
    if not whole and choices.sometimes(2):
        name = choices.one(("AccessKeyId", "SecretAccessKey", "Token", "Expiration", "x"))
        said[name] = choices.one((None, 5, [], {}, "", True, 1e400, choices.text(10), "a\r\nx: y", "é", SECRET + "\n"))
    body = json.dumps(said).encode()
    if not whole and choices.sometimes(2):
        body = choices.one((choices.damaged(body), choices.data(40), b"[" * 60_000, b'{"a":' * 12_000, b"\xff\xfe" + body))
    uri = (
        choices.one(("http://169.254.170.23/v1", "http://127.0.0.1:80/", "https://h/x"))
        if whole
        else choices.maybe_damaged("http://127.0.0.1/v1")
    )
    choices.given = (uri, body)
    environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": uri}
    if choices.sometimes(8):
        environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = choices.text(8)
    source = CredentialSource(
        environ, lambda *_: (choices.one((200, 200, 200, 500)) if not whole else 200, body), clock=lambda: NOW
    )
    try:
        held = source.current()
    except TransportError as error:
        assert (error.credentials, SECRET in str(error)) == (True, False)  # noqa: PT017 - it is one of two good ends
        assert not whole or "AWS_CONTAINER_AUTHORIZATION_TOKEN" in environ
        return False
    assert type(held.access_key) is type(held.secret_key) is type(held.token) is str
    assert held.access_key
    assert held.secret_key
    assert SECRET not in repr(held)
    for value in (held.access_key, held.token):
        assert value.isascii(), "no header can carry it"
        assert value.isprintable(), "it may be taken for another header"
    return True
