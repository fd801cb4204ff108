"""Where a bucket is asked for, and whether the lean origin may ask for it: the common case in Lambda, and nothing else."""

from __future__ import annotations

import os

from s3warm.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Place", "Url", "can_serve", "place_of", "region_of", "suits", "url_of"]

_LABEL = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_HOST = _LABEL | frozenset(".:_")
_PORTS = {"http": 80, "https": 443}
# botocore's partitions aws and aws-cn, and GovCloud; others (iso, eusc) have other suffixes.
_AREAS = frozenset(("us", "eu", "ap", "sa", "ca", "me", "af", "il", "mx"))

# Whatever changes what boto3 does, and is not done here.
_SETTINGS = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "AWS_DATA_PATH",
    "AWS_AUTH_SCHEME_PREFERENCE",
    "AWS_SIGV4A_SIGNING_REGION_SET",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
_SWITCHES = ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_S3_USE_ACCELERATE_ENDPOINT")
_SUFFIXES = (
    ("-s3alias", "an access point's alias"),
    ("--ol-s3", "an Object Lambda access point's alias"),
    ("--x-s3", "a directory bucket"),
    ("--xa-s3", "an access point of a directory bucket"),
    ("--table-s3", "a table bucket"),
)
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class Url(NamedTuple):
    """The parts of a URL: `path` has what follows the authority, a query too."""

    scheme: str
    host: str  # in lower case; an IPv6 address without brackets
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The header Host: the port is left out where it is the scheme's own, as botocore's signature leaves it out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class Place(NamedTuple):
    """Whom to connect to, and how the requests for one bucket begin."""

    scheme: str
    address: str
    port: int
    host: str  # the header
    root: str  # what comes before the slash and the key: "" or "/bucket"


def url_of(text: str) -> Url:
    """The parts of a URL of the schemes http and https.

    Raises:
        ValueError: it is none, or has parts that nothing here needs (a user, a fragment).

    Example:
        >>> url_of("http://127.0.0.1:9000/a?b")
        Url(scheme='http', host='127.0.0.1', port=9000, path='/a?b')
    """
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _PORTS or "#" in rest or not (rest.isascii() and rest.isprintable()) or " " in rest:
        raise ValueError("it is no URL of http or https")
    end = min((found for found in (rest.find("/"), rest.find("?")) if found >= 0), default=len(rest))
    authority, path = rest[:end].lower(), rest[end:]
    if authority.startswith("["):
        host, closed, port = authority[1:].partition("]")
        if not closed or (port and port[0] != ":"):
            raise ValueError("its host is none")
        port = port[1:]
    else:
        host, _, port = authority.partition(":")
    if not host or not _HOST.issuperset(host) or (port and not port.isdigit()):
        raise ValueError("its host or its port is none")
    number = int(port) if port else _PORTS[scheme]
    if not 0 < number < 65536:
        raise ValueError("its port is none")
    return Url(scheme, host, number, path)


def region_of(environ: Mapping[str, str]) -> str:
    """The region, or ""; Lambda sets both variables, botocore reads the second one alone."""
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""


def place_of(environ: Mapping[str, str], bucket: str) -> Place:
    """Where a bucket is: below a configured endpoint, as boto3 has it, or a host of its own at AWS's.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html

    Raises:
        ValueError: the endpoint is no URL.
    """
    if endpoint := _endpoint(environ):
        url = url_of(endpoint)
        return Place(url.scheme, url.host, url.port, url.authority, f"{url.path.rstrip('/')}/{bucket}")
    region = region_of(environ)
    host = f"{bucket}.s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    return Place("https", host, 443, host, "")


def suits(environ: Mapping[str, str], bucket: str, *, exists: Callable[[str], bool] = os.path.exists) -> str:
    """Empty if the lean origin may serve this bucket by itself; otherwise the reason why it is boto3's."""
    if not environ.get("AWS_LAMBDA_RUNTIME_API"):
        return "this is not Lambda"
    return can_serve(environ, bucket, exists=exists)


def can_serve(environ: Mapping[str, str], bucket: str, *, exists: Callable[[str], bool] = os.path.exists) -> str:
    """Empty if the lean origin is able to serve this bucket, in Lambda or elsewhere; otherwise the reason why it is not."""
    return _unlike_others(bucket) or _unlike_lambda(environ, exists) or _elsewhere(environ)


def _unlike_others(bucket: str) -> str:
    """What is special about a bucket (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html)."""
    if bucket.startswith("arn:"):
        return "the bucket is an ARN"
    if "." in bucket:
        return "the bucket's name has a dot, which no certificate covers"
    if not 3 <= len(bucket) <= 63 or not _LABEL.issuperset(bucket) or bucket[0] == "-" or bucket[-1] == "-":
        return "the bucket's name is no host name"
    for suffix, kind in _SUFFIXES:
        if bucket.endswith(suffix):
            return f"the bucket is {kind}"
    return ""


def _unlike_lambda(environ: Mapping[str, str], exists: Callable[[str], bool]) -> str:
    """What the environment has that Lambda's own has not."""
    for name in _SETTINGS:
        if environ.get(name):
            return f"{name} is set"
    for name in _SWITCHES:
        if environ.get(name, "").lower() not in ("", "false"):
            return f"{name} is set"
    for name in _PROXIES:
        if environ.get(name) or environ.get(name.upper()):
            return f"{name.upper()} is set"
    home = environ.get("HOME")
    if home and (exists(f"{home}/.aws/config") or exists(f"{home}/.aws/credentials")):
        return f"there is a configuration in {home}/.aws"
    if environ.get("AWS_ACCESS_KEY_ID"):
        return "" if environ.get("AWS_SECRET_ACCESS_KEY") else "AWS_SECRET_ACCESS_KEY is missing"
    if environ.get("AWS_WEB_IDENTITY_TOKEN_FILE") or not environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        return "the credentials are neither in the environment nor at the container's endpoint"
    return ""


def _elsewhere(environ: Mapping[str, str]) -> str:
    """What is special about region and endpoint."""
    region, other = region_of(environ), environ.get("AWS_DEFAULT_REGION")
    if not region:
        return "there is no region"
    if other and other != region:
        return "AWS_REGION and AWS_DEFAULT_REGION differ"
    if endpoint := _endpoint(environ):
        try:
            return "the endpoint's URL has a query" if "?" in url_of(endpoint).path else ""
        except ValueError as error:
            return f"the endpoint's URL cannot be used: {error}"
    area, *rest = region.split("-")
    govcloud = area == "us" and rest[:1] == ["gov"]
    named = rest[1:] if govcloud else rest
    unusual = (area not in _AREAS and area != "cn") or len(named) != 2 or not named[0].isalpha() or not named[1].isdigit()
    if unusual or not region.isascii():
        return f"{region} is a region with other host names"
    return ""


def _endpoint(environ: Mapping[str, str]) -> str:
    """https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html."""
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return ""
    return environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or ""
