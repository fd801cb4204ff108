"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# How long an example takes says nothing here: machines are small and shared. (Under CI Hypothesis has a profile of its own, which is
# without a deadline too, and repeats the same examples.)
if "CI" not in os.environ:
    settings.register_profile("s3warm", deadline=None)
    settings.load_profile("s3warm")
