"""Caches of different principals or endpoints on one directory: none ever sees, evicts by `clear`, or invalidates what another has."""

from __future__ import annotations

import contextlib
import os
import random
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from s3warm import Cache, ObjectNotFoundError
from s3warm.testing import FakeCache, FakeS3
from tests.faults.tried import SOAK
from tests.support.entries import noise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from s3warm import Settings

STEPS = 3000 if SOAK else 300
SESSION = boto3.session.Session()  # its model of S3 is read once
BUCKET = "bucket"
SIZES = {"inline": 100, "file.bin": 60_000, "t/a": 10, "t/b.bin": 50_000}


class Tenant(FakeCache):
    """A cache over an S3 of its own, in the namespace that a client or an environment gets."""

    def __init__(self, s3: FakeS3, namespace: str, **options: Any) -> None:
        self._its = namespace
        super().__init__(s3, **options)

    def _namespace(self, settings: Settings, client: Any) -> str:
        return self._its


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "S3WARM_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@contextlib.contextmanager
def environment(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Iterator[None]:
    with monkeypatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


def client(
    key_id: str = "AKIA1", *, token: str | None = None, endpoint: str = "http://127.0.0.1:1", region: str = "eu-west-1"
) -> Any:
    secrets: dict[str, Any] = {"aws_access_key_id": key_id, "aws_secret_access_key": "secret", "aws_session_token": token}
    return SESSION.client("s3", region_name=region, endpoint_url=endpoint, **secrets)


def namespace(tmp_path: Path, **options: Any) -> str:
    """That of a real cache."""
    with Cache(directory=tmp_path / "unused", **options) as cache:
        assert cache._disk_tier is not None
        return cache._disk_tier.namespace


def tenants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The namespaces of all that must not meet."""
    found = {
        "one key": namespace(tmp_path, client=client()),
        "another key": namespace(tmp_path, client=client("AKIA2")),
        "another endpoint": namespace(tmp_path, client=client(endpoint="http://127.0.0.1:2")),
        "another region": namespace(tmp_path, client=client(region="eu-west-2")),
        "temporary": namespace(tmp_path, client=client(token="1")),
        "temporary again": namespace(tmp_path, client=client(token="1")),
        "named a": namespace(tmp_path, namespace="a"),
        "named b": namespace(tmp_path, namespace="b"),
        "named as a prefix": namespace(tmp_path, namespace="a "),
        "named, verified": namespace(tmp_path, namespace="a", verify="require"),
    }
    chains: dict[str, dict[str, str]] = {
        "chain": {},
        "chain, another key": {"AWS_ACCESS_KEY_ID": "AKIA2"},
        "chain, a profile": {"AWS_PROFILE": "p"},
        "chain, a role": {"AWS_ROLE_ARN": "arn:aws:iam::1:role/r"},
        "chain, a container": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1/1"},
        "chain, another endpoint": {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:2"},
        "chain, another region": {"AWS_REGION": "eu-west-3"},
    }
    for name, variables in chains.items():
        with environment(monkeypatch, **variables):
            found[name] = namespace(tmp_path)
    return found


def test_no_two_have_one_namespace_and_none_names_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = tenants(tmp_path, monkeypatch)
    assert len(set(found.values())) == len(found)
    assert not any(secret in name for name in found.values() for secret in ("AKIA", "secret"))


def test_who_is_the_same_is_so_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = tenants(tmp_path, monkeypatch), tenants(tmp_path, monkeypatch)
    private = {"temporary", "temporary again"}
    assert {name for name in before if before[name] != after[name]} == private
    with environment(monkeypatch, AWS_ACCESS_KEY_ID="AKIA3"):
        assert namespace(tmp_path, origin="lean") == namespace(tmp_path, origin="boto3"), "the origin is no principal"


def test_the_functions_own_role_keeps_its_namespace_while_its_keys_rotate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = set()
    for key_id in ("ASIA1", "ASIA2"):
        with environment(monkeypatch, AWS_LAMBDA_FUNCTION_NAME="f", AWS_ACCESS_KEY_ID=key_id):
            names.add(namespace(tmp_path, client=client(key_id, token="t")))
    assert len(names) == 1


class Side:
    """A tenant with its S3, which has the same keys as all others, and other bodies."""

    def __init__(self, number: int, name: str, path: Path) -> None:
        self.number, self.name, self._path = number, name, path
        self.s3 = FakeS3()
        self.bodies: dict[str, bytes] = {}
        for key in SIZES:
            self.write(key, 0)
        self.cache = self.restarted()

    def restarted(self) -> Tenant:
        return Tenant(self.s3, self.name, directory=self._path, disk_budget="2MiB", memory_budget="256KiB", ttl=3600)

    def write(self, key: str, version: int) -> None:
        self.bodies[key] = noise(SIZES[key], hash((self.number, key, version)))
        self.s3[f"s3://{BUCKET}/{key}"] = self.bodies[key]

    def tree(self) -> dict[str, bytes]:
        folder = self.cache.tree(BUCKET, "t")
        return {str(place.relative_to(folder)): place.read_bytes() for place in folder.rglob("*") if place.is_file()}


@pytest.mark.faults
def test_tenants_of_one_directory_never_meet(  # noqa: C901, PLR0912  # one branch for each call
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call of any of them, at random. Times are fresh throughout, so that what it has cached is what each must get."""
    chance = random.Random(5)
    sides = [Side(number, name, tmp_path / "cache") for number, name in enumerate(tenants(tmp_path, monkeypatch).values())]
    pinned: dict[tuple[int, str], tuple[Path, bytes]] = {}
    done = 0
    for step in range(STEPS):
        side = chance.choice(sides)
        key = chance.choice(list(SIZES))
        way = chance.choice(
            ["get", "get", "path", "path", "release", "tree", "invalidate", "clear", "glob", "write", "restart", "hide"]
        )
        cache, where = side.cache, f"step {step}, {way} {key} of {side.name}"
        if way == "get":
            assert cache.get(BUCKET, key) == side.bodies[key], where
        elif way == "path":
            path = cache.path(BUCKET, key)
            assert path.read_bytes() == side.bodies[key], where
            pinned[side.number, key] = (path, side.bodies[key])
        elif way == "release":
            cache.release(BUCKET, key)
            pinned.pop((side.number, key), None)
        elif way == "tree":
            assert side.tree() == {name[2:]: body for name, body in side.bodies.items() if name.startswith("t/")}, where
            cache.release(BUCKET, "t")
        elif way == "invalidate":
            cache.invalidate(BUCKET, key)
        elif way == "clear":
            cache.clear()
        elif way == "glob":
            assert cache.glob(f"s3://{BUCKET}/t/*") == [f"s3://{BUCKET}/t/a", f"s3://{BUCKET}/t/b.bin"], where
        elif way == "write":
            side.write(key, step + 1)
            cache.invalidate(BUCKET, key)
            cache.invalidate(BUCKET, "t")
        elif way == "restart":
            cache.close()
            pinned = {at: held for at, held in pinned.items() if at[0] != side.number}
            side.cache = side.restarted()
        else:  # S3 has it no more, for this tenant alone
            del side.s3[f"s3://{BUCKET}/{key}"]
            with pytest.raises(ObjectNotFoundError):
                cache.get(BUCKET, key, ttl=0)
            side.s3[f"s3://{BUCKET}/{key}"] = side.bodies[key]
        for path, body in pinned.values():
            assert path.read_bytes() == body, where
        done += 1
    for side in sides:
        assert {key: side.cache.get(BUCKET, key) for key in SIZES} == side.bodies
        side.cache.close()
    assert done == STEPS
    assert pinned
