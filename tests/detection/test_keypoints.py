"""Places as outputs of nets: soft-argmax, the smooth absolute error, and which points are right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.detection import SoftArgmax, correct_keypoints, point_loss, soft_argmax

OUTPUTS = jnp.array([[[1.0, 2.0], [5.0, 5.0]], [[0.0, 0.0], [3.0, 0.5]]])
POINTS = jnp.array([[[1.5, 2.0], [2.0, 5.0]], [[0.0, 0.0], [3.0, 3.0]]])


def test_the_place_of_a_peak_and_of_a_flat_map():
    heat = np.full((6, 8, 2), -50, np.float32)
    heat[2, 5, 0] = 50
    heat[..., 1] = 0
    np.testing.assert_allclose(soft_argmax(jnp.asarray(heat), stride=4), [[22, 10], [16, 12]], rtol=1e-6)
    two = np.full((1, 4, 1), -50, np.float32)
    two[0, [0, 3], 0] = [np.log(3), 0]  # of which the first has three quarters
    np.testing.assert_allclose(soft_argmax(jnp.asarray(two)), [[0.75 * 0.5 + 0.25 * 3.5, 0.5]], rtol=1e-5)


@pytest.mark.slow
def test_the_layer_is_the_function():
    heat = jax.random.normal(jax.random.key(0), (2, 3, 4, 5, 6))
    found = SoftArgmax(2)(heat)
    assert found.shape == (2, 3, 6, 2)
    np.testing.assert_array_equal(found, soft_argmax(heat, stride=2))
    assert SoftArgmax(2) == SoftArgmax(2)


def test_the_loss_by_hand():
    found = point_loss()(OUTPUTS, {"keypoints": POINTS})
    np.testing.assert_allclose(found, [(0.125 + 2.5) / 2, 2 / 2])
    wide = point_loss(beta=4.0, name="corners")(OUTPUTS, {"corners": POINTS})
    np.testing.assert_allclose(wide, [(0.5 * 0.25 / 4 + 0.5 * 9 / 4) / 2, 0.5 * 6.25 / 4 / 2])


def test_the_loss_agrees_with_torch():
    torch = pytest.importorskip("torch")
    a, b = (np.random.default_rng(n).normal(0, 2, (3, 4, 2)).astype(np.float32) for n in (0, 1))
    for beta in (0.5, 1.0, 3.0):
        theirs = torch.nn.functional.smooth_l1_loss(torch.tensor(a), torch.tensor(b), beta=beta)
        ours = point_loss(beta=beta)(jnp.asarray(a), {"keypoints": jnp.asarray(b)}).mean() / 2
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_points_are_right_within_a_part_of_the_object():
    found = correct_keypoints(OUTPUTS, POINTS, jnp.array([10.0, 25.0]))
    assert found.tolist() == [[True, False], [True, True]]  # off by 0.5 and 3 of 1; by 0 and 2.5 of 2.5
    assert not correct_keypoints(OUTPUTS, POINTS, jnp.array([10.0, 24.0]))[1, 1]
    assert correct_keypoints(OUTPUTS, POINTS, jnp.array([10.0, 25.0]), threshold=0.3).all()


SPEC = jax.ShapeDtypeStruct((1, 2, 2), jnp.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: soft_argmax(jnp.zeros((4, 4))), ValueError, r"soft_argmax: expected heat maps \(\.\.\., h, w, K\)"),
        (lambda: soft_argmax(jnp.zeros((4, 4, 1), int)), TypeError, "soft_argmax: expected heat of a floating dtype"),
        (lambda: SoftArgmax(0), ValueError, "SoftArgmax: expected stride as a positive int, got 0"),
        (lambda: point_loss(beta=0), ValueError, "point_loss: expected beta > 0, got 0"),
        (lambda: point_loss()(OUTPUTS, {}), ValueError, "point_loss: expected a batch with 'keypoints'"),
        (
            lambda: point_loss().validate(SPEC, {"keypoints": np.zeros((5, 3, 2))}),
            ValueError,
            r"point_loss: expected 'keypoints' of shape \(N, 2, 2\), got \(5, 3, 2\)",
        ),
        (
            lambda: point_loss().validate(SPEC, {"keypoints": np.full((5, 2, 2), np.nan)}),
            ValueError,
            "point_loss: expected finite 'keypoints', got .*nan",
        ),
        (lambda: point_loss().validate(SPEC, {}), ValueError, "point_loss: expected data with 'keypoints'"),
        (
            lambda: point_loss().validate(jax.ShapeDtypeStruct((1, 4), jnp.float32), {}),
            ValueError,
            r"point_loss: expected outputs \(N, K, 2\), got \(1, 4\)",
        ),
        (
            lambda: correct_keypoints(OUTPUTS, POINTS, jnp.ones(3)),
            ValueError,
            r"correct_keypoints: expected found and true points .* got \(2, 2, 2\), \(2, 2, 2\) and \(3,\)",
        ),
        (
            lambda: correct_keypoints(OUTPUTS, POINTS, jnp.ones(2), threshold=0),
            ValueError,
            "correct_keypoints: expected threshold > 0, got 0",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call()
