"""The peers, each as its users write it and holding one body. Only `make bench` installs them, so each is imported where it is made."""

from __future__ import annotations

import functools
import itertools
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Lock
    from typing import Any

    from cachetools import TTLCache

    Fetch = Callable[[str, str], bytes]

__all__ = [
    "Files",
    "cached_with_lock",
    "disk_cache",
    "lru",
    "powertools_get_parameter",
    "powertools_provider",
    "read_file",
    "ttl_cache",
    "write_file",
]

TTL = 24 * 3600
_SIZE = 1024


def lru(fetch: Fetch) -> Fetch:
    """`functools.lru_cache`: no expiry."""
    return functools.lru_cache(maxsize=_SIZE)(fetch)


def ttl_cache(bucket: str, key: str, body: bytes) -> tuple[TTLCache[tuple[str, str], bytes], Lock]:
    """A cachetools `TTLCache` that holds the body, and the lock that its documentation asks for."""
    from cachetools import TTLCache

    cache: TTLCache[tuple[str, str], bytes] = TTLCache(maxsize=_SIZE, ttl=TTL)
    cache[bucket, key] = body
    return cache, threading.Lock()


def cached_with_lock(fetch: Fetch) -> Fetch:
    """cachetools' decorator: `@cached(TTLCache(...), lock=Lock())`."""
    from cachetools import TTLCache, cached

    cache: TTLCache[Any, bytes] = TTLCache(maxsize=_SIZE, ttl=TTL)
    decorated: Fetch = cached(cache, lock=threading.Lock())(fetch)
    return decorated


def powertools_provider(fetch: Fetch, bucket: str) -> Callable[..., object]:
    """`get` of a provider of one's own, as Powertools' documentation shows for S3."""
    from aws_lambda_powertools.utilities.parameters import BaseProvider

    class S3Provider(BaseProvider):
        def _get(self, name: str, **sdk_options: Any) -> Any:
            return fetch(bucket, name)

        def _get_multiple(self, path: str, **sdk_options: Any) -> dict[str, Any]:
            raise NotImplementedError

    untyped: Any = S3Provider
    provider: BaseProvider = untyped()
    return provider.get


def powertools_get_parameter(fetch: Fetch, bucket: str) -> Callable[..., object]:
    """`parameters.get_parameter`, with a default provider whose client is nobody."""
    from aws_lambda_powertools.utilities.parameters import SSMProvider, get_parameter
    from aws_lambda_powertools.utilities.parameters.constants import DEFAULT_PROVIDERS

    class NoSSM(SSMProvider):
        def _get(self, name: str, decrypt: bool = False, **sdk_options: Any) -> Any:
            return fetch(bucket, name)

    nobody: Any = object()
    DEFAULT_PROVIDERS["ssm"] = NoSSM(boto3_client=nobody)
    return get_parameter


def disk_cache(directory: str) -> Any:
    """A `diskcache.Cache` with its defaults, but for room for everything that is put into it."""
    import diskcache

    return diskcache.Cache(directory, size_limit=2**32)


def write_file(path: str, data: bytes) -> None:
    """A raw write: a new file, no rename, no sync."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


class Files:
    """Raw files, one after the other: each has a name of its own, and the one before it is removed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._numbers = itertools.count()
        self._last = ""

    def write(self, data: bytes) -> None:
        """Write the next one."""
        last, self._last = self._last, f"{self._path}-{next(self._numbers)}"
        write_file(self._last, data)
        if last:
            os.unlink(last)


def read_file(path: str, size: int) -> bytes:
    """A raw read of the whole file into one allocation."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)
