"""The endpoint on the same host that has the credentials of a container, or of a function after a restore: asked by one GET."""

from __future__ import annotations

from s3warm.origin.base import TransportError
from s3warm.origin.connections import AGENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.origin.connections import Connections
    from s3warm.origin.places import Url

__all__ = ["ask_endpoint"]

_LONGEST = 64 * 1024  # bytes of an answer


def ask_endpoint(connections: Connections, url: Url, token: str, deadline: float | None) -> tuple[int, bytes]:
    """Status and body of its answer.

    Raises:
        TransportError: it cannot be asked.
        Late: it has not answered by the deadline.
    """
    authorization = f"authorization: {token}\r\n" if token else ""
    path = url.path if url.path.startswith("/") else f"/{url.path}"
    request = f"GET {path} HTTP/1.1\r\nhost: {url.authority}\r\n{authorization}accept: application/json\r\n{AGENT}\r\n"
    try:
        lines = request.encode("ascii")
    except UnicodeError:
        raise TransportError("the address or the token of the credentials' endpoint is not ASCII", transient=False) from None
    answer = connections.ask(url.scheme, url.host, url.port, lines, deadline)
    try:
        return answer.status, answer.read(_LONGEST)
    finally:
        answer.close()
