"""The examples that have a template: the objects that each needs, an event, and the answer to it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

__all__ = ["BUCKET", "EXAMPLES", "FOLDER", "SHARED", "Example", "a_model", "a_table", "environment", "need"]

FOLDER = Path(__file__).parents[2] / "examples"
BUCKET = "warm"
SHARED = ("S3WARM_SHARED_SECRET", "S3WARM_SHARED_URL")
"""What only a stack knows. Without these variables an example goes on without a shared tier, as it does where that is down."""


def need(name: str) -> Any:
    """A library, untyped; the test is skipped where it is not installed."""
    package = {"cfnlint": "cfn-lint"}.get(name, name.partition(".")[0])
    return pytest.importorskip(
        name, reason=f"needs the package {package}, of the dependency group `examples` (make e2e, make lambda)"
    )


class Example(NamedTuple):
    """An example; `packages` are what it imports beside s3warm."""

    name: str
    objects: Callable[[], dict[str, bytes]]
    event: dict[str, Any]
    answer: dict[str, Any]
    packages: tuple[str, ...] = ()

    @property
    def app(self) -> Path:
        return FOLDER / self.name / "app.py"

    @property
    def template(self) -> Path:
        return FOLDER / self.name / "template.yaml"


def environment(function: dict[str, Any]) -> dict[str, str]:
    """The variables that its template gives a function, for a stack whose bucket is BUCKET, and that has no shared tier here."""
    found = {}
    for name, value in function["Environment"]["Variables"].items():
        if name in SHARED:
            continue
        if isinstance(value, dict) and value != {"Ref": "Bucket"}:
            raise ValueError(f"{name}: {value} is not known here")
        found[name] = BUCKET if isinstance(value, dict) else str(value)
    return found


def a_model(factor: float, *, version: int = 1, width: int = 1) -> bytes:
    """A model that multiplies the sum of each row of two by a factor, by way of a layer of `width` times `width` weights."""
    helper, numpy, types = need("onnx.helper"), need("numpy"), need("onnx").TensorProto
    # The first layer spreads the sum over a row of that width; the others take means of it.
    layers = {"first": ((2, width), factor), "second": ((width, width), 1 / width), "last": ((width, 1), 1 / width)}
    weights = [
        helper.make_tensor(name, types.FLOAT, shape, numpy.full(shape, value, "float32").tobytes(), raw=True)
        for name, (shape, value) in layers.items()
    ]
    between = ["x", "wide", "mixed", "y"]
    nodes = [helper.make_node("MatMul", [between[number], name], [between[number + 1]]) for number, name in enumerate(layers)]
    rows = [helper.make_tensor_value_info(name, types.FLOAT, ["rows", columns]) for name, columns in (("x", 2), ("y", 1))]
    graph = helper.make_graph(nodes, "scores", rows[:1], rows[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, model_version=version)
    body: bytes = model.SerializeToString()
    return body


def a_table(rows: int) -> bytes:
    """Sales of ten shops in turn: the number of the row is the amount."""
    arrow, parquet = need("pyarrow"), need("pyarrow.parquet")
    numbers = range(rows)
    columns = {
        "shop": arrow.array([number % 10 for number in numbers], arrow.int32()),
        "amount": arrow.array(numbers, arrow.int64()),
        "note": arrow.array([f"sale number {number}" for number in numbers]),
    }
    file = io.BytesIO()
    parquet.write_table(arrow.table(columns), file)
    return file.getvalue()


def message(number: int, *products: str) -> dict[str, str]:
    """A record of a batch, as far as the handler looks at it."""
    return {"messageId": f"m{number}", "body": json.dumps({"order": f"A{number}", "products": products})}


EXAMPLES = (
    Example(
        "config",
        lambda: {"config/flags.json": b'{"greeting": "hello"}'},
        {"name": "Ada"},
        {"text": "hello, Ada"},
    ),
    Example(
        "fleet",
        lambda: {"prices/0041.json": b'{"price": 1.5}'},
        {"product": "0041"},
        {"product": "0041", "price": 1.5},
    ),
    Example(
        "onnx",
        lambda: {"models/scores.onnx": a_model(2)},
        {"rows": [[1, 2], [3, 4]]},
        {"scores": [[6], [14]], "version": 1},
        ("numpy", "onnx", "onnxruntime"),
    ),
    Example(
        "pandas",
        lambda: {"sales/2026-11-01.parquet": a_table(1000)},
        {"day": "2026-11-01", "shop": 7},
        {"count": 100, "amount": sum(range(7, 1000, 10))},
        ("fsspec", "pandas", "pyarrow"),
    ),
    Example(
        "snapstart",
        lambda: {
            "config.json": b'{"sender": "Grace"}',
            "templates/letter.txt": b"Dear $name, yours, $sender",
            "templates/unused.txt": b"",
        },
        {"name": "Ada"},
        {"letter": "Dear Ada, yours, Grace"},
    ),
    Example(
        "sqs",
        lambda: {"products/1.json": b'{"price": 1.5}', "products/2.json": b'{"price": 2}'},
        {"Records": [message(1, "1", "2", "1"), message(2, "1", "missing"), message(3, "2")]},
        {"batchItemFailures": [{"itemIdentifier": "m2"}]},
    ),
)
