"""A Lambda handler to copy: with SnapStart, all that it needs is brought before the snapshot, and looked at once more after a restore.

There is nothing to set up: `import s3warm` registers the hooks that close files and connections before the snapshot. Memory and /tmp are
in it; whoever is restored from it, hours later, asks S3 for what has changed, and gets nothing but that. Is S3 down, the snapshot's
copies stand in for an hour after they were last validated. An event is `{"name": "Ada"}`.
"""

from __future__ import annotations

import os
from pathlib import Path
from string import Template
from typing import Any

import s3warm

BUCKET = os.environ["BUCKET"]


def templates() -> Path:
    """A directory with all below `templates/`; one listing tells whether anything in it has changed."""
    return s3warm.tree(BUCKET, "templates/")


# Init may take minutes here, so nothing may be missing in the snapshot: with `strict` its version is not published then.
print(s3warm.preload((BUCKET, "config.json"), templates, strict=True))


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """A letter."""
    with s3warm.deadline(context):
        config = s3warm.get(BUCKET, "config.json", transform="json")
        letter = Template((templates() / "letter.txt").read_text())
    return {"letter": letter.substitute(sender=config["sender"], name=event["name"])}
