"""Examples as their templates deploy them: memory, /tmp, variables and the kind of init."""

from __future__ import annotations

from tests.lambdabox.box import LambdaBox
from tests.support import templates
from tests.support.examples import BUCKET, Example, environment
from tests.support.static_origin import StaticOrigin

__all__ = ["deployed", "filled"]


def deployed(example: Example, endpoint: str, *, memory_mb: int | None = None, **environ: str) -> LambdaBox:
    """A box for it, with S3 at an endpoint; `environ` comes on top of what the template says, `memory_mb` in place of it."""
    function = templates.function(templates.read(example.template))
    starts = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"} if "SnapStart" in function else {}
    variables = {**environment(function), **starts, "AWS_ENDPOINT_URL": endpoint, **environ}
    return LambdaBox(example.app, memory_mb or function["MemorySize"], function["EphemeralStorage"]["Size"], variables)


def filled(example: Example) -> StaticOrigin:
    """An origin with its objects; to be closed."""
    objects = example.objects()
    origin = StaticOrigin()
    for key, body in objects.items():
        origin.put(BUCKET, key, body)
    return origin
