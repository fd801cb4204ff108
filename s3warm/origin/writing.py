"""One PUT: what is sent, asked for again where that is worth it, and what S3 then has."""

from __future__ import annotations

from s3warm import deadlines
from s3warm.entries import Metadata
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


def write(exchange: Exchange, upload: Upload) -> Metadata:
    """Write an object, and say what S3 has said of it.

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
    return _described(upload, response)


def _described(upload: Upload, response: Response) -> Metadata:
    headers = response.headers
    etag, verified_by = headers.get("etag", ""), "length"
    md5 = md5_of_etag(upload.object, headers)
    if md5 is not None:
        import hashlib

        if hashlib.md5(upload.body, usedforsecurity=False).hexdigest() != md5:
            key = upload.object
            message = f"{key} was written, but its ETag {etag} is not that of the body; something on the way has changed it"
            raise IntegrityError(message, bucket=key.bucket, key=key.key)
        verified_by = "md5"
    version = headers.get("x-amz-version-id")
    return Metadata(
        etag=etag if etag.isascii() and etag.isprintable() else "",
        size=len(upload.body),
        version_id=version if version != "null" else None,
        content_type=upload.content_type or _UNNAMED,
        content_encoding=upload.content_encoding,
        cache_control=upload.cache_control,
        user=dict(upload.user) or None,
        verified_by=verified_by,
    )


def _denied(key: ObjectKey) -> str:
    return f"writing {key} is denied; the role needs s3:PutObject on arn:aws:s3:::{key.bucket}/{key.key}"
