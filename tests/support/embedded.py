"""An S3 server within the test process: moto's, for unit tests and demonstrations."""

from __future__ import annotations

import contextlib
import http.client
import logging
from types import TracebackType
from typing import Self

from moto.server import ThreadedMotoServer


class EmbeddedS3:
    """moto's server in a thread, on a free port of the loopback; it accepts any credentials.

    moto keeps its buckets in globals of the process: two servers at a time share them, and they outlive a server,
    so that `reset` is what separates one test from the next.
    """

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self.address: tuple[str, int] = self._server.get_host_and_port()
        self.endpoint = "http://{}:{}".format(*self.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def reset(self) -> None:
        """Forget all buckets."""
        connection = http.client.HTTPConnection(*self.address)
        with contextlib.closing(connection):
            connection.request("POST", "/moto-api/reset")
            status = connection.getresponse().status
        if status != http.HTTPStatus.OK:
            raise RuntimeError(f"moto answered {status} to a reset")

    def close(self) -> None:
        """Stop the server."""
        self._server.stop()
