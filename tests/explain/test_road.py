"""ROAD: the imputation by neighbours, and what a net says of images so filled in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.explain import trust
from tests.explain.peers import grad_cam
from tests.small_nets import CASES
from tests.torch_twins import tensor, twin

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(5)


def filled(x, removed, noise=0.0):
    return trust.noisy_linear_imputation(KEY, x, removed, noise=noise)


def test_one_pixel_is_the_mean_of_its_neighbours():
    x = jax.random.uniform(jax.random.key(0), (4, 5, 2))
    inside = filled(x, jnp.zeros((4, 5), bool).at[1, 2].set(True))
    beside = x[0, 2] + x[2, 2] + x[1, 1] + x[1, 3]
    across = x[0, 1] + x[0, 3] + x[2, 1] + x[2, 3]
    close(inside[1, 2], beside / 6 + across / 12, rtol=1e-5)
    close(inside.at[1, 2].set(x[1, 2]), x)
    corner = filled(x, jnp.zeros((4, 5), bool).at[0, 4].set(True))
    close(corner[0, 4], ((x[0, 3] + x[1, 4]) / 6 + x[1, 3] / 12) / (1 / 3 + 1 / 12), rtol=1e-5)


def test_a_ramp_is_restored():
    rows, columns = jnp.mgrid[:64, :64]
    x = (0.005 * rows - 0.01 * columns + 0.7)[..., None]
    removed = jnp.zeros((64, 64), bool).at[2:13, 1:9].set(True)
    close(filled(x, removed), x, atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # of the peer's
def test_imputation_is_that_of_grad_cams():
    metrics = grad_cam().metrics.road
    import torch

    x = jax.random.uniform(jax.random.key(0), (3, 32, 24, 3))
    draw = jax.random.uniform(jax.random.key(1), (3, 32, 24))
    removed = draw < jnp.array([0.1, 0.5, 0.95])[:, None, None]
    ours = filled(x, removed)
    imputer = metrics.NoisyLinearImputer(noise=0.0)
    for image, gone, found in zip(x, removed, ours, strict=True):
        kept = torch.tensor(1 - np.asarray(gone, np.float32))
        expected = imputer(torch.tensor(np.moveaxis(np.asarray(image), -1, 0).copy()), kept)
        close(np.moveaxis(np.asarray(found), -1, 0), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_what_is_solved_is_float32(dtype):
    x = jax.random.uniform(jax.random.key(0), (32, 32, 3)).astype(dtype)
    removed = jax.random.uniform(jax.random.key(1), (32, 32)) < 0.9
    found = filled(x, removed)
    assert found.dtype == dtype
    close(found, filled(x.astype(jnp.float32), removed).astype(dtype))


def test_large_holes_are_filled():
    x = jnp.zeros((64, 64, 1)).at[:, -1].set(1.0)
    found = filled(x, jnp.zeros((64, 64), bool).at[:, 1:-1].set(True))
    close(found[..., 0], jnp.broadcast_to(jnp.linspace(0, 1, 64), (64, 64)), atol=1e-3)
    close(filled(x, jnp.ones((64, 64), bool)), 0)


def test_noise():
    x = jnp.full((64, 64, 1), 0.5)
    removed = jnp.zeros((64, 64), bool).at[::2].set(True)
    found = filled(x, removed, 0.1)
    close(found[1::2], 0.5)
    assert found[::2].std() == pytest.approx(0.1, rel=0.05)
    assert found[::2].mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.slow
def test_one_image_is_a_batch_of_one(images):
    removed = images.sum(-1) > 1.5
    alone = filled(images[2], removed[2])
    close(alone, filled(images, removed)[2], atol=1e-5)
    close(filled(images.reshape(2, 2, 12, 12, 3), removed.reshape(2, 2, 12, 12))[1, 0], alone, atol=1e-5)


def test_road_of_a_linear_model():
    # Pixels count 4, 3, 2 and 1 in four separate corners of an image that is 0 elsewhere; what is removed becomes 0.
    shares = jnp.zeros((9, 9)).at[jnp.array([0, 0, 8, 8]), jnp.array([0, 8, 0, 8])].set(jnp.array([4.0, 3.0, 2.0, 1.0]))
    x = (shares > 0)[..., None].astype(jnp.float32)
    linear = lambda x: (x[..., 0] * shares).sum((-2, -1))[..., None]  # noqa: E731
    options = {"fractions": [1 / 81, 3 / 81], "noise": 0.0, "score": "score"}
    found = trust.road(KEY, linear, x, shares - (shares == 0), 0, **options)
    close(found.fraction, [1 / 81, 3 / 81])
    close(found.most_first, [6, 1], atol=1e-5)
    close(found.least_first, [10, 10], atol=1e-5)
    close(found.gap, (4 + 9) / 4, rtol=1e-5)
    close(trust.road(KEY, linear, x, (shares == 0) - shares, 0, **options).gap, -(4 + 9) / 4, rtol=1e-5)


@pytest.mark.filterwarnings("ignore")  # of the peer's
def test_road_is_that_of_grad_cams(images, targets):
    case = CASES["batchnorm"]
    metrics, net = grad_cam().metrics.road, twin(case.name)
    from pytorch_grad_cam.metrics import perturbation_confidence as theirs
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    maps = np.array(jax.random.uniform(jax.random.key(2), images.shape[:-1]))
    chosen = [ClassifierOutputTarget(int(k)) for k in targets]
    percentiles = (25, 75)
    gone = []
    for kind in (theirs.RemoveMostRelevantFirst, theirs.RemoveLeastRelevantFirst):
        runs = [
            theirs.PerturbationConfidenceMetric(kind(p, metrics.NoisyLinearImputer(noise=0.0))) for p in percentiles
        ]
        gone.append([run(tensor(images), maps, chosen, net, return_diff=False) for run in runs])
    fractions = [1 - p / 100 for p in percentiles]
    ours = trust.road(KEY, case.logits_fn, images, maps, targets, fractions=fractions, noise=0.0, score="score")
    close(ours.most_first.T, gone[0], rtol=1e-3, atol=1e-4)
    close(ours.least_first.T, gone[1], rtol=1e-3, atol=1e-4)
    close(ours.gap, (np.mean(gone[1], axis=0) - np.mean(gone[0], axis=0)) / 2, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_one_trace_and_inside_of_jit(images, targets):
    calls, first = [], 0

    def run(weights, x):
        calls.append(None)
        return x.mean((-3, -2)) @ weights

    for number in range(3):
        logits_fn = jax.tree_util.Partial(run, number * jnp.linspace(-1, 1, 15).reshape(3, 5))
        found = trust.road(KEY, logits_fn, images, images * number, number, fractions=(0.2, 0.5), chunk=3)
        first = first or len(calls)
    assert len(calls) == first
    assert found.most_first.shape == (4, 2)
    measure = lambda x: trust.road(KEY, logits_fn, x, x, targets, fractions=(0.3,)).gap  # noqa: E731
    close(jax.jit(measure)(images), measure(images), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(measure(images), measure(images))


def test_refuses(images, targets):
    case = CASES["plain"]
    for fractions in ((), (0.0, 0.5), (1.0,), "half"):
        with pytest.raises(ValueError, match=r"^road: expected fractions between 0 and 1, got "):
            trust.road(KEY, case.logits_fn, images, images, targets, fractions=fractions)
    with pytest.raises(ValueError, match=r"^road: expected noise of at least 0, got -1\. "):
        trust.road(KEY, case.logits_fn, images, images, targets, noise=-1)
    with pytest.raises(TypeError, match=r"^noisy_linear_imputation: expected removed of dtype bool, got float32"):
        trust.noisy_linear_imputation(KEY, images, images[..., 0])
    with pytest.raises(ValueError, match=r"^noisy_linear_imputation: expected removed of shape \(4, 12, 12\), got "):
        trust.noisy_linear_imputation(KEY, images, images[:2, ..., 0] > 0)
