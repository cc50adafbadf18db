"""The device of an experiment: other processes that it joins, what it runs on, and where compiled programs are kept."""

import hashlib
import platform
import shutil
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from jaxcnn import training
from jaxcnn.checking import expect
from jaxcnn.data.original import cache_folder

console = Console(highlight=False, soft_wrap=True)


def join(config: Any) -> None:
    """Make this process one of those that train together, if the options say so."""
    given = [config.coordinator, config.processes, config.process]
    if not (config.distributed or any(value is not None for value in given)):
        return
    all_or_none = given.count(None) in (0, 3)
    fix = "Or pass --distributed alone, where SLURM, Open MPI, Kubernetes or a TPU pod say which process this is."
    expect(all_or_none, "distributed", "--coordinator, --processes and --process together", given, fix)
    if config.device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    try:
        jax.distributed.initialize(config.coordinator, config.processes, config.process)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"distributed: expected processes that find each other, got: {error}. {fix}") from error
    console.quiet = jax.process_index() > 0


def banner(config: Any) -> None:
    """Choose the device, show it, keep compiled programs, and switch the checks of `--debug` on."""
    choose_device(config.device)
    if config.debug:
        jax.config.update("jax_debug_nans", True)
        jax.config.update("jax_debug_key_reuse", True)
    here = training.environment()
    many = f"{here['devices']} x " if here["devices"] > 1 else ""
    processes = f", {jax.process_count()} processes" if jax.process_count() > 1 else ""
    console.print(
        f"jaxcnn {here['packages']['jaxcnn']} on {many}{here['device']} ({here['cores']} cores{processes}), "
        f"jax {here['packages']['jax']}, Python {here['python']}",
        markup=False,
    )
    keep_compiled()
    if jax.default_backend() == "cpu" and config.device == "auto" and shutil.which("nvidia-smi"):
        console.print(
            "A GPU is here, but this JAX has no CUDA: `make run CUDA=13` installs it.",
            style="yellow",
            markup=False,
        )


def keep_compiled() -> None:
    """Let JAX keep what it compiles from one run to the next, in a folder of the user's own, and say where.

    Programs for a CPU are for one kind of it, and homes are shared: each kind has a folder.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        return
    kind = jax.default_backend()
    if kind == "cpu":
        about = Path("/proc/cpuinfo")
        lines = about.read_text().splitlines() if about.exists() else [platform.machine()]
        same = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
        kind = f"cpu-{hashlib.sha256(repr(same).encode()).hexdigest()[:8]}"
    folder = cache_folder() / "compiled" / kind
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:  # nowhere to write: each run compiles
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    console.print(f"compiled programs are kept in {folder}", markup=False)


def choose_device(device: str) -> None:
    """Make JAX use a kind of device, or raise `ValueError` where there is none of it."""
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    found = jax.default_backend()  # the fastest kind there is
    expect(
        device in ("auto", found),
        "device",
        f"a {device}",
        f"a JAX that finds none, but {found}",
        "`python -m experiments.doctor` shows the fix; --device auto takes what there is.",
    )
