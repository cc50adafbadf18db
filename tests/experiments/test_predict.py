"""The command that says what images show."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from experiments import predict
from jaxcnn.interop.safetensors import MODEL
from jaxcnn.layers import Dense, Flatten, Sequential

Image = pytest.importorskip("PIL.Image")

ROOT = Path(__file__).parents[2]
NET = Sequential(flatten=Flatten(), head=Dense(2))
SPEC = jax.ShapeDtypeStruct((1, 4, 4, 1), jnp.float32)


@pytest.fixture
def run(tmp_path):
    """A run whose net tells which half is brighter."""
    kernel = np.zeros((4, 4, 2), np.float32)
    kernel[:, :2, 0], kernel[:, 2:, 1] = 1, 1
    params = {"head": {"kernel": jnp.asarray(kernel.reshape(16, 2)), "bias": jnp.zeros(2)}}
    jaxcnn.save(tmp_path / MODEL, NET, params, {}, spec=SPEC, class_names=["left", "right"])
    for name, place in (("left", np.s_[:, :20]), ("right", np.s_[:, 20:])):
        image = np.zeros((40, 40, 3), np.uint8)
        image[place] = 255
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    return tmp_path


def test_images_are_read_as_the_net_takes_them(run):
    model = jaxcnn.load(run)
    images = model.read(run / "left.png", str(run / "right.png"))
    assert images.shape == (2, 4, 4, 1)
    assert images[0, :, :2].min() > 200
    assert images[1, :, :2].max() < 50


def test_the_command_prints_the_classes_of_each(run):
    command = [sys.executable, "-m", "experiments.predict", str(run), str(run / "left.png"), str(run / "right.png")]
    told = subprocess.run([*command, "--top", "1"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert told[0].startswith(f"{run / 'left.png'}:  left ")
    assert told[1].startswith(f"{run / 'right.png'}:  right ")
    assert len(told) == 2
    wrong = subprocess.run([*command[:3], str(run / "none"), "a.png"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(f"load: expected a file, got {run / 'none'} (No such file or directory). ")


def test_a_file_is_a_model_too(run):
    model = jaxcnn.load(run / MODEL)
    told = predict.predictions(model, [run / "right.png"], top=2)
    (classes,) = told.values()
    assert [name for name, _ in classes] == ["right", "left"]
    assert sum(share for _, share in classes) == pytest.approx(1)


def test_what_is_no_image_is_said(run):
    model = jaxcnn.load(run)
    (run / "text.png").write_text("no image")
    for path, reason in (
        (run / "text.png", r" \(of no format that Pillow knows\)"),
        (run / "gone.png", r"\. Look at its path"),
    ):
        with pytest.raises(ValueError, match=rf"^read: expected an image file, got .*{reason}"):
            model.read(path)
    with pytest.raises(ValueError, match=r"^read: expected an image, got none\."):
        model.read()


def test_layers_of_ones_own_are_imported_first(run, tmp_path):
    """Registered by a module that the command does not know."""
    (tmp_path / "my_layers.py").write_text(
        "from dataclasses import dataclass\nfrom jaxcnn import layers\n\n"
        "@layers.register\n@dataclass(frozen=True)\nclass Doubled(layers.Layer):\n"
        "    def apply(self, params, state, x, *, train, key=None):\n        return 2 * x, state\n"
    )
    model = jaxcnn.load(run)
    text = (run / MODEL).read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        my_layers = importlib.import_module("my_layers")
        net = Sequential(double=my_layers.Doubled(), **model.net.layers)
        jaxcnn.save(run / MODEL, net, model.params, {}, spec=SPEC, class_names=["left", "right"])
    assert (run / MODEL).read_bytes() != text
    command = [sys.executable, "-m", "experiments.predict", str(run), str(run / "left.png")]
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=env)
    assert said.returncode == 2
    assert "Import the module that registers it first: at the command line, --imports MODULE." in said.stderr
    said = subprocess.run([*command, "--imports", "my_layers"], capture_output=True, text=True, check=True, env=env)
    assert said.stdout.startswith(f"{run / 'left.png'}:  left ")


def test_a_net_of_other_inputs_is_said(run):
    spec = jax.ShapeDtypeStruct((1, 4, 5, 1), jnp.float32)
    jaxcnn.save(run / "other", NET, *NET.init(jax.random.key(0), spec), spec=spec)
    with pytest.raises(ValueError, match=r"^read: expected a model of square images, got \(1, 4, 5, 1\)\. Such nets"):
        jaxcnn.load(run / "other").read(run / "left.png")
