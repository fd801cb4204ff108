"""One PUT: what is sent, asked for again where that is worth it, and what S3 then has."""

from __future__ import annotations

from s3warm import deadlines
from s3warm.errors import AccessDeniedError, IntegrityError, ObjectNotFoundError
from s3warm.origin import failures
from s3warm.origin.integrity import md5_of_etag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.keys import ObjectKey
    from s3warm.origin.base import Response, Upload
    from s3warm.origin.exchange import Exchange
    from s3warm.origin.failures import Failure

__all__ = ["write"]

_UNNAMED = "binary/octet-stream"  # the type that S3 gives to what has none


def write(exchange: Exchange, upload: Upload) -> tuple[dict[str, str], str]:
    """Write an object: the headers that describe it from then on, and what S3's answer was verified by.

    A PUT is idempotent, and so is sent again like a GET (RFC 9110, section 9.2.2).

    Raises:
        AccessDeniedError: the role may not.
        ObjectNotFoundError: there is no such bucket.
        OriginUnavailableError: S3 cannot be reached, or has not answered: the object may be written all the same.
        IntegrityError: S3 has stored something else.
    """
    key = upload.object
    upload = upload._replace(deadline=deadlines.until())

    def refused(response: Response) -> Failure | None:
        if response.status == 200:
            return None
        response.close()
        if response.status == 403 and response.code == "AccessDenied":
            return failures.Failure(AccessDeniedError(_denied(key), bucket=key.bucket, key=key.key))
        if response.status == 404:
            message = (
                f"{key} could not be written: there is no bucket {key.bucket!r}; check its name and the endpoint that is asked"
            )
            return failures.Failure(ObjectNotFoundError(message, bucket=key.bucket, key=key.key))
        return failures.of_response(key, response, doing="written")

    response = exchange.ask(key, lambda: exchange.requests.write(upload), refused, doing="written")
    response.close()
    headers = response.headers
    told = {name: headers[name] for name in ("etag", "x-amz-version-id") if name in headers}
    return {**dict(upload.headers()), "content-type": upload.content_type or _UNNAMED, **told}, _verified(upload, response)


def _verified(upload: Upload, response: Response) -> str:
    md5 = md5_of_etag(upload.object, response.headers)
    if md5 is None:
        return "length"
    import hashlib

    if hashlib.md5(upload.body, usedforsecurity=False).hexdigest() != md5:
        key, etag = upload.object, response.headers["etag"]
        message = f"{key} was written, but its ETag {etag} is not that of the body; something on the way has changed it"
        raise IntegrityError(message, bucket=key.bucket, key=key.key)
    return "md5"


def _denied(key: ObjectKey) -> str:
    return f"writing {key} is denied; the role needs s3:PutObject on arn:aws:s3:::{key.bucket}/{key.key}"
