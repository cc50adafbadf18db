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


def test_counts_of_any_leading_axes():
    draw = np.random.default_rng(1)
    labels, found = draw.integers(-1, 4, (2, 3, 5, 6)), draw.integers(0, 4, (2, 3, 5, 6)).astype(np.uint8)
    counted = counts(labels, found, 4)
    assert (counted.dtype, counted.shape) == (jnp.float32, (2, 3, 4, 4))
    for at in np.ndindex(2, 3):
        pairs = [((labels[at] == i) & (found[at] == j)).sum() for i in range(4) for j in range(4)]
        assert counted[at].ravel().tolist() == pairs
    assert (counts(labels[0, 1], found[0, 1], 4) == counted[0, 1]).all()  # one image
    assert (jax.jit(jax.vmap(lambda t, f: counts(t, f, 4)))(labels, found) == counted).all()
    assert counts(labels[:0], found[:0], 4).shape == (0, 3, 4, 4)


def test_counting_takes_no_memory_for_each_class_of_each_pixel():
    masks = jax.ShapeDtypeStruct((2, 64, 64), jnp.int32)
    program = jax.jit(counts, static_argnums=2).lower(masks, masks, 150).compile()
    assert program.memory_analysis().temp_size_in_bytes < 2 * 64 * 64 * 150


def test_a_metric_of_other_classes_than_the_nets():
    """Pixels taken for class 2 would be left out, and half of the pixels right give 1.0."""
    logits, batch = jax.nn.one_hot(jnp.array([[[0, 2], [1, 2]]]), 3), {"mask": jnp.array([[[0, 0], [1, 1]]])}
    message = (
        r"^mean_overlap: expected outputs \(\.\.\., H, W, 2\), got \(1, 2, 2, 3\)\. Name as many classes as the net"
    )
    for run in (lambda: jax.jit(mean_overlap(2))(logits, batch), lambda: mean_overlap(2).validate(logits, batch)):
        with pytest.raises(ValueError, match=message):
            run()
    metric = mean_overlap(3)
    metric.validate(logits, batch)
    assert metric.summary(metric(logits, batch)[0]) == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((2, 8, 8), int), r"masks \(N, 4, 6\), got \(2, 8, 8\)\. Resize them, without"),
        (np.zeros((2, 4, 6, 3), int), r"masks \(N, 4, 6\), got \(2, 4, 6, 3\)\. Resize"),
        (np.full((2, 4, 6), 3), r"labels in 0\.\.2 for 3 classes, got \[3\]\. Number the"),
        (None, "a batch with 'mask', got"),
    ],
)
def test_bad_masks_are_refused_before_any_work(mask, message):
    arrays = {} if mask is None else {"mask": mask}
    with pytest.raises(ValueError, match=f"^mean_overlap: expected {message}"):
        mean_overlap(3).validate(jax.ShapeDtypeStruct((1, 4, 6, 3), jnp.float32), arrays)


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
    with pytest.raises(ValueError, match=r"^mean_overlap: expected void labels outside 0\.\.2, got \[2\]\. Take"):
        mean_overlap(3, void=(2, 255))
    for shape in ((3, 3, 3), (3,), (3, 2), ()):
        with pytest.raises(
            ValueError, match=r"^class_overlaps: expected counts \(classes, classes\), got \(.*\)\. Add"
        ):
            class_overlaps(np.ones(shape))
    with pytest.raises(ValueError, match=r"^mean_overlap: expected a batch with 'mask', got \['object_mask'\]\. Pass"):
        mean_overlap(3)(jax.nn.one_hot(FOUND, 3), {"object_mask": LABELS})
