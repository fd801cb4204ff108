"""Where a Valkey or Redis server is, as a URL tells it: pure, so that a setting is checked before anything is connected."""

from __future__ import annotations

from s3warm.record import NamedTuple

__all__ = ["Place", "parse"]

_SCHEMES = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}  # whether by TLS
_PARAMETERS = ("ca", "cluster", "iam", "region", "serverless", "service")
_SERVICES = ("elasticache", "memorydb")
_PORT = 6379
_RESERVED = "/ ? # @ : % in a user name or password are percent-encoded (%2F %3F %23 %40 %3A %25)"


class Place(NamedTuple):
    """A server, and who asks it. Its password is never printed."""

    host: str  # a name, or an address; IPv6 without brackets
    port: int = _PORT
    db: int = 0
    tls: bool = False
    user: str = ""  # "" is the default user
    password: str = ""  # "" is none
    cluster: bool = False
    iam: str = ""  # the cache or cluster that the user's IAM token is for; "" without IAM
    serverless: bool = False  # the cache is one of ElastiCache Serverless
    service: str = "elasticache"  # or memorydb
    region: str = ""  # "" is the environment's
    ca: str = ""  # file with the certificates to trust instead of the system's

    def __repr__(self) -> str:
        shown = self._replace(password="***" if self.password else "")
        return f"Place({', '.join(f'{name}={value!r}' for name, value in shown._asdict().items())})"


def parse(url: str) -> Place:
    """The parts of `redis://user:password@host:port/db?parameters`.

    The schemes are redis and valkey, and rediss and valkeys for TLS; user, password and parameters are percent-decoded. Parameters are
    `cluster=true`, `ca=<file>`, and for AWS `iam=<name of the cache or cluster>`, with `serverless=true`, `service=memorydb` and `region=`.

    Raises:
        ValueError: it is none. As a URL holds a password, the message quotes nothing of it but names of parameters.

    Example:
        >>> parse("valkeys://app:s%40cret@cache.example:6380/2")
        Place(host='cache.example', port=6380, db=2, tls=True, user='app', password='***', cluster=False, iam='', serverless=False, \
service='elasticache', region='', ca='')
        >>> parse("redis://cache.example?clutser=true")
        Traceback (most recent call last):
        ...
        ValueError: there is no parameter 'clutser'; did you mean cluster?
    """
    from urllib.parse import unquote, urlsplit

    if not url.isprintable() or " " in url:
        raise ValueError("it is to be a URL such as redis://host:6379/0, without spaces and line ends")
    if url.partition(":")[0] not in _SCHEMES or "://" not in url:
        raise ValueError(f"it is to begin with one of {', '.join(f'{scheme}://' for scheme in _SCHEMES)}")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
        user, password = (unquote(text or "", errors="strict") for text in (parts.username, parts.password))
    except ValueError:
        # Without the error, which quotes the URL.
        raise ValueError(f"host, port, user name or password cannot be read; {_RESERVED}") from None
    if parts.fragment or "#" in url or any("@" in text for text in (parts.path, parts.query)) or parts.netloc.count("@") > 1:
        raise ValueError(f"there is a # in it, or an @ where none belongs; {_RESERVED}")
    if not host or port == 0:
        raise ValueError("it names no host, as in redis://host:6379, or port 0")
    db = parts.path.removeprefix("/")
    if db and not (db.isascii() and db.isdigit() and len(db) < 6):
        raise ValueError(f"after the host comes the number of a database, as in redis://host:6379/0; {_RESERVED}")
    place = Place(host, _PORT if port is None else port, int(db or 0), _SCHEMES[parts.scheme], user, password)
    return _checked(_with_parameters(place, parts.query))


def _with_parameters(place: Place, query: str) -> Place:
    from urllib.parse import parse_qsl

    given: dict[str, str | bool] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _PARAMETERS:
            raise ValueError(f"there is no parameter {name!r}{_nearest(name)}")
        if name in given:
            raise ValueError(f"the parameter {name} is given twice")
        if not value or not value.isprintable():
            raise ValueError(f"the parameter {name} has no value, or none that can be read")
        if name in ("cluster", "serverless"):
            if value not in ("true", "false"):
                raise ValueError(f"{name}={value!r} is not understood; accepted: true, false")
            given[name] = value == "true"
        else:
            given[name] = value
    return place._replace(**given)  # type: ignore[arg-type]  # names and types are those of the parameters


def _checked(place: Place) -> Place:
    """The place, if its parts fit together."""
    if place.cluster and place.db:
        raise ValueError("a cluster has database 0 alone: leave the number out")
    if place.ca and not place.tls:
        raise ValueError("ca= is for TLS: the URL is to begin with rediss:// or valkeys://")
    if place.service not in _SERVICES:
        raise ValueError(f"service={place.service!r} is not understood; accepted: {', '.join(_SERVICES)}")
    if not place.iam:
        if place.serverless or place.region or place.service != _SERVICES[0]:
            raise ValueError("serverless=, service= and region= are for IAM: give iam=<name of the cache> with them")
        return place
    if not place.tls:
        raise ValueError("AWS takes IAM tokens by TLS alone: with iam= the URL is to begin with rediss:// or valkeys://")
    if not place.user or place.password:
        raise ValueError(
            "with iam= the URL has the user id that IAM knows and no password, as in rediss://user-id@host:6379?iam=cache"
        )
    if place.serverless and place.service != _SERVICES[0]:
        raise ValueError("serverless=true is for ElastiCache; MemoryDB has nothing of the kind")
    return place


def _nearest(name: str) -> str:
    from difflib import get_close_matches

    nearest = get_close_matches(name, _PARAMETERS, n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]}?" if nearest else f"; there are {', '.join(_PARAMETERS)}"
