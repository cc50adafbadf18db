"""Linear probes: the solution of scikit-learn, of the closed form, and layer by layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import data, surgery
from jaxcnn.explain import probes
from jaxcnn.explain.probes import linear
from jaxcnn.losses import cross_entropy
from tests.small_nets import CASES

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose


def blobs(n=150, features=6, classes=3, seed=0):
    """Return features of overlapping classes on very different scales, and labels."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, n)
    centres = np.random.default_rng(9).normal(0, 1.0, (classes, features))
    x = (centres[labels] + draw.normal(0, 1, (n, features))) * 10.0 ** np.arange(-2, features - 2) + 3
    return x.astype(np.float32), labels.astype(np.int32)


@pytest.mark.slow
@pytest.mark.parametrize("l2", [1e-3, 1e-1])
def test_it_is_scikit_learns_logistic_regression(l2):
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    (x, y), (test_x, test_y) = blobs(), blobs(seed=1)
    found = probes.linear_probe(x, y, test_x, test_y, l2=l2)
    scaled = (x - x.mean(0)) / x.std(0)
    theirs = linear_model.LogisticRegression(C=1 / (len(x) * l2), tol=1e-8, max_iter=10_000).fit(scaled, y)
    scaled_test = (test_x - x.mean(0)) / x.std(0)
    assert abs(float(found.accuracy) - theirs.score(scaled_test, test_y)) < 1e-3
    assert abs(float(found.train_accuracy) - theirs.score(scaled, y)) < 1e-3
    for mine, inputs, labels in ((found.loss, scaled_test, test_y), (found.train_loss, scaled, y)):
        expected = -np.log(theirs.predict_proba(inputs)[np.arange(len(labels)), labels]).mean()
        close(mine, expected, atol=1e-3)
    close(found.kernel * x.std(0)[:, None], theirs.coef_.T, atol=3e-3)
    assert float(found.slope) <= 1e-5
    close(cross_entropy(test_x @ found.kernel + found.bias, test_y).mean(), found.loss, rtol=1e-3)


def test_two_points_have_the_closed_form():
    # One feature, -1 of class 0 and 1 of class 1: logits +-w x, and sigmoid(-2 w) = l2 w at the best w.
    x, y = jnp.array([[-1.0], [1.0]]), jnp.array([0, 1])
    found = probes.linear_probe(x, y, x, y, l2=0.1, standardize=False)
    w = 0.0
    for _ in range(200):
        w += 0.5 * (1 / (1 + np.exp(2 * w)) - 0.1 * w)
    close(found.kernel, [[-w, w]], atol=1e-4)
    close(found.bias, [0, 0], atol=1e-5)
    close(found.loss, np.log1p(np.exp(-2 * w)), atol=1e-5)


def test_what_is_constant_says_nothing_and_scales_do_not_matter():
    x, y = blobs()
    x[:, 2] = 0.3
    found = probes.linear_probe(x, y, x, y)
    close(found.kernel[2], 0)
    scaled = probes.linear_probe(100 * x, y, 100 * x, y)
    close(scaled.loss, found.loss, rtol=1e-4)


def test_noise_has_the_accuracy_of_chance_and_blobs_a_better_one():
    (x, y), (test_x, test_y) = blobs(), blobs(seed=1)
    noise, other = np.random.default_rng(3).normal(size=(2, *x.shape)).astype(np.float32)
    assert probes.linear_probe(x, y, test_x, test_y).accuracy > 0.7
    assert abs(float(probes.linear_probe(noise, y, other, test_y).accuracy) - 1 / 3) < 0.12


@pytest.mark.slow
def test_one_program_for_other_values_and_inside_of_jit_and_vmap():
    x, y = blobs()
    one = probes.linear_probe(x, y, x, y, l2=1e-2)
    traces = linear._fitted._cache_size()
    probes.linear_probe(2 * x, y[::-1].copy(), x, y, l2=1e-1, tolerance=1e-4)
    short = probes.linear_probe(x, y, x, y, steps=3)
    assert linear._fitted._cache_size() == traces
    assert int(short.steps) == 3
    assert float(short.slope) > 1e-5
    fit = lambda x, y: probes.linear_probe(x, y, x, y, l2=1e-2, classes=3)  # noqa: E731
    many = jax.jit(jax.vmap(fit))(np.stack([x, x[::-1]]), np.stack([y, y[::-1]]))
    close(many.loss, [one.loss, one.loss], rtol=1e-3)


def labelled(count=40, size=12):
    draw = np.random.default_rng(5)
    image = draw.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    label = (np.arange(count) % 5).astype(np.int32)
    return data.from_arrays(image, label)


