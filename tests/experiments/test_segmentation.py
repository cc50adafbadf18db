"""The experiment on segmentation: a small run, and what it says."""

import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from experiments import segmentation
from experiments.apparatus import masked_sets
from experiments.segmentation import Config

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(size=32, train_images=16, test_images=16)


@pytest.fixture
def streets(tmp_path):
    """A folder as that of CamVid."""
    draw = np.random.default_rng(0)
    for part, count in (("train", 10), ("test", 3)):
        for folder in (part, f"{part}annot"):
            (tmp_path / folder).mkdir()
        for n in range(count):
            labels = draw.integers(0, 12, (36, 51), np.uint8)
            if (part, n) == ("test", 2):
                labels[:] = 11  # of which no pixel has a class
            for folder, pixels in ((part, labels[..., None] * np.uint8([9, 15, 20])), (f"{part}annot", labels)):
                Image.fromarray(pixels).save(tmp_path / folder / f"{n}.png")
    return tmp_path


@pytest.mark.parametrize("net", ["unet", *(pytest.param(net, marks=pytest.mark.slow) for net in ("fcn", "deeplab"))])
def test_a_small_run_and_its_record(net, streets):
    options = {"width": 2, "depth": 1, "crop": (16, 32), "epochs": 1, "batch_size": 5}
    result = segmentation.main(Config(dataset="camvid", path=str(streets), net=net, **options))
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert (figures["train_images"], figures["test_images"]) == (10, 3)
    assert len(figures["overlap"]) == len(figures["weights"]) == 11
    assert 0 <= figures["mean_overlap"] < 0.5
    assert result.holds
    assert result.verdict.startswith(f"{net} on 3 test images of camvid")
    assert "of which nothing is promised" in result.verdict
    worst = result.pictures[0].blocks[0]
    captions = [float(t.get_text().split()[1]) for t in worst.figure.axes[0].texts if "overlap" in t.get_text()]
    assert len(captions) == 3
    assert captions == sorted(captions)
    assert "Magenta pixels have no class." in worst.caption


def test_streets_are_cut_in_the_middle_and_weighed(streets):
    images = masked_sets.camvid(str(streets), (96, 128), 0.5, None, 2)
    assert images.train["image"].shape == (10, 32, 48, 3)
    assert images.test["mask"].shape == (2, 32, 48)
    np.testing.assert_array_equal(images.train["image"], images.train["mask"][..., None] * np.uint8([9, 15, 20]))
    whole = np.asarray(Image.open(streets / "train" / "0.png"))
    np.testing.assert_array_equal(images.train["image"][0], whole[2:34, 1:49])
    counts = np.bincount(images.train["mask"].ravel(), minlength=12)[:11]
    np.testing.assert_allclose(images.weights, np.sqrt(np.median(counts) / counts))


def test_streets_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXCNN_DATA", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match=r"^segmentation: expected the streets of CamVid in .*, got nothing\. Clone "
    ):
        segmentation.main(Config(dataset="camvid"))


@pytest.mark.slow
@pytest.mark.parametrize("right", [True, False])
def test_what_is_promised_of_scenes(right, monkeypatch):
    state = SimpleNamespace(params=None, model_state=None)
    history = [{"epoch": 1, "train_loss": 1.0, "train_overlap": 0.1, "seconds": 1.0}]
    monkeypatch.setattr(segmentation, "trained", lambda *_: SimpleNamespace(state=state, history=history))

    def found(net, params, state, dataset, batch_size):
        key, _ = jax.random.split(jax.random.key(0))
        truth = masked_sets.scenes(key, 32, 16, 16).test["mask"]
        return np.eye(11, dtype=np.float32)[truth if right else truth[::-1]]

    monkeypatch.setattr(segmentation.training, "predict", found)
    result = segmentation.main(SMALL)
    assert result.holds == right
    assert (result.figures["mean_overlap"] == result.figures["pixel_accuracy"] == 1) == right
    assert result.figures["weights"] is None
    missed = "NOT as promised: a mean intersection over union of 0.9. "
    assert result.verdict.startswith("unet on 16 test images of scenes" if right else missed)
