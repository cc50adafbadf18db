"""Scores, their gradients, and what is refused before any work."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import explain, surgery
from jaxcnn.explain.inner import expect_map, inner_gradients
from jaxcnn.explain.score import prepared, score, score_gradient
from jaxcnn.layers import Dense, GlobalAvgPool, Sequential
from tests.small_nets import CASES
from tests.torch_twins import array, tensor, twin

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose


def test_score_is_the_logit_of_each_images_class(images, targets):
    case = CASES["plain"]
    logits = case.logits_fn(images)
    found = score(*prepared("test", case.logits_fn, images, targets))
    close(found, [logits[n, k] for n, k in enumerate(targets)])
    close(score(*prepared("test", case.logits_fn, images, 2)), logits[:, 2])
    close(score(*prepared("test", case.logits_fn, images[0], 2)), logits[0, 2], rtol=1e-4)
    difference = score(*prepared("test", case.logits_fn, images, lambda y: y[..., 0] - y[..., 1]))
    close(difference, logits[:, 0] - logits[:, 1], rtol=1e-5)


def test_nets_like_the_ones_of_pytorch(case, images, targets):
    net = twin(case.name)
    import torch

    x = tensor(images).requires_grad_()
    logits = net(x)
    close(case.logits_fn(images), logits.detach(), rtol=1e-4, atol=1e-5)
    logits.gather(1, torch.tensor(np.asarray(targets))[:, None].long()).sum().backward()
    _, slope = score_gradient(*prepared("test", case.logits_fn, images, targets))
    close(slope, array(x.grad), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_gradient_inside_is_the_gradient_of_the_rest(images, targets):
    case = CASES["residual"]
    at = ["act1", "block2/branch/act"]
    scores, found, slopes = inner_gradients(case.net, case.params, case.state, images, targets, at)
    close(scores, score(*prepared("test", case.logits_fn, images, targets)), rtol=1e-5)
    for path in at:
        inside, rest = explain.at_layer(case.net, case.params, case.state, images, path)
        close(rest(inside), case.logits_fn(images), rtol=1e-5, atol=1e-6)
        close(inside, found[path], rtol=1e-5, atol=1e-6)
        _, slope = score_gradient(*prepared("test", rest, inside, targets))
        close(slope, slopes[path], rtol=1e-4, atol=1e-7)


def test_the_shortcut_around_a_layer_goes_on_seeing_the_images(images):
    case = CASES["residual"]
    inside, rest = explain.at_layer(case.net, case.params, case.state, images, "block2/branch/bn2")
    without = surgery.edit(case.net, {"block2/branch": jnp.zeros_like})
    expected, _ = without.apply(case.params, case.state, images, train=False)
    close(rest(jnp.zeros_like(inside)), expected, rtol=1e-5, atol=1e-6)


def test_layers_of_a_frozen_stage_can_be_read(images):
    case = CASES["residual"]
    at = ["block1/branch/act"]
    frozen = surgery.freeze(case.net, ["block1"])
    _, expected = surgery.activations(case.net, case.params, case.state, images, at)
    _, found = surgery.activations(frozen, case.params, case.state, images, at)
    close(found[at[0]], expected[at[0]])


def test_one_trace_for_other_targets_and_weights(images):
    case = CASES["plain"]
    traces = []

    @jax.jit
    def run(logits_fn, x, target):
        traces.append(None)
        return score(logits_fn, x, target)

    other = case._replace(params=jax.tree.map(lambda p: 2 * p, case.params))
    for of, target in ((case, 0), (other, 3)):
        run(*prepared("test", of.logits_fn, images, target))
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (5, ValueError, r"^test: expected target in 0\.\.4, got 5\. Pass a class from 0 to 4"),
        (-1, ValueError, r"^test: expected target in 0\.\.4, got -1"),
        (np.array([0, 1, 9, 2]), ValueError, r"^test: expected target in 0\.\.4, got \[0, 1, 9, 2\]"),
        (np.array([0, 1]), ValueError, r"^test: expected target of shape \(\) or \(4,\), got \(2,\)"),
        (1.5, TypeError, r"^test: expected target as a class, an array of classes, or a function, got 1\.5"),
        ("cat", TypeError, r"^test: expected target as a class, an array of classes, or a function, got 'cat'"),
        (lambda y: y.sum(0), ValueError, r"^test: expected a target that gives one score an image"),
    ],
)
def test_refuses_targets(images, target, error, message):
    with pytest.raises(error, match=message):
        prepared("test", CASES["plain"].logits_fn, images, target)


def test_refuses_what_is_no_classifier(images):
    with pytest.raises(TypeError, match=r"^test: expected logits_fn as a function of images, got 3\."):
        prepared("test", 3, images, 0)
    with pytest.raises(TypeError, match=r"^test: expected x of a floating dtype, got uint8"):
        prepared("test", lambda x: x, np.zeros((2, 4, 4, 3), np.uint8), 0)
    with pytest.raises(ValueError, match=r"^test: expected outputs \(\.\.\., classes\), one row an image"):
        prepared("test", lambda x: x.mean((1, 2)).T, images, 0)
    message = r"^test: expected outputs .*, got \(an array of .*\)\. Return the first alone: net\.apply gives \(logits,"
    with pytest.raises(ValueError, match=message):
        prepared("test", lambda x: (x.mean((1, 2)), {}), images, 0)
    message = r"^test: expected logits_fn as a function of JAX arrays, got one that makes NumPy arrays of them\. Comp"
    with pytest.raises(TypeError, match=message):
        prepared("test", lambda x: np.mean(np.asarray(x), (1, 2)), images, 0)


def test_no_pixel_is_an_image(images):
    per_pixel = lambda x: jnp.stack([x[..., 0], x[..., 1]], -1)  # noqa: E731
    with pytest.raises(
        ValueError, match=r"^test: expected outputs \(\.\.\., classes\), one row an image, got an array"
    ):
        prepared("test", per_pixel, images, 1)
    with pytest.raises(ValueError, match=r"^test: expected a target that gives one score an image"):
        prepared("test", per_pixel, images, lambda y: y[..., 1])
    prepared("test", per_pixel, images, lambda y: y[..., 1].mean((-2, -1)))
    prepared("test", lambda x: x.mean((-3, -2)), jnp.ones((2, 3, 5, 5, 3)), 1)  # two axes of images


def test_says_what_to_do_with_one_hot_rows(images):
    rows = np.eye(5, dtype=np.float32)[[0, 1, 2, 0]]
    for one_hot in (rows, rows.astype(int)):
        with pytest.raises((TypeError, ValueError), match=r"^test: .* Of one-hot rows pass target\.argmax\(-1\)\.$"):
            prepared("test", CASES["plain"].logits_fn, images, one_hot)


def test_refuses_layers_without_a_map(images):
    net = Sequential(stage=Dense(4), pool=GlobalAvgPool(), head=Dense(3))
    params, state = net.init(jax.random.key(0), images)
    assert expect_map("test", net, params, state, images, "stage") == (4, 12, 12, 4)
    message = r"^test: expected the path of a layer with a map \(\.\.\., h, w, c\), got 'head' of shape \(4, 3\)\. "
    with pytest.raises(ValueError, match=message + r"Choose among \['stage'\], say\."):
        expect_map("test", net, params, state, images, "head")
    with pytest.raises(ValueError, match=r"got 'stagg'\. Choose among \['stage'\], say\."):
        expect_map("test", net, params, state, images, "stagg")
    flat = Sequential(stage=Dense(4), head=Dense(3))
    with pytest.raises(ValueError, match=r"got 'stage' of shape \(2, 4\)\. The net has none\."):
        expect_map("test", flat, *flat.init(jax.random.key(0), images[:2, 0, 0]), images[:2, 0, 0], "stage")
    with pytest.raises(ValueError, match=r"expected the path of a layer, got 'stagg'\. Did you mean 'stage'"):
        explain.at_layer(net, params, state, images, "stagg")
