"""Where a run took place: what must be the same for it to repeat bit for bit."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

__all__ = ["environment"]

PACKAGES = ("jaxcnn", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def environment() -> dict[str, Any]:
    """Return versions, device, flags and revision, ready for JSON.

    Keys: `python`, `platform`, `cores`, `packages`, `device`, `devices`, `prng`, `matmul_precision`, `xla_flags`,
    `revision` (of the git checkout that the code is in, `+` behind it where files differ from it, or None).
    """
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": versions,
        "device": "cpu" if devices[0].platform == "cpu" else f"{devices[0].platform}: {devices[0].device_kind}",
        "devices": len(devices),
        "prng": str(jax.config.jax_default_prng_impl),
        "matmul_precision": jax.config.jax_default_matmul_precision,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "revision": _revision(),
    }


def _revision() -> str | None:
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=10,
        )
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", __file__], cwd=here, capture_output=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    # An installed copy may lie inside somebody else's checkout, whose revision says nothing.
    return found.stdout.strip() if found.returncode == 0 and tracked.returncode == 0 else None
