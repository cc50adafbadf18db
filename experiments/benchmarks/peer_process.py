"""A library in a process of its own, of another Python if need be: see `other_python.answers`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.benchmarks.pairs import Program
from jaxcnn import interop
from jaxcnn.layers import AvgPool, BatchNorm, Conv, Dense, MaxPool, Sequential


class PeerProcess:
    """A process that waits for questions; `with` ends it.

    Args:
        where: the benchmark.
        python: the Python that it is a process of; this one if "".
        script: a file of `other_python`, which calls `answers.answer`.
        file: what `written` wrote.
        needs: what that Python is to have, in words.
    """

    def __init__(self, where: str, python: str, script: str, file: Path, needs: str) -> None:
        """Start it; raise `ImportError` where that Python lacks a package, `OSError` where there is none."""
        self._where = where
        self._process = subprocess.Popen(
            [python or sys.executable, str(Path(__file__).parent / "other_python" / script), str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONWARNINGS": "ignore"},
        )
        try:
            self.versions = self._answer()
            if missing := self.versions.get("missing"):
                fix = f"Pass --torch-python with one that has {needs}."
                raise ImportError(f"{where}: expected a Python to compare with, got one without {missing}. {fix}")
        except (ImportError, OSError):
            self.end()
            raise
        self.ways: dict[str, list[str]] = self.versions.pop("ways")

    def __enter__(self) -> "PeerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def seconds(self, method: str, way: str, calls: int = 1, **more: Any) -> float:
        """Return the seconds of one call, measured there over several in a row."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"method": method, "way": way, "calls": calls, **more}) + "\n")
        self._process.stdin.flush()
        return self._answer()["seconds"]

    def times(self, method: str) -> dict[str, float]:
        """Return the seconds of a second call in each way, that of its documentation first."""
        return {way: min(self.seconds(method, way) for _ in range(2)) for way in self.ways[method]}

    def given(self, method: str, way: str, file: Path) -> tuple[np.ndarray, float]:
        """Return the images or maps (N, C, H, W) of a call as (N, H, W, C), and its seconds."""
        seconds = self.seconds(method, way, write=str(file))
        return np.moveaxis(np.load(file), 1, -1), seconds

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise OSError(
                f"{self._where}: expected an answer of the other process, got its end. Its last words are above."
            )
        return json.loads(line)


class Theirs(Program):
    """A method in that process, which measures the time itself."""

    def __init__(self, process: PeerProcess, method: str, way: str) -> None:
        """Make a program that `pairs.compare` takes."""
        super().__init__(lambda: process.seconds(method, way), lambda: None)
        self._seconds = lambda calls: process.seconds(method, way, calls)

    def seconds(self, calls: int = 1) -> float:
        """Return the seconds of one call, measured over several in a row."""
        return self._seconds(calls)


def written(
    file: Path, net: Sequential, params: Any, state: Any, x: jax.Array, target: jax.Array, **about: Any
) -> Path:
    """Write what `answers` reads: images, targets, the layers of a plain net with their weights, options."""
    layers = [(name, *_described(layer, params.get(name, {}))) for name, layer in net.layers.items()]
    arrays: Any = interop.torch.state_dict(
        net, params, state, layout="paths", spec=jax.ShapeDtypeStruct(x.shape, x.dtype)
    )
    np.savez(file, image=x, target=target, about=json.dumps({"layers": layers, **about}), **arrays)
    return file


def _described(layer: Any, params: Any) -> tuple[str, dict[str, Any]]:
    """Return the kind of a layer, and what PyTorch's layer of that kind is made with."""
    if isinstance(layer, MaxPool | AvgPool):
        return type(layer).__name__, {"kernel_size": 2}
    if isinstance(layer, BatchNorm):
        return "BatchNorm", {"num_features": len(params["scale"]), "eps": layer.eps}
    if not isinstance(layer, Conv | Dense):
        return getattr(layer, "__name__", type(layer).__name__), {}
    *window, inputs, outputs = params["kernel"].shape
    bias = {"bias": "bias" in params}
    if isinstance(layer, Dense):
        return "Dense", {"in_features": inputs, "out_features": outputs, **bias}
    sizes = {"kernel_size": window, "padding": [0 if layer.padding == "VALID" else n // 2 for n in window]}
    return "Conv", {"in_channels": inputs, "out_channels": outputs, **sizes, **bias}
