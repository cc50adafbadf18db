"""Where a run took place: what must be the same for it to repeat bit for bit."""

import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

__all__ = ["environment", "uncommitted"]

PACKAGES = ("jaxcnn", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def environment() -> dict[str, Any]:
    """Return versions, device, flags and revision, ready for JSON.

    Keys: `python`, `platform`, `cores`, `packages`, `device`, `devices`, `processes`, `prng`, `matmul_precision`,
    `xla_flags`, `revision` (of the git checkout that the code is in, `+` behind it where tracked files differ from it,
    or None), `diff_sha256` (of `uncommitted()`, or None where that is empty), `lock_sha256` (of the checkout's
    `requirements.lock`, or None without one).
    """
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    devices = jax.devices()
    revision, diff = _checkout(Path(__file__))
    lock = _holder(Path(__file__)) / "requirements.lock"
    return {
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": versions,
        "device": "cpu" if devices[0].platform == "cpu" else f"{devices[0].platform}: {devices[0].device_kind}",
        "devices": len(devices),
        "processes": jax.process_count(),
        "prng": str(jax.config.jax_default_prng_impl),
        "matmul_precision": jax.config.jax_default_matmul_precision,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "revision": revision,
        "diff_sha256": hashlib.sha256(diff).hexdigest() if diff else None,
        "lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None,
    }


def uncommitted() -> bytes:
    """Return what the code differs in from its revision, as `git apply` takes it; empty where that is nothing.

    Of the git checkout that the code is in: all changes of tracked files, and the untracked ones in `jaxcnn/` and
    `experiments/`, as they were when the process first asked, for later changes are not in the code that it runs.
    """
    return _checkout(Path(__file__))[1]


def _holder(file: Path) -> Path:
    return file.parents[2]  # the folder that holds the package


@functools.cache
def _checkout(file: Path) -> tuple[str | None, bytes]:
    """Return the revision of the checkout that holds the file, or None, and what differs from it."""

    def git(*args: str, also: int = 0) -> bytes:
        done = subprocess.run(["git", *args], cwd=_holder(file), capture_output=True, timeout=30)
        if done.returncode not in (0, also):
            raise OSError(done.stderr)
        return done.stdout

    # Whatever the user's settings say, in a form that `git apply` takes.
    form = ("--no-ext-diff", "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/", "--binary")
    try:
        # An installed copy may lie inside somebody else's checkout, whose revision says nothing.
        git("ls-files", "--error-unmatch", str(file))
        revision = git("describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*").decode().strip()
        diff = git("diff", *form, "HEAD")
        new = git("ls-files", "--others", "--exclude-standard", "-z", "jaxcnn", "experiments").split(b"\0")
        for name in filter(None, map(os.fsdecode, new)):
            diff += git("diff", *form, "--no-index", os.devnull, name, also=1)  # 1: they differ
    except (OSError, subprocess.SubprocessError):
        return None, b""
    return revision, diff
