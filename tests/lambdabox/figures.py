"""Figures that the README quotes: printed as a table, and kept in tests/bench/out."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from typing import Any

from tests.bench.report import OUT


def save(name: str, figures: Mapping[str, Any]) -> None:
    """Write figures, and what they were measured on, to `<name>.json`."""
    environment = {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),  # others' work shows here
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    OUT.mkdir(exist_ok=True)
    content = json.dumps({"environment": environment, "figures": figures}, indent=1)
    (OUT / f"{name}.json").write_text(content + "\n", encoding="utf-8")
