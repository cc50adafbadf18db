"""Metrics that are no means over examples: counts that add up over batches, and what they come to."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn import data, search, segmentation, training
from jaxcnn import functional as F
from jaxcnn.layers import Conv, Sequential

NET = Sequential(conv1=Conv(4), act1=F.relu, conv2=Conv(3))
METRIC = segmentation.mean_overlap(3)


@dataclasses.dataclass(frozen=True)
class Counts:
    """Counts of one number an image, to see how they are summed."""

    def __call__(self, outputs, batch):
        return jnp.stack([jnp.ones(len(outputs)), batch["label"].astype(jnp.float32)], -1)

    def summary(self, mean):
        return mean[1] / mean[0]


@pytest.fixture(scope="module")
def masks():
    """22 images of noise, whose masks follow from what is bright."""
    image = np.random.default_rng(0).integers(0, 256, (22, 8, 8, 1), dtype=np.uint8)
    mask = (image[..., 0] // 86).astype(np.uint8)
    return data.from_arrays(image=image, label=np.arange(22) % 3, mask=mask)


def trained(masks, **options):
    return training.fit(
        NET,
        masks,
        validation=masks,
        loss=segmentation.pixel_loss(),
        metrics={"overlap": METRIC, "label": Counts()},
        epochs=2,
        batch_size=4,
        key=jax.random.key(0),
        **options,
    )


def test_where_all_steps_are_skipped_nothing_is_summarized(masks):
    explode = optax.GradientTransformation(
        lambda params: (), lambda g, s, p: (jax.tree.map(lambda x: x + jnp.inf, g), s)
    )
    with pytest.raises(FloatingPointError, match="and in 6 steps one after another"):
        trained(masks, optimizer=explode, skip_limit=6)


@pytest.mark.slow
def test_evaluation_counts_every_image_once(masks):
    params, state = NET.init(jax.random.key(1), masks.spec)
    outputs = training.predict(NET, params, state, masks)
    expected = METRIC.summary(METRIC(jnp.asarray(outputs), {"mask": jnp.asarray(masks["mask"])}).sum(0))
    for batch_size in (22, 5):  # the last of 5 has 2 images and 3 copies
        found = training.evaluate(
            NET,
            params,
            state,
            masks,
            loss=segmentation.pixel_loss(),
            metrics={"overlap": METRIC, "label": Counts()},
            batch_size=batch_size,
        )
        assert found["overlap"] == pytest.approx(expected, rel=1e-6)
        assert found["label"] == pytest.approx(masks["label"].mean())
        assert type(found["overlap"]) is float


@pytest.mark.slow
def test_fit_keeps_figures_of_them(masks):
    result = trained(masks, monitor="overlap")
    for line in result.history:
        assert 0 < line["train_overlap"] < 1
        assert 0 < line["validation_overlap"] < 1
        assert 0 <= line["train_label"] <= 2
    best = max(result.history, key=lambda line: line["validation_overlap"])
    assert result.best_epoch == best["epoch"]


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_with_its_counts(masks, tmp_path):
    class KilledError(Exception):
        pass

    def kill(event):
        if event.kind == "step" and event.step == 8:  # within the second epoch of 5 steps
            raise KilledError

    with pytest.raises(KilledError):
        trained(masks, run_dir=tmp_path / "run", save_every=1, callbacks=[kill])
    resumed = trained(masks, run_dir=tmp_path / "run", resume=True)
    without = trained(masks)
    timed = ("seconds", "images_per_second")
    for ours, theirs in zip(resumed.history, without.history, strict=True):
        assert {n: v for n, v in ours.items() if n not in timed} == {n: v for n, v in theirs.items() if n not in timed}


def test_several_numbers_an_image_without_a_summary_are_refused(masks):
    with pytest.raises(
        ValueError, match=r"^overlap: expected one number per image, shape \(4,\), got shape \(4, 8, 8\)"
    ):
        training.fit(
            NET,
            masks,
            loss=segmentation.pixel_loss(),
            metrics={"overlap": lambda outputs, batch: outputs[..., 0]},
            batch_size=4,
            key=jax.random.key(0),
        )


def test_lanes_take_means_alone(masks):
    with pytest.raises(ValueError, match=r"^random_restarts: expected metrics that are means over examples, got \['o"):
        search.random_restarts(
            NET,
            masks,
            loss=segmentation.pixel_loss(),
            metrics={"overlap": METRIC},
            key=jax.random.key(0),
            restarts=2,
            epochs=1,
            batch_size=4,
        )
