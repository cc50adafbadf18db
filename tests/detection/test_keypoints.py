"""Places as outputs of nets: soft-argmax, and the smooth absolute error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.detection import SoftArgmax, point_loss, soft_argmax
from jaxcnn.layers import Conv, Sequential, from_json, to_json

NAN = np.nan
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


def test_the_layer_is_saved():
    net = Sequential(heat=Conv(3, 1), points=SoftArgmax(4))
    assert from_json(to_json(net)) == net


def test_the_loss_by_hand():
    found = point_loss()(OUTPUTS, {"keypoints": POINTS})
    np.testing.assert_allclose(found, [(0.125 + 2.5) / 2, 2 / 2])
    wide = point_loss(beta=4.0, name="corners")(OUTPUTS, {"corners": POINTS})
    np.testing.assert_allclose(wide, [(0.5 * 0.25 / 4 + 0.5 * 9 / 4) / 2, 0.5 * 6.25 / 4 / 2])


def test_points_that_are_not_there_do_not_count():
    missing = POINTS.at[0, 1].set(NAN).at[1].set(NAN)
    batch = {"keypoints": missing}
    loss, slope = jax.value_and_grad(lambda y: point_loss()(y, batch).sum())(OUTPUTS)
    assert point_loss()(OUTPUTS, batch).tolist() == [0.125, 0]
    assert loss == 0.125
    assert slope.tolist() == [[[-0.5, 0], [0, 0]], [[0, 0], [0, 0]]]


def test_the_mean_loss_is_twice_that_of_torch():
    torch = pytest.importorskip("torch")
    a, b = (np.random.default_rng(n).normal(0, 2, (3, 4, 2)).astype(np.float32) for n in (0, 1))
    for beta in (0.5, 1.0, 3.0):
        theirs = torch.nn.functional.smooth_l1_loss(torch.tensor(a), torch.tensor(b), beta=beta)
        ours = point_loss(beta=beta)(jnp.asarray(a), {"keypoints": jnp.asarray(b)}).mean()
        np.testing.assert_allclose(ours, 2 * theirs, rtol=1e-5)


SPEC = jax.ShapeDtypeStruct((1, 2, 2), jnp.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: soft_argmax(jnp.zeros((4, 4))), ValueError, r"soft_argmax: expected heat maps \(\.\.\., h, w, K\)"),
        (lambda: soft_argmax(jnp.zeros((4, 4, 1), int)), TypeError, "soft_argmax: expected heat of a floating dtype"),
        (lambda: SoftArgmax(0), ValueError, "SoftArgmax: expected stride as a positive int, got 0"),
        (lambda: point_loss(beta=0), ValueError, "point_loss: expected a finite beta > 0, got 0"),
        (lambda: point_loss(beta=np.inf), ValueError, "point_loss: expected a finite beta > 0, got inf"),
        (lambda: point_loss()(OUTPUTS, {}), ValueError, "point_loss: expected a batch with 'keypoints'"),
        (
            lambda: point_loss()(OUTPUTS, {"keypoints": POINTS[:, :1]}),
            ValueError,
            r"point_loss: expected outputs and 'keypoints' \(N, K, 2\), got \(2, 2, 2\) and \(2, 1, 2\)\. Give each",
        ),
        (
            lambda: point_loss()(OUTPUTS.reshape(2, 4), {"keypoints": POINTS.reshape(2, 4)}),
            ValueError,
            r"point_loss: expected outputs and 'keypoints' \(N, K, 2\), got \(2, 4\)",
        ),
        (
            lambda: point_loss()(OUTPUTS, {"keypoints": POINTS.astype(int)}),
            TypeError,
            "point_loss: expected keypoints of a floating dtype",
        ),
        (
            lambda: point_loss().validate(SPEC, {"keypoints": np.zeros((5, 3, 2))}),
            ValueError,
            r"point_loss: expected 'keypoints' of shape \(N, 2, 2\), got \(5, 3, 2\)",
        ),
        (
            lambda: point_loss().validate(SPEC, {"keypoints": np.array([[[0, 1], [NAN, 1]], [[0, np.inf], [0, 0]]])}),
            ValueError,
            r"point_loss: expected 'keypoints' finite, or NaN in x and y, got \[\[nan, 1\.0\], \[0\.0, inf\]\]\.",
        ),
        (
            lambda: point_loss().validate(SPEC, {"keypoints": np.full((5, 2, 2), NAN)}),
            ValueError,
            "point_loss: expected 'keypoints' with a point that is there, got NaN alone",
        ),
        (lambda: point_loss().validate(SPEC, {}), ValueError, "point_loss: expected data with 'keypoints'"),
        (
            lambda: point_loss().validate(jax.ShapeDtypeStruct((1, 4), jnp.float32), {}),
            ValueError,
            r"point_loss: expected outputs \(N, K, 2\), got \(1, 4\)",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call()


def test_sets_with_missing_points_are_taken():
    point_loss().validate(SPEC, {"keypoints": np.array([[[0, 1], [NAN, NAN]]])})
