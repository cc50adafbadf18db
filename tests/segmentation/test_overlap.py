"""Intersection over union, by hand and of counts that add up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.segmentation import class_overlaps, counts, mean_overlap

LABELS = jnp.array([[[0, 0, 1], [1, 2, 255]], [[0, 0, 0], [0, 0, 0]]])
FOUND = jnp.array([[[0, 1, 1], [1, 1, 2]], [[0, 0, 0], [0, 0, 1]]])


def test_counts_by_hand():
    counted = counts(LABELS, FOUND, 3)
    assert counted[0].tolist() == [[1, 1, 0], [0, 2, 0], [0, 1, 0]]  # the pixel of 255 is not counted
    assert counted[1].tolist() == [[5, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_overlaps_of_all_images_together():
    found = class_overlaps(counts(LABELS, FOUND, 4).sum(0))
    np.testing.assert_allclose(found[:3], [6 / 8, 2 / 5, 0])
    assert np.isnan(found[3])


def test_agrees_with_the_definition_on_large_masks():
    draw = np.random.default_rng(0)
    labels, found = draw.integers(0, 5, (3, 64, 64)), draw.integers(0, 5, (3, 64, 64))
    expected = [((labels == c) & (found == c)).sum() / ((labels == c) | (found == c)).sum() for c in range(5)]
    got = class_overlaps(jax.jit(counts, static_argnums=2)(labels, found, 5).sum(0))
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_the_trainers_metric():
    metric = mean_overlap(3)
    logits = jax.nn.one_hot(FOUND, 3)
    mean = metric(logits, {"mask": LABELS[..., None]}).mean(0)
    assert metric.summary(mean) == pytest.approx((6 / 8 + 2 / 5 + 0) / 3)
    assert np.isnan(metric.summary(jnp.zeros((3, 3))))


def test_bad_input():
    with pytest.raises(
        ValueError, match=r"^counts: expected predictions of the labels' shape \(2, 2, 3\), got \(2, 3\)"
    ):
        counts(LABELS, FOUND[0], 3)
    with pytest.raises(TypeError, match=r"^counts: expected predictions of an integer dtype"):
        counts(LABELS, FOUND * 1.0, 3)
    with pytest.raises(ValueError, match=r"^mean_overlap: expected classes as a positive int, got 0"):
        mean_overlap(0)
    with pytest.raises(ValueError, match=r"^counts: expected labels in 0\.\.1 for 2 classes, got \[2\]\. Number the"):
        counts(LABELS, FOUND, 2)
    with pytest.raises(ValueError, match=r"^counts: expected predictions in 0\.\.2 for 3 classes, got \[255\]\. Num"):
        counts(FOUND, LABELS, 3)
    with pytest.raises(ValueError, match=r"^counts: expected labels in 0\.\.2 for 3 classes, got \[255\]\."):
        counts(LABELS, FOUND, 3, void=(11,))
    with pytest.raises(ValueError, match=r"^mean_overlap: expected void as a tuple of ints, got 'none'\."):
        mean_overlap(3, void="none")
    with pytest.raises(ValueError, match=r"^mean_overlap: expected a batch with 'mask', got \['object_mask'\]\. Pass"):
        mean_overlap(3)(jax.nn.one_hot(FOUND, 3), {"object_mask": LABELS})
