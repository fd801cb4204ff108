"""SnapStart: what every cache of the process does before Lambda takes a snapshot of it, and after one was restored.

Memory and /tmp are in the snapshot, and are restored hours later, in many environments: what they hold has to be revalidated, and sockets,
SQLite handles and budgets have to be made anew (https://docs.aws.amazon.com/lambda/latest/dg/snapstart-best-practices.html). `import s3warm`
registers the hooks where `AWS_LAMBDA_INITIALIZATION_TYPE` is `snap-start`; whoever needs them elsewhere calls `register`.
"""

from __future__ import annotations

from s3warm.forking import alive

__all__ = ["after_restore", "before_snapshot", "register"]

_registered = False


def register() -> bool:
    """Register the hooks with Lambda's `snapshot_restore_py`, once; whether that is there.

    Hooks of the function's own that are registered later run earlier before the snapshot and later after a restore, as AWS has it, so that
    they find the cache in order.
    """
    global _registered  # noqa: PLW0603  # once a process
    if not _registered:
        try:
            from snapshot_restore_py import register_after_restore, register_before_snapshot
        except ImportError:
            return False
        register_before_snapshot(before_snapshot)
        register_after_restore(after_restore)
        _registered = True
    return True


def before_snapshot() -> None:
    """Count all that is held as stale, and let go of SQLite and of connections; the next use opens them anew."""
    for cache in alive():
        cache.suspend()


def after_restore() -> None:
    """The same once more, for what came in between, and budgets from what there is now.

    Restore hooks have 10 s. /tmp is not touched, unless it was used after `before_snapshot`; that takes 35 ms for 1,000 objects in it.
    """
    for cache in alive():
        cache.resume()
