"""What a function finds in its environment variables."""

from __future__ import annotations

import os
import sys

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def variables(handler: str, memory_mb: int, task: str) -> dict[str, str]:
    """The variables that Lambda sets (but AWS_LAMBDA_RUNTIME_API, which each runtime gets), for this interpreter and project."""
    return {
        "AWS_LAMBDA_FUNCTION_NAME": "box",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/box",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2015/03/31/[$LATEST]box",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python{}.{}".format(*sys.version_info),
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "box",
        "AWS_SECRET_ACCESS_KEY": "box",
        "AWS_SESSION_TOKEN": "box",
        "LAMBDA_TASK_ROOT": task,
        "LAMBDA_RUNTIME_DIR": os.path.dirname(os.path.abspath(os.__file__)),
        "_HANDLER": handler,
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), "/usr/local/bin", "/usr/bin", "/bin"]),
        "PYTHONPATH": PROJECT,
    }
