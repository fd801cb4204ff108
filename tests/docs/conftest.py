"""What builds the pages needs pdoc, which `make test` does without."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("pdoc") else ["pages.py"]
