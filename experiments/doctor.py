"""Check the installation: devices, versions, what is missing, and the exact fix.

`python -m experiments.doctor` exits with 0 where all is well: what experiments need is installed and works, and a GPU
that is here is used.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import time

CUDA_FIX = (
    "make setup CUDA=13   (or CUDA=12 for drivers older than 580; in your own environment: pip install 'jax[cuda13]')"
)
EXTRAS = {
    "data": ["sklearn", "PIL", "grain", "tensorflow_datasets"],
    "viz": ["matplotlib", "jinja2"],
    "interop": ["safetensors"],
    "experiments": ["tyro", "rich", "skimage", "starlette", "uvicorn"],
}


def main() -> int:
    """Print the checks and return the exit code."""
    problems = []
    print(f"Python      {sys.version.split()[0]} in {sys.prefix}")
    if sys.version_info < (3, 12):
        print("            JAX for Python 3.11 runs convolutions on one core; Python 3.12 or newer uses all")
    try:
        began = time.perf_counter()
        import jax
        import jax.numpy as jnp

        import jaxcnn
        from jaxcnn.training import environment

        here = environment()
        seconds = time.perf_counter() - began
    except Exception as error:  # whatever is broken here is what the user came to learn
        print(f"import      FAILED: {error}\n            fix: make setup, or pip install -e '.[experiments]'")
        return 1
    for package, version in here["packages"].items():
        print(f"{package:<11} {version or 'not installed'}")
    print(f"import      {seconds:.1f} s")
    print(f"devices     {', '.join(f'{d.platform}:{d.id} {d.device_kind}' for d in jax.devices())}")
    print(f"memory      {_memory(jax.devices()[0])}")

    card = _card()
    if card:
        print(f"GPU         {card}")
        if jax.default_backend() != "gpu":
            problems.append("a GPU is here, but this JAX cannot use it")
            print(f"            NOT used by this JAX\n            fix: {CUDA_FIX}")
    else:
        print("GPU         none found (no nvidia-smi): runs use the CPU")
    if os.environ.get("JAX_PLATFORMS"):
        print(f"            JAX_PLATFORMS={os.environ['JAX_PLATFORMS']} restricts the devices")

    for extra, modules in EXTRAS.items():
        missing = [m for m in modules if importlib.util.find_spec(m) is None]
        fix = f"missing {', '.join(missing)}: pip install -e '.[{extra}]'" if missing else "installed"
        print(f"[{extra}]".ljust(14) + fix)
        problems += [f"{module} is not installed" for module in missing]

    began = time.perf_counter()
    y = jax.jit(jaxcnn.functional.conv)(jnp.ones((1, 5, 5, 1)), jnp.ones((3, 3, 1, 1)))
    right = bool((y[0, 1:4, 1:4, 0] == 9).all())
    print(f"a conv      {'right' if right else 'WRONG'}, compiled and run in {time.perf_counter() - began:.1f} s")
    if not right:
        problems.append("a convolution of ones gave a wrong sum: reinstall jax and jaxlib")
    print("\n" + ("; ".join(problems) if problems else "All is well."))
    return 1 if problems else 0


def _memory(device) -> str:
    stats = device.memory_stats() or {}
    if "bytes_limit" not in stats:
        return "the machine's own"
    taken = "preallocated" if os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "true") != "false" else "on demand"
    return f"{stats['bytes_limit'] / 2**30:.1f} GiB for JAX, {taken} (XLA_PYTHON_CLIENT_PREALLOCATE=false: on demand)"


def _card() -> str | None:
    if not shutil.which("nvidia-smi"):
        return None
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return "; ".join(found.stdout.split("\n")).strip("; ") or None


if __name__ == "__main__":
    sys.exit(main())
