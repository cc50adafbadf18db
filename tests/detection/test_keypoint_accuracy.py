"""Which points are right, of arrays and as a metric of the trainer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import data, training
from jaxcnn.detection import SoftArgmax, correct_keypoints, keypoint_accuracy, point_loss
from jaxcnn.layers import Conv, Sequential

pytestmark = pytest.mark.usefixtures("quick_compilation")
NAN = np.nan
FOUND = jnp.array([[[1.0, 2.0], [5.0, 5.0]], [[0.0, 0.0], [3.0, 0.5]]])
TRUTH = jnp.array([[[1.5, 2.0], [2.0, 5.0]], [[0.0, 0.0], [3.0, 3.0]]])
SIZE = jnp.array([10.0, 25.0])


def test_points_are_right_within_a_part_of_the_object():
    found = correct_keypoints(FOUND, TRUTH, SIZE)
    assert found.tolist() == [[1, 0], [1, 1]]  # off by 0.5 and 3 of 1; by 0 and 2.5 of 2.5
    assert correct_keypoints(FOUND, TRUTH, jnp.array([10.0, 24.0]))[1, 1] == 0
    assert correct_keypoints(FOUND, TRUTH, SIZE, threshold=0.3).all()
    half = correct_keypoints(FOUND.astype(jnp.float16) + 500, TRUTH.astype(jnp.float16), SIZE.astype(jnp.float16))
    assert not half.any()  # the square of their distance is no float16


def test_points_that_are_not_there_are_neither_right_nor_wrong():
    found = correct_keypoints(FOUND.at[1, 1].set(NAN), TRUTH.at[0, 1].set(NAN), SIZE)
    np.testing.assert_array_equal(found, [[1, NAN], [1, 0]])


def test_the_metric_is_of_the_points_of_all_images():
    metric = keypoint_accuracy()
    corner = jnp.array([[3.0, 4], [1, 1]])
    boxes = jnp.concatenate([corner, corner + jnp.array([[10.0, 2], [5, 25]])], 1)[:, None]
    batch = {"keypoints": TRUTH.at[1, 0].set(NAN), "boxes": boxes}
    found = jax.jit(metric)(FOUND, batch)
    assert found.tolist() == [[1, 2], [1, 1]]
    assert metric.summary(np.asarray(found).mean(0)) == pytest.approx(2 / 3)  # no mean of 1/2 and 1
    sizes = keypoint_accuracy(size="size", name="points")(FOUND, {"points": TRUTH, "size": SIZE})
    assert sizes.tolist() == [[1, 2], [2, 2]]
    assert np.isnan(metric.summary(np.zeros(2)))
    assert keypoint_accuracy(threshold=0.1) == metric


@pytest.mark.slow
def test_the_trainer_takes_it_and_points_that_are_missing():
    draw = np.random.default_rng(0)
    points = draw.uniform(1, 7, (12, 2, 2)).astype(np.float32)
    points[::3, 0] = NAN
    train = data.from_arrays(
        draw.random((12, 8, 8, 1)).astype(np.float32), keypoints=points, size=np.full(12, 16, np.float32)
    )
    net = Sequential(heat=Conv(2, 3), points=SoftArgmax())
    result = training.fit(
        net, train, validation=train, loss=point_loss(), epochs=2, batch_size=4, key=jax.random.key(0),
        metrics={"right": keypoint_accuracy(threshold=0.25, size="size")},
    )  # fmt: skip
    outputs = training.predict(net, result.state.params, result.state.model_state, train)
    right = correct_keypoints(jnp.asarray(outputs), jnp.asarray(points), jnp.full(12, 16.0), threshold=0.25)
    best = result.history[result.best_epoch - 1]
    assert best["validation_right"] == pytest.approx(float(jnp.nanmean(right)))
    assert 0 < best["validation_right"] < 1
    assert [epoch["skipped"] for epoch in result.history] == [0, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: correct_keypoints(FOUND, TRUTH, jnp.ones(3)),
            r"correct_keypoints: expected found and true points .* got \(2, 2, 2\), \(2, 2, 2\) and \(3,\)",
        ),
        (
            lambda: correct_keypoints(FOUND, TRUTH, SIZE, threshold=0),
            "correct_keypoints: .* finite threshold > 0, got 0",
        ),
        (lambda: keypoint_accuracy(threshold=np.inf), "keypoint_accuracy: .* finite threshold > 0, got inf"),
        (
            lambda: keypoint_accuracy()(FOUND, {"keypoints": TRUTH}),
            r"keypoint_accuracy: expected a batch with 'keypoints' and 'boxes', got \['keypoints'\]",
        ),
        (
            lambda: keypoint_accuracy()(FOUND, {"keypoints": TRUTH, "boxes": jnp.ones((2, 4))}),
            r"keypoint_accuracy: expected 'boxes' \(N,\), or boxes \(N, K, 4\), got \(2, 4\)",
        ),
        (
            lambda: keypoint_accuracy(size="size")(FOUND, {"keypoints": TRUTH[:, :1], "size": SIZE}),
            r"keypoint_accuracy: expected found and true points .* got \(2, 2, 2\), \(2, 1, 2\) and \(2,\)",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
