"""DeepFool: its step by hand, the classes that it looks at, and beside foolbox's."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack.deepfool import deepfool
from tests.attack.conftest import judged
from tests.attack.exact import least_sizes
from tests.attack.foolbox_sizes import foolbox_sizes, sizes

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("overshoot", [0.1, 0.02])
def test_a_step_is_the_formula_of_the_paper(norm, overshoot, linear):
    kernel, _ = linear.logits_fn.args
    _, nearest = least_sizes(linear, norm)
    found = deepfool(linear.logits_fn, linear.x, linear.y, norm=norm, overshoot=overshoot, steps=1)
    scores = np.asarray(linear.logits_fn(linear.x))
    for row, (y, other) in enumerate(zip(np.asarray(linear.y), nearest, strict=True)):
        way, gap = np.asarray(kernel[:, other] - kernel[:, y]), scores[row, y] - scores[row, other]
        step = gap * way / (way**2).sum() if norm == "l2" else gap * np.sign(way) / np.abs(way).sum()
        close((found - linear.x)[row].ravel(), (1 + overshoot) * step, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize(("candidates", "size"), [(2, 0.1), (3, 0.05), (10, 0.05)])
def test_only_candidates_are_looked_at(candidates, size):
    """The class with the second largest logit is 0.1 away, and the third 0.05."""
    slopes = jnp.array([0.0, 1.0, 4.0])
    logits_fn = lambda x: jnp.array([0.0, -0.1, -0.2]) + x.sum((-3, -2, -1))[..., None] * slopes  # noqa: E731
    found = deepfool(logits_fn, jnp.zeros((1, 1, 1, 1)), 0, candidates=candidates, overshoot=0.0)
    close(found[0, 0, 0, 0], size, rtol=0.005)


def test_where_pixels_meet_their_bounds_others_go_farther():
    """The sum of two pixels is to rise by 0.5, and the first has 0.1 left: steps for both fall short, and add up."""
    x = jnp.array([0.9, 0.4])[:, None, None]
    logits_fn = lambda x: jnp.stack([1.8 - x.sum((-3, -2, -1)), jnp.zeros(x.shape[:-3])], -1)  # noqa: E731
    assert not (deepfool(logits_fn, x, 0, steps=3) != x).any()
    close(deepfool(logits_fn, x, 0)[:, 0, 0], [1.0, 0.8], atol=0.01)


@pytest.mark.slow
def test_steps_are_taken_until_every_image_is_over(digits):
    one, few = (judged(digits, deepfool(*digits, steps=steps)).success for steps in (1, 6))
    assert one.mean() < few.mean()
    full = deepfool(*digits)
    assert judged(digits, full).success.all()
    np.testing.assert_array_equal(full[few], deepfool(*digits, steps=6)[few])  # what is over stays


def test_chunks_do_not_matter(linear):
    one, two = (deepfool(linear.logits_fn, linear.x, linear.y, chunk=chunk) for chunk in (1, 2))
    close(one, two, atol=1e-6)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_sizes_are_not_above_those_of_foolbox(norm, digits):
    theirs, correct = foolbox_sizes(digits, f"{norm.capitalize()}DeepFoolAttack", norm)
    ours = sizes(digits, deepfool(*digits, norm=norm), norm)
    assert np.median(ours[correct]) <= np.median(theirs[correct]) * 1.005


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "l1"}, r"norm as one of \('l2', 'linf'\), got 'l1'"),
        ({"steps": 0}, "steps as a positive int, got 0"),
        ({"candidates": 1}, "candidates as an int >= 2, got 1"),
        ({"overshoot": -0.1}, "overshoot >= 0, got -0.1"),
        ({"target": 4}, r"target in 0\.\.3, got 4"),
        ({"bounds": (0.0, 0.1)}, r"images within bounds=\(0.0, 0.1\)"),
    ],
)
def test_refuses(options, message, linear):
    with pytest.raises(ValueError, match=f"^deepfool: expected {message}"):
        deepfool(linear.logits_fn, linear.x, linear.y, **options)
