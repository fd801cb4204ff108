"""Which supplier sends the requests for a bucket: the lean one in the common case in Lambda, boto3 for everything unusual."""

from __future__ import annotations

import os
import threading

from s3warm.origin.base import KEPT, TransportError
from s3warm.origin.boto import BotoRequests
from s3warm.origin.places import can_serve, suits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3warm.origin.base import Page, Request, Requests, Response, Upload
    from s3warm.origin.lean import LeanRequests

__all__ = ["ChosenRequests"]

# What S3 answers to who asks the wrong region, or signs for it (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
_ELSEWHERE = frozenset(
    ("AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect", "TemporaryRedirect")
)


class ChosenRequests:
    """Supplier of requests over one of two others, chosen for each bucket at its first request.

    Args:
        how: `"auto"`: the lean one in Lambda, where it suits; `"lean"`: wherever it suits, and an error where it does not.
        environ: the environment.
        checksums: see `BotoRequests`.
    """

    retries = False
    connections = KEPT

    def __init__(self, how: str, environ: Mapping[str, str] = os.environ, *, checksums: bool = False) -> None:
        self._how = how
        self._environ = environ
        self._checksums = checksums
        self._boto = BotoRequests(checksums=checksums)
        self._making = threading.Lock()
        self._lean: LeanRequests | None = None  # its imports cost 18 ms, which a start from /tmp does without
        self._chosen: dict[str, Requests] = {}

    def get(self, request: Request) -> Response:
        """See `Requests.get`."""
        bucket = request.object.bucket
        supplier = self._chosen.get(bucket) or self._choose(bucket)
        answer = supplier.get(request)
        if supplier is self._lean and self._is_elsewhere(answer):
            answer.close()
            return self._to_boto(bucket).get(request)
        return answer

    def list(self, bucket: str, prefix: str, token: str, deadline: float | None = None, delimiter: str = "") -> Page:
        """See `Requests.list`."""
        supplier = self._chosen.get(bucket) or self._choose(bucket)
        page = supplier.list(bucket, prefix, token, deadline, delimiter)
        if supplier is self._lean and self._is_elsewhere(page):
            return self._to_boto(bucket).list(bucket, prefix, token, deadline, delimiter)
        return page

    def write(self, upload: Upload) -> Response:
        """See `Requests.write`."""
        bucket = upload.object.bucket
        supplier = self._chosen.get(bucket) or self._choose(bucket)
        answer = supplier.write(upload)
        if supplier is self._lean and self._is_elsewhere(answer):
            answer.close()
            return self._to_boto(bucket).write(upload)
        return answer

    def refresh_credentials(self) -> bool:
        """See `Requests.refresh_credentials`."""
        if self._lean is not None:
            self._lean.refresh_credentials()
        return self._boto.refresh_credentials()

    def renew(self) -> None:
        """See `Requests.renew`."""
        self._making = threading.Lock()
        if self._lean is not None:
            self._lean.renew()
        self._boto.renew()

    def close(self) -> None:
        """See `Requests.close`."""
        if self._lean is not None:
            self._lean.close()
        self._boto.close()

    def _choose(self, bucket: str) -> Requests:
        why = (can_serve if self._how == "lean" else suits)(self._environ, bucket)
        if why and self._how == "lean":
            message = f'origin="lean" cannot serve this bucket, since {why}'
            raise TransportError(message, advice='use origin="auto" or "boto3"', transient=False, outage=False)
        self._chosen[bucket] = chosen = self._boto if why else self._made()
        return chosen

    def _made(self) -> LeanRequests:
        with self._making:  # or two that begin at once would have one each, of which one is never closed
            if self._lean is None:
                from s3warm.origin.lean import LeanRequests

                self._lean = LeanRequests(self._environ, checksums=self._checksums)
            return self._lean

    def _to_boto(self, bucket: str) -> BotoRequests:
        """The bucket is in another region, and boto3 follows: for good."""
        self._chosen[bucket] = self._boto
        return self._boto

    def _is_elsewhere(self, answer: Response | Page) -> bool:
        return self._how == "auto" and (answer.status in (301, 307) or answer.code in _ELSEWHERE)
