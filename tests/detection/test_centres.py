"""Heat maps and the loss of objects as points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from jaxcnn.detection import centre_loss, heat_map, intersection_over_union
from jaxcnn.detection.heat_map import OVERLAP, _radius
from tests.detection.perfect import BOXES, KINDS, perfect


def test_heat_maps_have_a_peak_at_each_centre():
    heat = heat_map(BOXES, KINDS, shape=(8, 8), classes=2, stride=4)
    assert heat.shape == (8, 8, 2)
    assert np.argwhere(np.asarray(heat) == 1).tolist() == [[1, 6, 0], [4, 1, 1]]
    wide = np.asarray(heat_map(jnp.array([[0.0, 0, 64, 32]]), KINDS[:1], shape=(8, 16), classes=2, stride=4))
    deviation = float(_radius(jnp.array([16.0, 8.0]))) / 3  # in cells, of which the box is 16 by 8
    beside = np.exp(-1 / (2 * deviation**2))
    np.testing.assert_allclose(wide[[5, 3, 4, 4], [8, 8, 7, 9], 1], beside, rtol=1e-3)  # round
    assert not heat_map(BOXES, jnp.full(3, -1), shape=(8, 8), classes=2, stride=4).any()


@pytest.mark.parametrize("size", [(8.0, 8.0), (20.0, 5.0), (3.0, 30.0)])
def test_a_box_shifted_by_the_radius_overlaps_as_much(size):
    r, (w, h) = float(_radius(jnp.array(size))), size
    box = jnp.array([[0.0, 0, w, h]])
    moved = jnp.array([[r, r, w + r, h + r], [r, r, w - r, h - r], [-r, -r, w + r, h + r]])
    found = intersection_over_union(box, moved)[0]
    assert found.min() == pytest.approx(OVERLAP, abs=1e-4)


def test_the_loss_by_hand():
    boxes = jnp.concatenate([BOXES, jnp.array([[0.0, 0, 64, 64]])])  # the heat of a large one is felt beside its centre
    kinds = jnp.append(KINDS, 0)
    outputs = np.random.default_rng(0).normal(0, 1, (1, 16, 16, 6)).astype(np.float32)
    wanted = np.asarray(heat_map(boxes, kinds, shape=(16, 16), classes=2, stride=4), np.float64)
    p = expit(outputs[0, ..., :2].astype(np.float64))
    focal = np.where(wanted == 1, -((1 - p) ** 2) * np.log(p), -((1 - wanted) ** 4) * p**2 * np.log(1 - p)).sum()
    at = outputs[0, [4, 1, 8], [1, 6, 8], 2:]
    size = np.abs(at[:, :2] - np.array([[2.25, 3.75], [2, 1.25], [16, 16]])).sum()
    offset = np.abs(at[:, 2:] - np.array([[0.875, 0.125], [0.25, 0.375], [0, 0]])).sum()
    found = centre_loss(4)(jnp.asarray(outputs), {"boxes": boxes[None], "box_class": kinds[None]})
    np.testing.assert_allclose(found, [(focal + 0.1 * size + offset) / 3], rtol=1e-5)


@pytest.mark.slow
def test_the_loss_of_perfect_outputs_is_small_and_images_without_objects_have_one():
    loss = centre_loss(4)
    assert loss(perfect(BOXES, KINDS), {"boxes": BOXES[None], "box_class": KINDS[None]})[0] < 1e-3
    none = {"boxes": jnp.zeros((1, 3, 4)), "box_class": jnp.full((1, 3), -1)}
    found = loss(jnp.zeros((1, 8, 8, 6)), none)
    np.testing.assert_allclose(found, [128 * 0.25 * np.log(2)], rtol=1e-6)
    assert np.isfinite(jax.grad(lambda y: loss(y, none).sum())(jnp.zeros((1, 8, 8, 6)))).all()


@pytest.mark.slow
def test_a_box_that_augmentation_moved_out_of_the_image_is_none():
    loss, outputs = centre_loss(4), jax.random.normal(jax.random.key(0), (1, 8, 8, 6))
    gone = BOXES.at[1].set(jnp.array([32.0, 3, 32, 8]))
    with_it = loss(outputs, {"boxes": gone[None], "box_class": KINDS[None]})
    without = loss(outputs, {"boxes": BOXES[None], "box_class": KINDS.at[1].set(-1)[None]})
    np.testing.assert_array_equal(with_it, without)


@pytest.mark.slow
def test_sets_without_objects_have_no_rows():
    none = {"boxes": np.zeros((2, 0, 4), np.float32), "box_class": np.zeros((2, 0), np.int32)}
    centre_loss(4).validate(jax.ShapeDtypeStruct((1, 8, 8, 6), jnp.float32), none)
    found = centre_loss(4)(jnp.zeros((2, 8, 8, 6)), jax.tree.map(jnp.asarray, none))
    np.testing.assert_allclose(found, [128 * 0.25 * np.log(2)] * 2, rtol=1e-6)


def test_the_stride_is_that_of_the_images():
    """Too large a one would train at another scale, too small a one would have true boxes cut off."""
    arrays = {"boxes": np.array([[[0.0, 0, 4, 32]]]), "box_class": np.array([[0]]), "image": np.zeros((1, 32, 64, 3))}
    outputs = jax.ShapeDtypeStruct((1, 8, 16, 6), jnp.float32)
    centre_loss(4).validate(outputs, arrays)
    for wrong, pixels in ((8, "64, 128"), (2, "16, 32")):
        message = (
            rf"images \(N, {pixels}, C\), {wrong} times the outputs' 8x16 cells, got \(1, 32, 64, 3\)\. Pass centre"
        )
        with pytest.raises(ValueError, match=rf"^centre_loss: expected {message}_loss\(4\)\."):
            centre_loss(wrong).validate(outputs, arrays)
    for size in ((32, 32), (33, 66)):
        with pytest.raises(ValueError, match=r"^centre_loss: .* Give them sides that the net's stride divides\."):
            centre_loss(4).validate(outputs, arrays | {"image": np.zeros((1, *size, 3))})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box_class": np.array([[0, 2]])}, r"expected classes in -1\.\.1, got \[2\]\. Number the classes from 0"),
        ({"box_class": np.array([[0, 0.5]])}, r"expected box_class of an integer dtype, got float64\. Number"),
        (
            {"boxes": np.array([[[0, 0, 4, 4], [0, 0, 40, 4.0]]])},
            r"expected boxes within .* 32x32 pixels, got .*40\.0, 4\.0\]\]\. Cut",
        ),
        (
            {"boxes": np.array([[[0, 0, 4, 4], [8, 0, 4, 4.0]]])},
            r"expected boxes x0 < x1 and y0 < y1, got \[\[8\.0, .* Swap",
        ),
        ({"boxes": np.array([[[0, 0, 4, 4], [0, 0, np.nan, 4.0]]])}, "expected finite boxes, got .*nan.*class -1"),
        ({"boxes": np.zeros((1, 2, 3))}, r"expected boxes \(N, K, 4\) and box_class \(N, K\)"),
        ({"boxes": None}, 'expected data with "boxes" and "box_class"'),
    ],
)
def test_bad_boxes_are_refused_before_any_work(change, message):
    arrays = {"boxes": np.array([[[0, 0, 4, 4], [4, 4, 8, 8.0]]]), "box_class": np.array([[0, 1]])} | change
    arrays = {name: value for name, value in arrays.items() if value is not None}
    outputs = jax.ShapeDtypeStruct((1, 8, 8, 6), jnp.float32)
    with pytest.raises((ValueError, TypeError), match=f"^centre_loss: {message}"):
        centre_loss(4).validate(outputs, arrays)


OUTPUTS = jnp.zeros((1, 8, 8, 6))
BATCH = {"boxes": BOXES[None], "box_class": KINDS[None]}
SHAPE = {"shape": (8, 8), "classes": 2, "stride": 4}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: centre_loss(0), r"centre_loss: expected stride as a positive int, got 0\."),
        (lambda: centre_loss(4, size_weight=-1), r"centre_loss: expected a finite size_weight >= 0, got -1\."),
        (lambda: centre_loss(4, size_weight=np.inf), r"centre_loss: expected a finite size_weight >= 0, got inf\."),
        (lambda: centre_loss(4)(OUTPUTS, {}), r'centre_loss: expected data with "boxes" and "box_class", got \[\]\.'),
        (
            lambda: centre_loss(4)(OUTPUTS[0], BATCH),
            r"centre_loss: expected outputs \(N, h, w, classes \+ 4\), got \(8,",
        ),
        (lambda: centre_loss(4)(OUTPUTS.astype(int), BATCH), "centre_loss: expected outputs of a floating dtype"),
        (
            lambda: centre_loss(4)(OUTPUTS, BATCH | {"box_class": KINDS[None, :2]}),
            r"centre_loss: expected boxes \(N, K, 4\) and box_class \(N, K\), got \[\(1, 3, 4\), \(1, 2\)\]\.",
        ),
        (
            lambda: centre_loss(4)(OUTPUTS, BATCH | {"box_class": KINDS[None] + 0.5}),
            r"centre_loss: expected box_class of an integer dtype, got float32\.",
        ),
        (
            lambda: centre_loss(4)(jnp.zeros((2, 8, 8, 6)), BATCH),
            r"centre_loss: expected boxes of 2 images, got 1\.",
        ),
        (
            lambda: centre_loss(4).validate(jax.ShapeDtypeStruct((1, 10), jnp.float32), {}),
            r"centre_loss: expected outputs \(N, h, w, classes \+ 4\), got \(1, 10\)\.",
        ),
        (
            lambda: heat_map(BOXES[None], KINDS[None], **SHAPE),
            r"heat_map: expected boxes \(K, 4\) and box_class \(K,\) of one image, got \(1, 3, 4\) and \(1, 3\)\.",
        ),
        (lambda: heat_map(BOXES, KINDS[:1], **SHAPE), r"heat_map: .* got \(3, 4\) and \(1,\)\. jax\.vmap"),
        (lambda: heat_map(BOXES.astype(int), KINDS, **SHAPE), "heat_map: expected boxes of a floating dtype"),
        (lambda: heat_map(BOXES, KINDS + 0.5, **SHAPE), "heat_map: expected box_class of an integer dtype, got float"),
        (
            lambda: heat_map(BOXES, KINDS, **SHAPE | {"shape": 8}),
            r"heat_map: expected shape as \(rows, columns\), got 8",
        ),
        (lambda: heat_map(BOXES, KINDS, **SHAPE | {"stride": 0}), "heat_map: expected stride as a positive int, got 0"),
        (lambda: heat_map(BOXES, KINDS, **SHAPE | {"classes": 0}), "heat_map: expected classes as a positive int"),
    ],
)
def test_other_bad_input(call, message):
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        call()
