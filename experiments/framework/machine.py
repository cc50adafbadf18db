"""What a figure of speed was measured on: device, driver, versions, date, revision and command, ready for JSON."""

import datetime
import importlib.metadata
import shlex
import subprocess
import sys
from typing import Any

from jaxcnn import training

PLUGINS = ("jax-cuda12-plugin", "jax-cuda13-plugin", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "libtpu")


def machine() -> dict[str, Any]:
    """Return `device`, `cores`, `driver` (None without one), `versions`, `date`, `commit`, `command`, `xla_flags`."""
    here = training.environment()
    versions = {name: version for name, version in here["packages"].items() if version is not None}
    for package in PLUGINS:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    module = getattr(sys.modules["__main__"].__spec__, "name", None)
    return {
        "device": here["device"],
        "cores": here["cores"],
        "driver": driver() if here["device"].startswith("gpu") else None,
        "versions": versions | {"python": here["python"]},
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        "commit": here["revision"],
        "command": shlex.join(["python", *(["-m", module] if module else sys.argv[:1]), *sys.argv[1:]]),
        "xla_flags": here["xla_flags"],
    }


def driver() -> str | None:
    """Return the version of NVIDIA's driver, None where nobody says."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return said[0] if said else None
