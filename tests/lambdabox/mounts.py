"""The /tmp of a box: an ext4 image on a loop device, mounted in this process's own mount namespace.

A tmpfs would not do: its pages are charged to the memory cap.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack

TMP = "/tmp"
MIB = 1024 * 1024


def mount_code(stack: ExitStack, code: str, task: str) -> None:
    """Show the function's code at `task`, read-only, as Lambda does; `stack` gets the way back."""
    os.mkdir(task)
    stack.callback(os.rmdir, task)
    run("mount", "--bind", code, task)
    stack.callback(unmount, task)
    run("mount", "-o", "remount,bind,ro", task)


def mount_tmp(stack: ExitStack, folder: str, size_mb: int, keep: list[str]) -> None:
    """Put a new file system over /tmp, with the image in `folder`; directories in /tmp that are in `keep` stay visible."""
    image, stage = os.path.join(folder, "image"), os.path.join(folder, "stage")
    with open(image, "xb") as file:
        stack.callback(os.unlink, image)
        file.truncate(size_mb * MIB)
    # Without a journal and reserved blocks 492 of 512 MiB can be written; the journal alone would take another 16.
    run("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", image)
    os.mkdir(stage)
    stack.callback(os.rmdir, stage)
    run("mount", "-o", "loop", image, stage)
    mounted = ExitStack()
    mounted.callback(unmount, stage)
    with mounted:
        os.rmdir(os.path.join(stage, "lost+found"))
        os.chmod(stage, 0o1777)
        for path in keep:
            target = stage + path.removeprefix(TMP)
            os.makedirs(target, exist_ok=True)
            run("mount", "--bind", path, target)
        run("mount", "--move", stage, TMP)
        mounted.pop_all()
    stack.callback(unmount, TMP)


def hidden(*paths: str) -> list[str]:
    """Which of these directories a file system over /tmp would hide, outermost first."""
    found: list[str] = []
    for path in sorted(map(os.path.realpath, paths)):
        if path.startswith(TMP + "/") and not any(path == outer or path.startswith(outer + "/") for outer in found):
            found.append(path)
    return found


def unmount(target: str) -> None:
    """Unmount what is mounted there, at once or else when the last user of it is gone."""
    try:
        run("umount", "--recursive", target)
    except OSError:
        run("umount", "--recursive", "--lazy", target)


def run(*command: str) -> None:
    """Run a command; what it complains of is in the exception."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
