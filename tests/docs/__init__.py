"""The reference docs, built from the docstrings alone: `make docs`."""
