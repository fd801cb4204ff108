"""Examples: a handler to copy, and the demo that drives it."""
