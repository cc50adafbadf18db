"""TensorFlow's SavedModels: the same numbers in a process that does not import jaxcnn."""

import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import interop
from jaxcnn.layers import BatchNorm, Conv, Dense, GlobalAvgPool, Residual, Sequential
from jaxcnn.training import predictor

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(0)
SPEC = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
NET = Sequential(conv=Conv(4, stride=2), norm=BatchNorm(), block=Residual(Conv(4)), pool=GlobalAvgPool(), head=Dense(3))
TOO_NEW = r"export: expected a program that TensorFlow .* runs, got that of JAX .*\. Install a JAX that is as old"
PROGRAM = """
import sys
import numpy as np
import tensorflow as tf
model = tf.saved_model.load("model")
images = np.load("images.npy")
np.save("found.npy", model.outputs(images))
(served,) = model.signatures["serving_default"](tf.constant(images)).values()
np.testing.assert_allclose(served, model.outputs(images), rtol=1e-5)
assert "jaxcnn" not in sys.modules
"""


def test_runs_in_tensorflow(tmp_path):
    """By hand, with JAX 0.10 (on Python 3.11) for TensorFlow 2.21: `make setup` and `.ci/run` install none."""
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    params, state = NET.init(KEY, SPEC)
    state = jax.tree.map(lambda leaf: leaf + 0.3, state)
    try:
        interop.tensorflow.export(NET, params, state, SPEC, tmp_path / "model")
    except RuntimeError as error:
        assert re.match(TOO_NEW, str(error))  # noqa: PT017
        assert not (tmp_path / "model").exists()
        pytest.skip("this JAX is too new for this TensorFlow, which is said")
    images = np.asarray(jax.random.uniform(KEY, (5, 8, 8, 3)))
    np.save(tmp_path / "images.npy", images)
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ
    )
    assert run.returncode == 0, run.stderr
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), predictor(NET, params, state)(images), rtol=1e-4)


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "kept").touch()
    with pytest.raises(ValueError, match=r"^export: expected a new folder, got .*\. Choose another, or delete"):
        interop.tensorflow.export(NET, *NET.init(KEY, SPEC), SPEC, tmp_path)


def test_without_tensorflow_the_fix_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError, match=r"^export: expected TensorFlow to be installed, got none\. Install it with"):
        interop.tensorflow.export(NET, *NET.init(KEY, SPEC), SPEC, tmp_path / "model")
