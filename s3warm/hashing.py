"""BLAKE2b (RFC 7693) for names. `hashlib` has the same one, and loads OpenSSL besides: 2 ms and 3 MB of a start from a warm /tmp."""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:  # a Python that has it elsewhere
    from hashlib import blake2b

__all__ = ["blake2b"]
