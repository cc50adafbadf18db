"""Programs of StableHLO: run in a process that does not import jaxcnn, and give the same numbers."""

import os
import subprocess
import sys

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import interop
from jaxcnn.layers import BatchNorm, Conv, Dense, GlobalAvgPool, Residual, Sequential
from jaxcnn.training import predictor

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(0)
SPEC = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
NET = Sequential(
    conv=Conv(4, stride=2), norm=BatchNorm(), act=F.relu, block=Residual(Conv(4)), pool=GlobalAvgPool(), head=Dense(3)
)
PROGRAM = """
import pathlib
import jax.export, numpy as np, safetensors.numpy, sys
images, weights = np.load("images.npy"), safetensors.numpy.load_file("net.safetensors")
for where, given in (("inside", ()), ("outside", (weights,))):
    program = jax.export.deserialize(pathlib.Path(where).read_bytes())
    np.save(f"{where}.npy", program.call(*given, images))
assert "jaxcnn" not in sys.modules
"""


@pytest.fixture(scope="module")
def weights():
    params, state = NET.init(KEY, SPEC)
    return params, jax.tree.map(lambda leaf: leaf + 0.3, state)


def test_runs_without_jaxcnn(weights, tmp_path):
    pytest.importorskip("safetensors")
    interop.safetensors.save(tmp_path / "net.safetensors", NET, *weights, spec=SPEC)
    images = np.asarray(jax.random.uniform(KEY, (5, 8, 8, 3)))
    np.save(tmp_path / "images.npy", images)
    for where in ("inside", "outside"):
        interop.stablehlo.export(NET, *weights, SPEC, tmp_path / where, weights=where)
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ | {"JAX_PLATFORMS": "cpu"}
    )
    assert run.returncode == 0, run.stderr
    expected = predictor(NET, *weights)(images)
    for where in ("inside", "outside"):
        np.testing.assert_allclose(np.load(tmp_path / f"{where}.npy"), expected, rtol=1e-4, atol=1e-4)


def test_programs_of_all_platforms_are_in_it(weights, tmp_path):
    interop.stablehlo.export(NET, *weights, SPEC, tmp_path / "a", batch=2)
    program = jax.export.deserialize(bytearray((tmp_path / "a").read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu")
    assert program.in_avals[0].shape == (2, 8, 8, 3)


def test_bytes_are_divided_by_255(weights, tmp_path):
    spec = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.uint8)
    interop.stablehlo.export(NET, *weights, spec, tmp_path / "a", platforms=["cpu"])
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    found = jax.export.deserialize(bytearray((tmp_path / "a").read_bytes())).call(images)
    np.testing.assert_allclose(found, predictor(NET, *weights)(images / np.float32(255)), rtol=1e-4, atol=1e-4)


def test_bad_arguments(weights, tmp_path):
    path = tmp_path / "a"
    with pytest.raises(ValueError, match=r"^export: expected platforms of cpu, cuda, rocm, tpu, got \['gpu'\]\."):
        interop.stablehlo.export(NET, *weights, SPEC, path, platforms=["gpu"])
    with pytest.raises(TypeError, match=r"^export: expected spec as a jax\.ShapeDtypeStruct"):
        interop.stablehlo.export(NET, *weights, (1, 8, 8, 3), path)
    with pytest.raises(ValueError, match=r'^export: expected weights as "inside" or "outside", got'):
        interop.stablehlo.export(NET, *weights, SPEC, path, weights="beside")
    with pytest.raises(OSError, match=r"^export: expected a file that can be written, got "):
        interop.stablehlo.export(NET, *weights, SPEC, tmp_path / "none" / "a", platforms=["cpu"])
    assert not list(tmp_path.iterdir())
