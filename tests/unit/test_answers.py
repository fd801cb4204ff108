"""What S3 writes in XML."""

from __future__ import annotations

from xml.sax.saxutils import escape

import pytest

from s3warm.origin.answers import error_code, listing
from s3warm.origin.base import Listed, TransportError

XML = b'<?xml version="1.0" encoding="UTF-8"?>\n'
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (XML + b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>", "NoSuchKey"),
        (b"<Error><Code>SlowDown</Code></Error>", "SlowDown"),
        (
            b"\xef\xbb\xbf<?xml version='1.0'?><Error xmlns='x'><Resource>/a</Resource><Code> AccessDenied\n</Code></Error>",
            "AccessDenied",
        ),
        (XML + b"<Error><Message>&lt;Code&gt;Evil&lt;/Code&gt;</Message><Code>AccessDenied</Code></Error>", "AccessDenied"),
        (XML + b"<Error><Code>A</Code><Code>B</Code></Error>", "A"),
        (b"<Error><Message>\xff</Message><Code>InvalidURI</Code></Error>", "InvalidURI"),
        # what is not believed
        (b"", ""),
        (b"<Error></Error>", ""),
        (b"<Error><Code></Code></Error>", ""),
        (b"<Error><Code>NoSuchKey", ""),
        (b"<Error><Code>&amp;</Code></Error>", ""),
        (b"<Error><Code>No<b/>Key</Code></Error>", ""),
        (b"<Error><Code>a b</Code></Error>", ""),
        (b"<Error><Code>" + b"x" * 101 + b"</Code></Error>", ""),
        ("<Error><Code>Nö</Code></Error>".encode(), ""),
        (b"<Error><!-- <Code>Evil</Code> --><Code>AccessDenied</Code></Error>", ""),
        (b"<Error><Message><![CDATA[<Code>Evil</Code>]]></Message><Code>AccessDenied</Code></Error>", ""),
        (b'<!DOCTYPE Error [<!ENTITY e "Evil">]><Error><Code>&e;</Code></Error>', ""),
        (XML + b'<!DOCTYPE a [<!ENTITY a "<Code>Evil</Code>">]><Error>&a;</Error>', ""),
        (b"<html><Error><Code>NoSuchKey</Code></Error></html>", ""),
        (b"<Errors><Code>NoSuchKey</Code></Errors>", ""),
        (b"<html><body>502 Bad Gateway</body></html>", ""),
        (b'{"Code": "NoSuchKey"}', ""),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_the_code_of_an_error(body: bytes, code: str) -> None:
    assert error_code(body) == code


WRITTEN = 1767225600.0  # 2026-01-01


def page(*keys: str, head: str = "<IsTruncated>false</IsTruncated>", encoded: bool = False) -> bytes:
    from urllib.parse import quote_plus

    rows = "".join(
        f"<Contents><Key>{escape(quote_plus(key, safe='/') if encoded else key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{number}-2&quot;</ETag><Size>{number}</Size><Owner><ID>x</ID><Key>no</Key></Owner><StorageClass>STANDARD</StorageClass></Contents>"
        for number, key in enumerate(keys)
    )
    kind = "<EncodingType>url</EncodingType>" if encoded else ""
    prefix = "<Prefix>a</Prefix><CommonPrefixes><Prefix>b</Prefix></CommonPrefixes>"
    return XML + f'<ListBucketResult xmlns="{NAMESPACE}"><Name>b</Name>{prefix}{head}{kind}{rows}</ListBucketResult>'.encode()


ODD = ["a", "a b", "a+b", "a%2Bb", "é/漢字/🪣", "<&>\"'", "a//b/../c", " lead", "x\u2028y", "a;b", "1" * 1024]


@pytest.mark.parametrize("encoded", [False, True])
def test_keys_are_what_they_are(encoded: bool) -> None:
    objects, prefixes, token = listing(page(*ODD, encoded=encoded))
    assert objects == [Listed(key, f'"{number}-2"', number, WRITTEN) for number, key in enumerate(ODD)]
    assert (prefixes, token) == (["b"], "")


@pytest.mark.parametrize("encoded", [False, True])
def test_common_prefixes_are_what_they_are_and_no_objects(encoded: bool) -> None:
    from urllib.parse import quote_plus

    rows = "".join(
        f"<CommonPrefixes><Prefix>{escape(quote_plus(prefix, safe='/') if encoded else prefix)}</Prefix></CommonPrefixes>"
        for prefix in ODD
    )
    said = page("a b", encoded=encoded).replace(b"</ListBucketResult>", rows.encode() + b"</ListBucketResult>")
    objects, prefixes, _ = listing(said)
    assert [listed.key for listed in objects] == ["a b"]
    assert prefixes == ["b", *ODD]


def test_a_date_that_is_none_is_none() -> None:
    ((listed,), _, _) = listing(page("a").replace(b"2026-01-01T00:00:00.000Z", b"yesterday"))
    assert listed == Listed("a", '"0-2"', 0, None)


def test_keys_that_xml_cannot_hold_come_encoded() -> None:
    (listed,), _, _ = listing(page("a\x00\x01\nb\x7f", encoded=True))
    assert listed.key == "a\x00\x01\nb\x7f"


def test_a_thousand_keys_and_the_token_for_more() -> None:
    head = "<KeyCount>1000</KeyCount><IsTruncated>true</IsTruncated><NextContinuationToken>a+/=&amp;</NextContinuationToken>"
    keys = [f"folder/{'é' * 300}/{number}" for number in range(1000)]
    objects, _, token = listing(page(*keys, head=head, encoded=True))
    assert [listed.key for listed in objects] == keys
    assert sum(listed.size for listed in objects) == 499_500
    assert token == "a+/=&"


def test_the_last_page_has_no_token() -> None:
    assert listing(page("a", head="<IsTruncated>false</IsTruncated><NextContinuationToken>x</NextContinuationToken>"))[2] == ""
    assert listing(page()) == ([], ["b"], "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<ListBucketResult>",
        page("a")[:-5],
        page("a").replace(b"<Size>0</Size>", b""),
        page("a").replace(b"<Size>0</Size>", b"<Size>x</Size>"),
        page("a").replace(b"<Size>0</Size>", b"<Size>-5</Size>"),
        page("a").replace(b"<Size>0</Size>", b"<Size>1_0</Size>"),
        page("a").replace(b"<Size>0</Size>", "<Size>٣</Size>".encode()),
        page("a").replace(b"<Size>0</Size>", b"<Size>" + b"9" * 19 + b"</Size>"),
        page("a").replace(b"<Key>a</Key>", b""),
        page("a").replace(b"<CommonPrefixes><Prefix>b</Prefix>", b"<CommonPrefixes>"),
        b'<?xml version="1.0" encoding="x"?>' + page("a").removeprefix(XML),
        page("a").replace(b"ListBucketResult", b"Error"),
        b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">]><ListBucketResult><Prefix>&a;</Prefix></ListBucketResult>',
        b"<html><body>captive portal</body></html>",
        b"<html/><ListBucketResult/>",
    ],
    ids=lambda value: repr(value)[:50],
)
def test_what_is_no_page(body: bytes) -> None:
    with pytest.raises(TransportError, match="no page of a listing"):
        listing(body)
