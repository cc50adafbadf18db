"""The experiment on detection: a small run, and what it says."""

import json

import jax
import numpy as np
import pytest

from experiments import detection
from experiments.detection import Config

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(width=2, size=32, train_images=32, test_images=16, epochs=1, batch_size=16, limit=5)


@pytest.mark.slow
def test_a_small_run_and_its_record():
    result = detection.main(SMALL)
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert len(figures["average_precision_50_of_class"]) == 10
    assert 0 <= figures["average_precision"] <= figures["average_precision_50"] < 0.5
    assert not result.holds
    assert result.verdict.startswith("NOT as promised: an average precision of 0.8. 16 test images (scenes)")


@pytest.mark.slow
def test_true_boxes_hold(monkeypatch):
    test = detection.data.Scenes(size=32).dataset(jax.random.split(jax.random.key(0), 3)[1], 16)

    def knows(outputs, **options):
        return detection.detection.Found(test["boxes"], np.ones(test["box_class"].shape), test["box_class"])

    monkeypatch.setattr(detection.detection, "decode", knows)
    result = detection.main(SMALL)
    assert result.holds
    assert result.figures["average_precision"] == 1
    assert result.verdict.startswith("16 test images (scenes)")
    assert "average precision 1.000 at an overlap of 0.5, 1.000 at 0.75" in result.verdict


@pytest.mark.slow
def test_blood_cells_or_any_set_in_their_form(tmp_path):
    """Two images, one without an object, one with more than there are slots."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / name).mkdir(parents=True)
    box = "<bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>20</xmax><ymax>20</ymax></bndbox>"
    for name, count in (("a", 3), ("b", 0)):
        for split in ("train", "test"):
            pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
            image.fromarray(pixels).save(tmp_path / f"JPEGImages/{name}{split}.png")
            rows = "".join(f"<object><name>cell</name>{box.format(1 + at)}</object>" for at in range(count))
            (tmp_path / f"Annotations/{name}{split}.xml").write_text(f"<annotation>{rows}</annotation>")
            with (tmp_path / f"ImageSets/Main/{split}.txt").open("a") as file:
                file.write(f"{name}{split}\n")
    small = {"shape": (16, 24), "slots": 2, "width": 2, "epochs": 1, "batch_size": 2, "limit": 5}
    result = detection.main(Config(dataset="bccd", path=str(tmp_path), **small))
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert (figures["training_images"], figures["test_images"], figures["test_boxes"]) == (2, 2, 3)
    assert "1 of its 3 boxes left out, beyond 2 of an image" in figures["source"][0]
    assert "left out" not in figures["source"][1]
    captions = [text.get_text() for text in result.pictures[0].blocks[1].figure.axes[0].texts]
    assert captions[-1] == "no object"


def test_an_image_without_objects_is_worst_if_something_is_found():
    boxes, none = {"box_class": np.array([2, -1])}, {"box_class": np.array([-1])}
    order = detection.worst_first(np.array([0.5, np.nan, np.nan, 0.2]), [boxes, none, boxes, boxes])
    assert order.tolist() == [2, 3, 0, 1]


def test_a_set_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXCNN_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"^detection: .*got nothing at .*bccd\.zip\. Put .*BCCD_Dataset"):
        detection.main(Config(dataset="bccd"))
