"""What a failed answer of S3 means for the caller, in words that help."""

from __future__ import annotations

from s3warm.errors import AccessDeniedError, IntegrityError, ObjectNotFoundError, OriginUnavailableError
from s3warm.keys import ObjectKey
from s3warm.origin.base import Late
from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3warm.errors import S3WarmError
    from s3warm.origin.base import Page, Response, TransportError

__all__ = [
    "UNREACHED",
    "Failure",
    "another_range",
    "changed",
    "of_page",
    "of_response",
    "of_transport",
    "unpinned",
    "unverifiable",
]

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_CREDENTIAL_CODES = frozenset(
    (
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidSecurity",
        "InvalidToken",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    )
)
_TRANSIENT_CODES = frozenset(("RequestTimeout", "SlowDown", "Throttling", "RequestLimitExceeded"))
_DENIED_CODES = frozenset(("AccessDenied", "AllAccessDisabled"))  # a 403 without a code is some proxy's

# Advice where no connection came about in time.
UNREACHED = "check the network; a function in a VPC needs a gateway endpoint for S3"


class Failure(NamedTuple):
    """The error to raise, and what may be tried before it is raised."""

    error: S3WarmError
    transient: bool = False  # asking again may help
    credentials: bool = False  # new credentials may help


def of_response(key: ObjectKey, response: Response | Page, *, doing: str = "fetched") -> Failure:
    """The failure that an answer stands for which is not the one that was wanted."""
    status, code = response.status, response.code
    if status == 404 or (status == 405 and response.headers.get("x-amz-delete-marker") == "true"):
        return Failure(ObjectNotFoundError(_not_found(key, code), bucket=key.bucket, key=key.key))
    if status == 403 and code in _DENIED_CODES:
        return Failure(AccessDeniedError(_denied(key), bucket=key.bucket, key=key.key))
    said = f"S3 answered {status}{f' {code}' if code else ''}"
    if code == "InvalidObjectState":
        why = "the object is archived; restore it (RestoreObject) or copy it to another storage class"
        return Failure(_unavailable(key, why, outage=False, doing=doing))
    if code in _CREDENTIAL_CODES:
        advice = (
            "check the clock"
            if code == "RequestTimeTooSkewed"
            else "check the function's role, or the credentials in the environment"
        )
        return Failure(_unavailable(key, f"{said}; {advice}", doing=doing), credentials=True)
    if code in ("PermanentRedirect", "IllegalLocationConstraintException") or status in (301, 307):
        elsewhere = f"{said}; the bucket is in another region, set AWS_REGION or give a client for it"
        return Failure(_unavailable(key, elsewhere, doing=doing))
    if status >= 500 or status == 429 or code in _TRANSIENT_CODES:
        return Failure(_unavailable(key, said, doing=doing), transient=True)
    # What is left is about this one request (InvalidRequest, KeyTooLongError, ...): the endpoint is well.
    return Failure(_unavailable(key, said, outage=False, doing=doing))


def of_page(bucket: str, prefix: str, page: Page) -> Failure:
    """The failure that an answer other than 200 to a listing stands for."""
    uri = f"s3://{bucket}/{prefix}"
    if page.status == 404:
        message = f"{uri}: there is no bucket {bucket!r}; check its name and the account or endpoint that is asked"
        return Failure(ObjectNotFoundError(message, bucket=bucket, key=prefix))
    if page.status == 403 and page.code in _DENIED_CODES:
        message = f"{uri} cannot be listed; the role needs s3:ListBucket on arn:aws:s3:::{bucket}"
        return Failure(AccessDeniedError(message, bucket=bucket, key=prefix))
    return of_response(ObjectKey(bucket, prefix), page)


def another_range(key: ObjectKey) -> Failure:
    """The failure that a body stands for which is not the range that was asked for."""
    return Failure(_unavailable(key, "the server sends something else than the range of it that was asked for", outage=False))


def changed(key: ObjectKey) -> OriginUnavailableError:
    """The error for an object that is overwritten faster than it can be fetched."""
    return _unavailable(key, "it was overwritten while it was on its way, and again when it was asked for anew", outage=False)


def unverifiable(key: ObjectKey) -> IntegrityError:
    """The error for an object that is to be verified and cannot be."""
    message = (
        f'{key} cannot be verified, as verify="require" wants it: S3 gives no MD5 and no checksum of the whole object that can be '
        "computed here (CRC32C and CRC64NVME need awscrt), or it is read as a stream; upload it with a full-object checksum"
    )
    return IntegrityError(message, bucket=key.bucket, key=key.key)


def unpinned(key: ObjectKey) -> OriginUnavailableError:
    """The error for a jump in a stream of an object that has nothing to tell its versions apart."""
    return _unavailable(
        key, "the server gives it no strong ETag, so it can only be read in order; read all of it", outage=False
    )


def of_transport(key: ObjectKey, error: TransportError, *, doing: str = "fetched") -> Failure:
    """The failure that no answer, or half of one, stands for."""
    advice = f"; {error.advice}" if error.advice else ""
    unavailable = _unavailable(key, f"{error}{advice}", outage=error.outage, doing=doing)
    if isinstance(error, Late):
        unavailable.late, unavailable.silence = True, error.waited
    return Failure(
        unavailable,
        transient=error.transient,
        credentials=error.credentials,
    )


def _unavailable(key: ObjectKey, why: str, *, outage: bool = True, doing: str = "fetched") -> OriginUnavailableError:
    error = OriginUnavailableError(f"{key} could not be {doing}: {why}", bucket=key.bucket, key=key.key)
    error.outage = outage
    return error


def _not_found(key: ObjectKey, code: str) -> str:
    if code == "NoSuchBucket":
        return f"{key}: there is no bucket {key.bucket!r}; check its name and the account or endpoint that is asked"
    if code == "NoSuchVersion" or (key.version_id and code != "NoSuchKey"):
        return f"{key}: the object has no such version, or that version is a delete marker"
    message = f"{key} does not exist; check the key"
    if "%" in key.key or "+" in key.key:
        message += "; keys in S3 event notifications are URL-encoded: decode them with urllib.parse.unquote_plus() before they are used here"
    if "*" in key.key:
        message += "; for a pattern ask glob()"
    return message


def _denied(key: ObjectKey) -> str:
    return (
        f"access to {key} is denied; the role needs s3:GetObject on arn:aws:s3:::{key.bucket}/{key.key}"
        + (" and s3:GetObjectVersion" if key.version_id else "")
        + " (and kms:Decrypt if it is encrypted with KMS). Without s3:ListBucket a key that does not exist looks the same"
    )
