"""What is said before a training that would be said after its first epoch else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import data, segmentation
from jaxcnn.layers import Conv, Dense, Flatten, Sequential
from jaxcnn.losses import classification
from jaxcnn.training import evaluate, fit
from jaxcnn.training.arguments import expect_outputs

NET = Sequential(flatten=Flatten(), head=Dense(3))
PIXELS = Sequential(conv=Conv(3, 1))


def noted(batches):
    """Return a loss that notes what the batches are made of."""

    def loss(outputs, batch):
        batches.append({name: (array.shape, str(array.dtype)) for name, array in batch.items()})
        return outputs[:, 0]

    return loss


class Memory:
    """The source of a stream: images of one value."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __len__(self):
        return len(self.values)

    def parts(self, indices, choose, size):
        return [{"image": np.full((size, size, 1), self.values[i], np.uint8), "label": self.values[i]} for i in indices]

    def take(self, chosen):
        return Memory(self.values[chosen])

    def labels(self):
        return self.values.astype(np.int32)


@dataclasses.dataclass
class Thawed:
    """A loss that may be changed, and therefore has no hash."""

    def __call__(self, outputs, batch):
        return classification()(outputs, batch)


@pytest.mark.parametrize("given", [{"loss": Thawed()}, {"metrics": {"mine": Thawed()}}])
def test_functions_without_a_hash_are_refused_before_the_first_epoch(given):
    train = data.from_arrays(np.zeros((8, 2, 2, 1), np.uint8), np.arange(8) % 3)
    name = "loss" if "loss" in given else "mine"
    with pytest.raises(TypeError, match=rf"^fit: expected {name} with a hash, by which .*, got .*Freeze its dataclass"):
        fit(NET, train, validation=0.5, batch_size=2, key=jax.random.key(0), **given)
    fit(NET, train, epochs=1, batch_size=2, key=jax.random.key(0), **given)  # nothing is measured


def masked(size, shape=(4, 4)):
    image = np.random.default_rng(0).integers(0, 256, (size, *shape, 1), dtype=np.uint8)
    return data.from_arrays(image=image, mask=image[..., 0] // 86)


def two_views(key, batch):
    return dict(batch, image=jnp.stack([batch["image"], 1 - batch["image"]], 1))


def apart(outputs, batch):
    """A loss of two views of each image, without a `validate`."""
    return jnp.square(outputs[:, 0] - outputs[:, 1]).sum(-1)


def test_a_loss_that_needs_what_the_augmentation_makes_fails_before_the_training(easy):
    told = []

    def run(**options):
        fit(
            NET,
            easy,
            loss=apart,
            augment=two_views,
            epochs=1,
            key=jax.random.key(0),
            callbacks=[told.append],
            batch_size=20,
            **options,
        )

    with pytest.raises(
        ValueError, match=r"^loss: expected one number per image, shape \(6,\), got shape \(\)"
    ) as raised:
        run(validation=0.1)
    assert told == []
    assert "validation set" in raised.value.__notes__[-1]
    run()
    assert told


def test_a_metric_that_knows_training_batches_alone(easy):
    def late(outputs, batch):
        return batch["epoch"]

    options = {"metrics": {"late": late}}
    expect_outputs(NET, classification(), easy, None, **options)
    with pytest.raises(KeyError, match="epoch"):
        expect_outputs(NET, classification(), easy, easy, **options)


def test_metrics_say_whether_the_outputs_fit():
    train, options = masked(6), {"metrics": {"overlap": segmentation.mean_overlap(2)}}
    for validation in (None, train):
        with pytest.raises(
            ValueError, match=r"^mean_overlap: expected outputs \(\.\.\., H, W, 2\), got \(1, 4, 4, 3\)\."
        ):
            expect_outputs(PIXELS, segmentation.pixel_loss(), train, validation, **options)
    other = segmentation.mean_overlap(3, name="masks")
    with pytest.raises(ValueError, match=r"^mean_overlap: expected a batch with 'masks', got "):
        expect_outputs(PIXELS, segmentation.pixel_loss(), train, None, metrics={"overlap": other})


def test_validation_images_may_have_a_size_of_their_own():
    options = {"metrics": {"overlap": segmentation.mean_overlap(3)}}
    train = masked(6)
    expect_outputs(PIXELS, segmentation.pixel_loss(), train, masked(3, (6, 8)), **options)


@pytest.mark.parametrize("size", [7, 300])
def test_batches_are_those_of_the_evaluation(size):
    pytest.importorskip("grain")
    label = np.arange(size) % 3
    known = data.from_arrays(np.zeros((size, 4, 4, 1)), label, weight=np.ones((size, 2)), sure=label > 1)
    stream = data.Stream(Memory(label), known.info, image_size=4)
    params, state = NET.init(jax.random.key(0), known.spec)
    for part in (known, stream):
        before, after = [], []
        expect_outputs(NET, noted(before), known, part)
        evaluate(NET, params, state, part, loss=noted(after))
        assert len(before) == 1
        assert before == after
