"""What S3 writes in XML: the code of an error, and a page of a listing."""

from __future__ import annotations

from s3warm.origin.base import Listed, TransportError
from s3warm.origin.dates import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["error_code", "listing"]

_CODE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_LONGEST = 100  # characters


def error_code(body: bytes) -> str:
    """S3's code of an error, "" where the body is none of S3's (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).

    One element does not need a parser: what could fool the search (comments, CDATA, a DOCTYPE with entities) S3 does not send, and whatever has
    it is not believed.

    Example:
        >>> error_code(b"<Error><Code>NoSuchKey</Code></Error>")
        'NoSuchKey'
    """
    text = body.decode("utf-8", "replace").removeprefix("\ufeff").lstrip()
    if text.startswith("<?xml"):
        text = text.partition("?>")[2].lstrip()
    if not text.startswith(("<Error>", "<Error ")) or "<!" in text:
        return ""
    code, end, _ = text.partition("<Code>")[2].partition("</Code>")
    code = code.strip()
    return code if end and 0 < len(code) <= _LONGEST and _CODE.issuperset(code) else ""


def listing(body: bytes) -> tuple[list[Listed], list[str], str]:  # noqa: C901  # a parser's callbacks share its state
    """The objects of a page, its common prefixes, and the token for the next one, "" at the last.

    ListObjectsV2, keys with `encoding-type=url` (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html).

    expat by itself takes a seventh of the import of xml.etree.

    Raises:
        TransportError: the body is no page of a listing.
    """
    from urllib.parse import unquote_plus
    from xml.parsers import expat

    objects: list[Listed] = []
    prefixes: list[str] = []
    page: dict[str, str] = {}
    item: dict[str, str] = {}
    text: list[str] = []
    path: list[str] = []

    def start(name: str, _: dict[str, str]) -> None:
        path.append(name)
        text.clear()

    def end(name: str) -> None:
        if len(path) == 2:
            if name == "Contents":
                objects.append(Listed(item["Key"], item.get("ETag", ""), _size(item["Size"]), moment(item.get("LastModified"))))
                item.clear()
            elif name == "CommonPrefixes":
                prefixes.append(item["Prefix"])
                item.clear()
            else:
                page[name] = "".join(text)
        elif len(path) == 3 and path[1] in ("Contents", "CommonPrefixes"):
            item[name] = "".join(text)
        path.pop()
        text.clear()
        if not path and name != "ListBucketResult":
            raise ValueError(f"it is a {name}")

    def refuse(*_: object) -> NoReturn:
        raise ValueError("it declares a document type")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = refuse
    wrong = ""
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        # Python raises LookupErrors: an element is missing, or the page names an encoding that there is not.
        wrong = type(error).__name__
    if wrong:  # without the error, which may quote the body
        raise TransportError(f"this is no page of a listing ({wrong})")
    if page.get("EncodingType") == "url":
        objects = [found._replace(key=unquote_plus(found.key)) for found in objects]
        prefixes = [unquote_plus(found) for found in prefixes]
    return objects, prefixes, page.get("NextContinuationToken", "") if page.get("IsTruncated", "true") == "true" else ""


def _size(text: str) -> int:
    """A number of bytes; `int` would take a sign, underscores and other scripts' digits as well."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise ValueError(f"a size is {text[:40]!r}")
    return int(digits)
