"""How much memory there is, and how much a compiled program needs."""

import math
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

__all__ = ["available", "needed"]

SHARE = 0.8  # of what is free: others want some too


def available(mesh: Mesh) -> float:
    """Return how many bytes a program may use on each device; infinity where nobody knows."""
    stats = mesh.devices.flat[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return SHARE * (stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return SHARE * min(_machine(), _container()) / mesh.size  # the devices are parts of one machine


def needed(program: Any) -> int:
    """Return how many bytes a compiled program needs on each device, its arguments and results among them."""
    found = program.memory_analysis()
    sizes = (found.argument_size_in_bytes, found.output_size_in_bytes, found.temp_size_in_bytes)
    return sum(sizes) - found.alias_size_in_bytes


def _machine() -> float:
    about = Path("/proc/meminfo")
    lines = about.read_text().splitlines() if about.exists() else []
    kib = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024.0 * int(kib[0]) if kib else math.inf


def _container() -> float:
    folder = Path("/sys/fs/cgroup")
    try:
        most = (folder / "memory.max").read_text().strip()
        return math.inf if most == "max" else float(int(most) - int((folder / "memory.current").read_text()))
    except (OSError, ValueError):
        return math.inf
