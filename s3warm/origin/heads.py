"""The head of an HTTP answer: status line and headers (RFC 9112, sections 4 and 5)."""

from __future__ import annotations

from s3warm.origin.base import TransportError

__all__ = ["length_of", "malformed", "parsed"]


def parsed(head: str) -> tuple[int, int, dict[str, str]]:
    """The minor version, the status and the headers of an answer (RFC 9112, sections 4 and 5)."""
    lines = head.split("\r\n")
    if head.count("\n") + head.count("\r") != 2 * len(lines) - 2 or "\0" in head:
        raise malformed("there are stray control characters in its head")
    first, status = lines[0], lines[0][9:12]
    # The reason may be missing, and the space before it.
    if first[:7] != "HTTP/1." or first[7:9] not in ("0 ", "1 ") or not _digits(status) or first[12:13] not in ("", " "):
        raise malformed("it begins with no status line")
    if not 100 <= int(status) <= 599:
        raise malformed(f"its status is {status!r}")
    headers: dict[str, str] = {}
    name = ""
    for line in lines[1:]:
        if line[0] in " \t" and name:  # folded, as no one should (section 5.2)
            headers[name] = f"{headers[name]} {line.strip()}".strip()
            continue
        name, colon, value = line.partition(":")
        if not colon or not name or name[-1] in " \t" or name[0] in " \t":
            raise malformed("a line of its head is no header")
        name = name.lower()
        value = value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return int(first[7]), int(status), headers


def length_of(said: str) -> int:
    """A Content-Length; the same one twice is allowed (RFC 9112, section 6.3)."""
    lengths = {length.strip() for length in said.split(",")}
    length = lengths.pop()
    if lengths or not _digits(length) or len(length) > 18:
        raise malformed("its Content-Length is no length")
    return int(length)


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def malformed(why: str) -> TransportError:
    """The error for an answer that breaks the protocol. It quotes nothing: what stands in the wrong place may be a body, or a secret."""
    return TransportError(f"this is no answer of HTTP/1.1: {why}")
