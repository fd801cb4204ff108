"""A Lambda handler to copy: inference with ONNX Runtime, by a session that lasts until the model in S3 is another one.

An event is `{"rows": [[1.0, 2.0]]}`; the model has one input of float32, a row for each. The session is made in init, as far as its time
reaches, and made anew by the first invocation after the model changed; the old one goes when nobody uses it any more. Measured in a
box with a memory cap: a model of 90 MiB and its change need 320 MB, one of 180 MiB 640 MB. The 1,769 MB of template.yaml are a whole
processor: with 90 MiB init takes 1.2 s there, 3.5 s with 384 MB.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import s3warm

BUCKET = os.environ["BUCKET"]
PROCESSOR = 1769  # MB: with that much memory a function has a whole one
THREADS = max(1, int(os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]) // PROCESSOR)


def session(model: Path) -> onnxruntime.InferenceSession:
    """Unless told, ONNX Runtime starts a thread for each processor that it sees, which are more than the function may use, and pins it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    print(f"a new session, of {model.stat().st_size:,} bytes")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def current() -> onnxruntime.InferenceSession:
    """The same session each time, until the model changes."""
    return s3warm.load(BUCKET, "models/scores.onnx", loader=session)


print(s3warm.preload(current))


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The scores of each row, and the version that the model gives itself."""
    with s3warm.deadline(context):
        model = current()
    rows = np.asarray(event["rows"], dtype=np.float32)
    (scores,) = model.run(None, {model.get_inputs()[0].name: rows})
    return {"scores": scores.tolist(), "version": model.get_modelmeta().version}
