"""`python -W error -m tests.docs build/docs`: build the reference docs; a warning or a link that leads nowhere is a failure."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.docs.links import broken
from tests.docs.pages import build

directory = Path(sys.argv[1])
build(directory)
dead = broken(directory)
if dead:
    sys.exit("links that lead nowhere:\n" + "\n".join(dead))
print(directory / "index.html")