@pytest.mark.slow
def test_a_layer_is_probed_through_its_features():
    case, dataset, at = CASES["plain"], labelled(), ["fc2", "pool1"]
    found = probes.linear_probes(case.net, case.params, case.state, dataset, dataset, at, limit=8, l2=1e-1)
    assert list(found) == at
    rows = probes.layer_features(case.net, case.params, case.state, dataset, at, limit=8)
    for path in at:
        one = probes.linear_probe(rows[path], dataset["label"], rows[path], dataset["label"], l2=1e-1)
        assert found[path].kernel.shape == (rows[path].shape[1], 5)
        close(found[path].loss, one.loss, rtol=1e-3)
        close(found[path].kernel, one.kernel, atol=3e-3 * np.abs(one.kernel).max())


@pytest.mark.slow
def test_features_are_means_over_the_finest_grid_within_the_limit():
    case = CASES["plain"]
    dataset = labelled(7)
    x = data.to_float(dataset["image"])
    at = ["act1", "pool1", "fc1"]
    _, inside = surgery.activations(case.net, case.params, case.state, x, at)
    channels = inside["act1"].shape[-1]
    for limit, side in ((1, 1), (4 * channels + 1, 2), (16 * channels, 4), (10**6, 12)):
        options = {"limit": limit, "batch_size": 3}
        found = probes.layer_features(case.net, case.params, case.state, dataset, at, **options)
        assert list(found) == at
        step = 12 // side
        grid = inside["act1"].reshape(7, side, step, side, step, channels).mean((2, 4))
        close(found["act1"], grid.reshape(7, -1), rtol=1e-5, atol=1e-6)
        close(found["fc1"], inside["fc1"], rtol=1e-5, atol=1e-5)


def test_layers_are_the_nets_own_unless_given():
    case = CASES["plain"]
    fn = probes.layer_outputs(case.net, case.params, case.state)
    x = jnp.ones((2, 12, 12, 3))
    assert list(fn(x)) == list(case.net.layers)
    last = list(case.net.layers)[-1]
    close(fn(x)[last], case.logits_fn(x), rtol=1e-5)
    close(jax.jit(lambda fn, x: fn(x))(fn, x)[last], case.logits_fn(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"l2": 0.0}, ValueError, r"^linear_probe: expected l2 > 0, got 0\.0"),
        ({"steps": 0}, ValueError, r"^linear_probe: expected steps as a positive int, got 0"),
        ({"tolerance": -1.0}, ValueError, r"^linear_probe: expected tolerance > 0, got -1\.0"),
        ({"classes": 2}, ValueError, r"^linear_probe: expected labels in 0\.\.1, got others"),
        ({"standardize": 1}, TypeError, r"^linear_probe: expected standardize as a Python bool, got 1"),
        ({"labels_train": np.zeros(7, int)}, ValueError, r"features_train \(n, \.\.\.\) and labels_train \(n,\), got"),
        ({"labels_train": np.zeros(150)}, TypeError, r"^linear_probe: expected labels_train of an integer dtype"),
        ({"features_test": np.ones((4, 6), int)}, TypeError, r"expected features_test of a floating dtype"),
        ({"features_test": np.ones((150, 5))}, ValueError, r"expected test features of shape \(6,\), got \(5,\)"),
        ({"features_test": np.full((150, 6), np.nan)}, ValueError, r"expected features_test that are finite"),
    ],
)
def test_refuses(change, error, message):
    x, y = blobs()
    given = {"features_train": x, "labels_train": y, "features_test": x, "labels_test": y} | change
    with pytest.raises(error, match=message):
        probes.linear_probe(**given)


def test_refuses_layers():
    case = CASES["plain"]
    dataset = labelled(5)
    with pytest.raises(ValueError, match=r"^activations: expected the path of a layer, got 'act9'\. Did you mean"):
        probes.layer_features(case.net, case.params, case.state, dataset, ["act9"])
    with pytest.raises(ValueError, match=r"^layer_features: expected at least one layer, got none\. Choose among"):
        probes.layer_features(case.net, case.params, case.state, dataset, [])
    with pytest.raises(ValueError, match=r"^layer_features: expected limit as a positive int, got 0"):
        probes.layer_features(case.net, case.params, case.state, dataset, limit=0)
    lost = jax.tree.map(lambda p: p * jnp.nan, case.params)
    with pytest.raises(ValueError, match=r"^layer_features: expected finite activations, got others at \['act1'\]"):
        probes.layer_features(case.net, lost, case.state, dataset, ["act1"])
