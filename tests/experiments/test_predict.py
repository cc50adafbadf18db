"""The command that says what images show."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from experiments import predict
from jaxcnn.layers import Dense, Flatten, Sequential

Image = pytest.importorskip("PIL.Image")

NET = Sequential(flatten=Flatten(), head=Dense(2))
SPEC = jax.ShapeDtypeStruct((1, 4, 4, 1), jnp.float32)


@pytest.fixture
def run(tmp_path):
    """A run whose net tells which half is brighter."""
    kernel = np.zeros((4, 4, 2), np.float32)
    kernel[:, :2, 0], kernel[:, 2:, 1] = 1, 1
    params = {"head": {"kernel": jnp.asarray(kernel.reshape(16, 2)), "bias": jnp.zeros(2)}}
    jaxcnn.save(tmp_path / predict.MODEL, NET, params, {}, spec=SPEC, class_names=["left", "right"])
    for name, place in (("left", np.s_[:, :20]), ("right", np.s_[:, 20:])):
        image = np.zeros((40, 40, 3), np.uint8)
        image[place] = 255
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    return tmp_path


def test_images_are_read_as_the_net_takes_them(run):
    model = predict.read_model(run)
    images = predict.read_images(model, [run / "left.png", run / "right.png"])
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
    assert wrong.stderr.startswith("predict: expected a model, or the folder of a run with model.safetensors, got ")


def test_a_file_is_a_model_too(run):
    model = predict.read_model(run / predict.MODEL)
    told = predict.predictions(model, [run / "right.png"], top=2)
    (classes,) = told.values()
    assert [name for name, _ in classes] == ["right", "left"]
    assert sum(share for _, share in classes) == pytest.approx(1)


def test_what_is_no_image_is_said(run):
    model = predict.read_model(run)
    (run / "text.png").write_text("no image")
    for path, reason in ((run / "text.png", r" \(cannot identify"), (run / "gone.png", r"\. Look at its path")):
        with pytest.raises(ValueError, match=rf"^predict: expected an image file, got .*{reason}"):
            predict.read_images(model, [path])
    with pytest.raises(ValueError, match=r"^predict: expected an image, got none\."):
        predict.read_images(model, [])


def test_a_net_of_other_inputs_is_said(run):
    spec = jax.ShapeDtypeStruct((1, 4, 5, 1), jnp.float32)
    jaxcnn.save(run / "other", NET, *NET.init(jax.random.key(0), spec), spec=spec)
    with pytest.raises(
        ValueError, match=r"^predict: expected a model of square images, got \(1, 4, 5, 1\)\. Such nets"
    ):
        predict.read_images(jaxcnn.load(run / "other"), [run / "left.png"])
