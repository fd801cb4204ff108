"""All targets."""

from __future__ import annotations

from tests.faults import fuzz_answers, fuzz_files, fuzz_http, fuzz_names, fuzz_places
from tests.faults.fuzz import TARGETS

__all__ = ["MODULES", "TARGETS"]

MODULES = (fuzz_answers, fuzz_files, fuzz_http, fuzz_names, fuzz_places)  # importing them registers their targets
