"""Heat maps, loss and decoding of objects as points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from jaxcnn.detection import Found, centre_loss, decode, heat_map, intersection_over_union
from jaxcnn.detection.centres import OVERLAP, _radius

BOXES = jnp.array([[4.0, 8, 12, 24], [20, 4, 28, 12], [0, 0, 0, 0]])
KINDS = jnp.array([1, 0, -1])


def perfect(boxes, kinds, shape=(8, 8), classes=2, stride=4):
    """Return what a net should give: logits of the heat, 10 at centres, and sizes and offsets everywhere there."""
    heat = heat_map(boxes, kinds, shape=shape, classes=classes, stride=stride)
    beside = np.zeros((*shape, 4), np.float32)
    for (x0, y0, x1, y1), kind in zip(np.asarray(boxes), np.asarray(kinds), strict=True):
        if kind >= 0:
            cx, cy = (x0 + x1) / 2 / stride, (y0 + y1) / 2 / stride
            beside[int(cy), int(cx)] = [(x1 - x0) / stride, (y1 - y0) / stride, cx % 1, cy % 1]
    return jnp.concatenate([jnp.where(heat == 1, 10.0, -10.0), beside], -1)[None]


@pytest.mark.slow
def test_heat_maps_have_a_peak_at_each_centre():
    heat = heat_map(BOXES, KINDS, shape=(8, 8), classes=2, stride=4)
    assert heat.shape == (8, 8, 2)
    assert np.argwhere(np.asarray(heat) == 1).tolist() == [[2, 6, 0], [4, 2, 1]]
    assert heat[4, 1, 1] == heat[4, 3, 1] == heat[3, 2, 1]  # round
    assert not heat_map(BOXES, jnp.full(3, -1), shape=(8, 8), classes=2, stride=4).any()


@pytest.mark.parametrize("size", [(8.0, 8.0), (20.0, 5.0), (3.0, 30.0)])
def test_a_box_shifted_by_the_radius_overlaps_as_much(size):
    r, (w, h) = float(_radius(jnp.array(size))), size
    box = jnp.array([[0.0, 0, w, h]])
    moved = jnp.array([[r, r, w + r, h + r], [r, r, w - r, h - r], [-r, -r, w + r, h + r]])
    found = intersection_over_union(box, moved)[0]
    assert found.min() == pytest.approx(OVERLAP, abs=1e-4)


@pytest.mark.slow
def test_the_loss_by_hand():
    loss = centre_loss(4)
    batch = {"boxes": BOXES[None], "box_class": KINDS[None]}
    outputs = np.random.default_rng(0).normal(0, 1, (1, 8, 8, 6)).astype(np.float32)
    wanted = np.asarray(heat_map(BOXES, KINDS, shape=(8, 8), classes=2, stride=4), np.float64)
    p = expit(outputs[0, ..., :2].astype(np.float64))
    focal = np.where(wanted == 1, -((1 - p) ** 2) * np.log(p), -((1 - wanted) ** 4) * p**2 * np.log(1 - p)).sum()
    at = outputs[0, [4, 2], [2, 6], 2:]
    size = np.abs(at[:, :2] - np.array([[2, 4], [2, 2]])).sum()
    offset = np.abs(at[:, 2:] - np.array([[0, 0], [0, 0]])).sum()
    np.testing.assert_allclose(loss(jnp.asarray(outputs), batch), [(focal + 0.1 * size + offset) / 2], rtol=1e-5)


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
    gone = BOXES.at[1].set(jnp.array([32.0, 4, 32, 12]))
    with_it = loss(outputs, {"boxes": gone[None], "box_class": KINDS[None]})
    without = loss(outputs, {"boxes": BOXES[None], "box_class": KINDS.at[1].set(-1)[None]})
    np.testing.assert_array_equal(with_it, without)


@pytest.mark.slow
def test_decoding_gives_the_boxes_back():
    found = jax.jit(lambda y: decode(y, stride=4, limit=5))(perfect(BOXES, KINDS))
    assert found.boxes.shape == (1, 5, 4)
    order = np.argsort(np.asarray(found.label[0, :2]))
    np.testing.assert_allclose(found.boxes[0, :2][order], BOXES[:2][::-1], atol=1e-5)
    assert (found.score[0, :2] > 0.99).all()
    assert (found.score[0, 2:] < 0.01).all()


@pytest.mark.slow
def test_neighbours_of_a_peak_are_no_peaks_and_boxes_that_overlap_may_be_suppressed():
    outputs = np.full((1, 8, 8, 5), -8, np.float32)
    outputs[0, 3, 3:6, 0] = [3, 2, 4]  # two peaks, two cells apart
    outputs[..., 1:3], outputs[..., 3:] = 6, 0
    both = decode(jnp.asarray(outputs), stride=4, limit=2)
    np.testing.assert_allclose(both.score[0], expit([4.0, 3.0]), rtol=1e-5)
    one = decode(jnp.asarray(outputs), stride=4, limit=2, overlap=0.4)
    assert one.label[0].tolist() == [0, -1]
    assert one.score[0, 1] == 0


def test_rows_are_of_one_image_each_and_leave_out_low_scores():
    found = Found(jnp.zeros((2, 3, 4)), jnp.array([[0.9, 0.3, 0], [0.2, 0, 0]]), jnp.array([[1, 0, -1], [2, -1, -1]]))
    assert [row["class"].tolist() for row in found.rows()] == [[1, 0, -1], [2, -1, -1]]
    assert [row["class"].tolist() for row in found.rows(0.3)] == [[1, 0, -1], [-1, -1, -1]]
    assert [(row["boxes"].shape, row["score"].shape) for row in found.rows()] == [((3, 4), (3,))] * 2


def test_more_rows_than_cells():
    found = decode(jnp.zeros((2, 2, 2, 5)), stride=4, limit=9)
    assert found.label.shape == (2, 9)
    assert found.label[0].tolist() == [0] * 4 + [-1] * 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box_class": np.array([[0, 2]])}, r"expected classes in -1\.\.1, got 0\.\.2\. Number the classes from 0"),
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
    with pytest.raises(ValueError, match=f"^centre_loss: {message}"):
        centre_loss(4).validate(outputs, arrays)


def test_other_bad_input():
    with pytest.raises(ValueError, match=r"^centre_loss: expected stride as a positive int, got 0"):
        centre_loss(0)
    with pytest.raises(ValueError, match=r'^centre_loss: expected a batch with "boxes" and "box_class"'):
        centre_loss(4)(jnp.zeros((1, 8, 8, 6)), {})
    with pytest.raises(ValueError, match=r"^decode: expected outputs \(N, h, w, classes \+ 4\), got \(8, 8, 4\)"):
        decode(jnp.zeros((8, 8, 4)), stride=4)
    with pytest.raises(ValueError, match=r"^centre_loss: expected outputs \(N, h, w, classes \+ 4\)"):
        centre_loss(4).validate(jax.ShapeDtypeStruct((1, 10), jnp.float32), {})
