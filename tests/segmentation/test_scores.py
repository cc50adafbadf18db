"""Scores of masks: by hand, as targets of explanations, and as what attacks climb."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import attack, explain, segmentation, training
from jaxcnn.layers import Conv, Sequential

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
DRAW = np.random.default_rng(0)
LOGITS = jnp.asarray(DRAW.normal(size=(2, 4, 5, 3)), jnp.float32)
REGION = jnp.asarray(DRAW.random((2, 4, 5)) < 0.4)
# Two 1x1 convolutions: the maps are linear in the pixels, and the logits in the maps.
NET = Sequential(inner=Conv(2, 1, use_bias=False), head=Conv(3, 1))
KERNELS = {"inner": DRAW.normal(size=(3, 2)), "head": DRAW.normal(size=(2, 3))}
PARAMS = {
    "inner": {"kernel": jnp.asarray(KERNELS["inner"], jnp.float32)[None, None]},
    "head": {"kernel": jnp.asarray(KERNELS["head"], jnp.float32)[None, None], "bias": jnp.zeros(3)},
}
X = jnp.asarray(DRAW.uniform(0.4, 0.6, (2, 4, 5, 3)), jnp.float32)


@pytest.mark.slow
def test_a_class_over_a_region_by_hand():
    label = np.array([2, 0])
    expected = [LOGITS[n, ..., label[n]][REGION[n]].sum() for n in range(2)]
    close(segmentation.class_score(label, REGION)(LOGITS), expected, rtol=1e-5)
    close(segmentation.class_score(label, REGION.astype(int))(LOGITS), expected, rtol=1e-5)
    close(segmentation.class_score(1)(LOGITS), LOGITS[..., 1].sum((1, 2)), rtol=1e-5)
    close(segmentation.class_score(2, REGION[0])(LOGITS[0]), expected[0], rtol=1e-5)  # one image


def test_grad_cam_of_a_class_over_a_region_by_hand():
    """dscore / dA[i, j] is the head's column of the class inside of the region, 0 elsewhere."""
    label = np.array([2, 0])
    found = explain.grad_cam(NET, PARAMS, {}, X, segmentation.class_score(label, REGION), at="inner")
    for n, c in enumerate(label):
        inner = np.asarray(X[n], float) @ KERNELS["inner"]
        weights = KERNELS["head"][:, c] * np.asarray(REGION[n]).mean()
        close(found[n], np.maximum(inner @ weights, 0), rtol=1e-4, atol=1e-6)


def test_integrated_gradients_and_occlusion_by_hand():
    logits_fn = training.predictor(NET, PARAMS, {})
    column = KERNELS["inner"] @ KERNELS["head"][:, 1]
    expected = np.asarray(X, float) * column * np.asarray(REGION)[..., None]
    target = segmentation.class_score(1, REGION)
    close(explain.integrated_gradients(logits_fn, X, target, steps=2), expected, rtol=1e-4, atol=1e-6)
    fall = explain.occlusion(logits_fn, X, target, window=1, stride=1)
    close(fall[..., 0], expected.sum(-1), rtol=1e-4, atol=1e-5)


def test_the_margin_of_a_mask_by_hand():
    mask = jnp.asarray(DRAW.integers(0, 3, (2, 4, 5))).at[0, 0, 0].set(255)
    found = segmentation.mask_margin(mask)(LOGITS)
    for n in range(2):
        counted = [(np.asarray(LOGITS[n][at]), int(mask[n][at])) for at in np.ndindex(4, 5)]
        ahead = [max(np.delete(z, t).max() - z[t], 0) for z, t in counted if t < 3]
        close(found[n], np.mean(ahead), rtol=1e-5)


def test_the_margin_of_a_class_by_hand():
    label = np.array([2, 0])
    found, whole = segmentation.class_margin(label, REGION)(LOGITS), segmentation.class_margin(1)(LOGITS)
    for n, c in enumerate(label):
        ahead = lambda c, at: max(float(LOGITS[n][at][c] - np.delete(LOGITS[n][at], c).max()), 0)  # noqa: B023, E731
        places = list(np.ndindex(4, 5))
        close(found[n], np.mean([ahead(c, at) for at in places if REGION[n][at]]), rtol=1e-5)
        close(whole[n], np.mean([ahead(1, at) for at in places]), rtol=1e-5)
    for gone in (LOGITS.at[..., 1].set(-9), LOGITS.at[..., 2].set(9)):
        close(segmentation.class_margin(1)(gone), 0)


