"""Programs of StableHLO: run in a process that does not import jaxcnn, and give the same numbers."""

import os
import subprocess
import sys

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import interop, models
from jaxcnn.training import predictor

KEY = jax.random.key(0)
SPEC = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
NET = models.create("cifar_resnet8")
PROGRAM = """
import pathlib, sys
import jax.export, numpy as np
program = jax.export.deserialize(pathlib.Path("net.stablehlo").read_bytes())
images, weights = np.load("images.npy"), ()
if sys.argv[1] == "outside":
    import safetensors.numpy
    weights = (safetensors.numpy.load_file("net.safetensors"),)
np.save("found.npy", program.call(*weights, images))
assert "jaxcnn" not in sys.modules
"""


@pytest.fixture(scope="module")
def weights():
    params, state = NET.init(KEY, SPEC)
    return params, jax.tree.map(lambda leaf: leaf + 0.3, state)


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_runs_without_jaxcnn(where, weights, tmp_path):
    interop.stablehlo.export(NET, *weights, SPEC, tmp_path / "net.stablehlo", weights=where)
    if where == "outside":
        pytest.importorskip("safetensors")
        interop.safetensors.save(tmp_path / "net.safetensors", NET, *weights, spec=SPEC)
    images = np.asarray(jax.random.uniform(KEY, (5, 16, 16, 3)))
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-W", "error", "-c", PROGRAM, where]
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ | {"JAX_PLATFORMS": "cpu"}
    )
    assert run.returncode == 0, run.stderr
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), predictor(NET, *weights)(images), rtol=1e-4, atol=1e-4)


def test_programs_of_all_platforms_are_in_it(weights, tmp_path):
    interop.stablehlo.export(NET, *weights, SPEC, tmp_path / "a", batch=2)
    program = jax.export.deserialize(bytearray((tmp_path / "a").read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu")
    assert program.in_avals[0].shape == (2, 16, 16, 3)


def test_bytes_are_divided_by_255(weights, tmp_path):
    spec = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.uint8)
    interop.stablehlo.export(NET, *weights, spec, tmp_path / "a", platforms=["cpu"])
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    found = jax.export.deserialize(bytearray((tmp_path / "a").read_bytes())).call(images)
    np.testing.assert_allclose(found, predictor(NET, *weights)(images / np.float32(255)), rtol=1e-4, atol=1e-4)


def test_bad_arguments(weights, tmp_path):
    path = tmp_path / "a"
    with pytest.raises(ValueError, match=r"^export: expected platforms of cpu, cuda, rocm, tpu, got \['gpu'\]\."):
        interop.stablehlo.export(NET, *weights, SPEC, path, platforms=["gpu"])
    with pytest.raises(TypeError, match=r"^export: expected spec as a jax\.ShapeDtypeStruct"):
        interop.stablehlo.export(NET, *weights, (1, 16, 16, 3), path)
    with pytest.raises(ValueError, match=r"^export: expected weights"):
        interop.stablehlo.export(NET, *weights, SPEC, path, weights="beside")
    with pytest.raises(OSError, match=r"^export: expected a file that can be written, got "):
        interop.stablehlo.export(NET, *weights, SPEC, tmp_path / "none" / "a", platforms=["cpu"])
    assert not list(tmp_path.iterdir())