@pytest.mark.slow
def test_the_margin_is_0_where_the_mask_is_given_and_where_no_pixel_counts():
    close(segmentation.mask_margin(LOGITS.argmax(-1))(LOGITS), 0)
    for nothing in (
        segmentation.mask_margin(jnp.full((2, 4, 5), -1)),
        segmentation.class_margin(1, jnp.zeros_like(REGION)),
    ):
        close(nothing(LOGITS), 0)
        close(jax.grad(lambda z, score=nothing: score(z).sum())(LOGITS), 0)


@pytest.mark.slow
def test_pgd_gives_a_wanted_mask_and_leaves_the_rest():
    """Each pixel's logits are its own: those that are near to another class turn, in the region alone."""
    kernel = jnp.array([[1.0, -1, 0], [-1, 1, 0], [0, 0, 0.1]])
    net = Sequential(head=Conv(3, 1))
    params = {"head": {"kernel": kernel[None, None], "bias": jnp.array([0.0, 0, -1])}}
    logits_fn = training.predictor(net, params, {})
    before = logits_fn(X).argmax(-1)
    wanted = jnp.where(REGION, 1 - before, before)
    nearer = attack.binary(logits_fn, segmentation.mask_margin(wanted))
    found = attack.pgd(jax.random.key(0), nearer, X, 1, epsilon=0.11, steps=20)
    assert jnp.abs(found - X).max() <= 0.11 + 1e-6
    assert (logits_fn(found).argmax(-1) == wanted).all()
    assert attack.judge(nearer, X, found, 1).success.all()
    there = attack.binary(logits_fn, segmentation.class_margin(0, REGION))
    erased = attack.pgd(jax.random.key(0), there, X, 1, epsilon=0.11, steps=20)
    assert ((before == 0) & REGION).any()
    assert (logits_fn(erased).argmax(-1) != 0)[REGION].all()


def test_one_program_for_all_classes_and_regions():
    traces = []

    @jax.jit
    def score(target, logits):
        traces.append(0)
        return target(logits)

    for label in (0, 1):
        score(segmentation.class_score(label, REGION), LOGITS)
        score(segmentation.class_score(label, ~REGION), LOGITS)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: segmentation.class_score(0.5), r"class_score: expected label of an integer dtype, got float32\."),
        (lambda: segmentation.class_score(3)(LOGITS), r"class_score: expected label in 0\.\.2, got 3\."),
        (lambda: segmentation.class_score(np.zeros(3, int))(LOGITS), r"class_score: expected label of shape \(\) or "),
        (
            lambda: segmentation.class_score(0, REGION * 1.0),
            r"class_score: expected a region of bools or integers, got float32\.",
        ),
        (
            lambda: segmentation.class_score(0, REGION[:, 1:])(LOGITS),
            r"class_score: expected a region of shape \(2, 4, 5\), got \(2, 3, 5\)\.",
        ),
        (
            lambda: segmentation.class_score(0)(LOGITS[0, 0]),
            r"class_score: expected outputs \(\.\.\., H, W, classes\), got \(5, 3\)\.",
        ),
        (
            lambda: segmentation.class_score(0)(LOGITS.astype(int)),
            r"class_score: expected outputs of a floating dtype, got int32\.",
        ),
        (lambda: segmentation.mask_margin(REGION), r"mask_margin: expected mask of an integer dtype, got bool\."),
        (lambda: segmentation.class_margin(3)(LOGITS), r"class_margin: expected label in 0\.\.2, got 3\."),
        (
            lambda: segmentation.class_margin(0)(LOGITS[..., :1]),
            r"class_margin: expected two classes or more, got 1\. One has no other",
        ),
        (
            lambda: segmentation.class_margin(0, REGION[:, 1:])(LOGITS),
            r"class_margin: expected a region of shape \(2, 4, 5\), got \(2, 3, 5\)\.",
        ),
        (
            lambda: segmentation.mask_margin(REGION[0].astype(int))(LOGITS),
            r"mask_margin: expected a mask of shape \(2, 4, 5\), got \(4, 5\)\.",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        call()


@pytest.mark.parametrize("label", [-1, 9])
def test_classes_that_there_are_not_are_no_target(label):
    """Also inside of a compiled method, where all of them would be maps of zeros."""
    logits_fn = training.predictor(NET, PARAMS, {})
    score = segmentation.class_score(label, REGION)
    for call in (
        lambda: explain.gradient(logits_fn, X, score),
        lambda: explain.grad_cam(NET, PARAMS, {}, X, score, at="inner"),
    ):
        with pytest.raises(ValueError, match=rf"^class_score: expected label in 0\.\.\d, got {label}\. "):
            call()
