"""Nets that only seem robust: each is told by its sign, and an honest net by none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack.defence.smoothing import smoothed
from jaxcnn.attack.given import trusted
from jaxcnn.attack.goal import Goal
from jaxcnn.attack.masking import sign_of_black_box, signs_of_net, signs_of_standing, unrecognisable
from jaxcnn.attack.robust_accuracy import robust_accuracy
from jaxcnn.layers.layer import apply
from tests.small_nets import CASES

KEY = jax.random.key(1)
BOUNDS = (0.0, 1.0)
FEW = {"steps": 20, "queries": 200, "batch_size": 8}  # of one size, so that programs are few
pytestmark = pytest.mark.usefixtures("quick_compilation")


def signs(logits_fn, x, y, count=None):
    return signs_of_net(trusted(logits_fn), x, Goal(y), BOUNDS, len(x) if count is None else count)


def standing_signs(logits_fn, x, y, climb, epsilon=0.05, norm="linf"):
    options = {"epsilon": epsilon, "norm": norm, "bounds": BOUNDS, "count": len(x)}
    return signs_of_standing(KEY, trusted(logits_fn), x, Goal(y), climb, **options)


def report(logits_fn, digits, epsilon=0.05, **options):
    found = robust_accuracy(KEY, logits_fn, digits.x, digits.y, epsilon=epsilon, **FEW, **options)
    assert found.warnings
    return found


def among(words: str, sentences) -> str:
    """Return the one sentence that begins with these words."""
    (found,) = [sentence for sentence in sentences if sentence.startswith(words)]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_an_honest_net_gives_no_sign(digits, norm):
    epsilon = {"linf": 0.05, "l2": 0.2, "l1": 0.8}[norm]
    found = robust_accuracy(KEY, digits.logits_fn, digits.x, digits.y, epsilon=epsilon, norm=norm, **FEW)
    assert 0 < float(found) < found.clean_accuracy
    assert not found.warnings


@pytest.mark.slow
def test_a_residual_net_gives_no_sign(images):
    logits_fn = CASES["residual"].logits_fn
    assert not signs(logits_fn, images, logits_fn(images).argmax(-1))


@pytest.mark.slow
def test_rounded_inputs_have_no_gradient(digits):
    rounded = lambda x: digits.logits_fn(jnp.round(8 * x) / 8)  # noqa: E731
    found = report(rounded, digits, epsilon=0.1, attacks=("apgd-ce", "square"))
    right = round(32 * found.clean_accuracy)
    told = among("The net has no gradient at 8 of 8 images", found.warnings)
    assert told.endswith("by a smooth function in its place (BPDA).")
    assert found.attacks[-1].fell > right / 4  # what sees no gradient does not need one
    among(f"Square, which sees no gradient, fooled {found.attacks[-1].fell} of all 32 images", found.warnings)
    assert found.attacks[-1].accuracy > 0.1
    among("With epsilon=0.5, enough to turn any image into plain grey,", found.warnings)


def test_steep_softmax_saturates(digits):
    """Wherever the net is right: where it errs the loss is as steep as the logits."""
    told = among("The cross-entropy has", signs(lambda x: 1e4 * digits.logits_fn(x), digits.x, digits.y))
    right = int((digits.logits_fn(digits.x).argmax(-1) == digits.y).sum())
    assert told.startswith(f"The cross-entropy has no gradient at {right} of 32 images")
    assert "what climbs differences of logits does not" in told


@pytest.mark.slow
def test_a_steep_softmax_does_not_help(digits):
    """The objective is a softplus: it is what differences of logits climb that goes on."""
    options = {"attacks": ("apgd-ce", "apgd-t")}
    found = report(lambda x: 1e4 * digits.logits_fn(x), digits, **options)
    among("The cross-entropy has no gradient at ", found.warnings)
    honest = robust_accuracy(KEY, digits.logits_fn, digits.x, digits.y, epsilon=0.05, **FEW, **options)
    assert float(found) <= float(honest) + 1 / 32


@pytest.mark.slow
def test_random_layers(digits):
    """By a callback, and by a key of the pixels: the first is another function with each call, the second noise."""
    draw = np.random.default_rng(0)

    def called(x):
        noise = jax.pure_callback(
            lambda x: draw.normal(0, 1, x.shape).astype(np.float32), jax.ShapeDtypeStruct(x.shape, x.dtype),
            jax.lax.stop_gradient(x), vmap_method="sequential",
        )  # fmt: skip
        return digits.logits_fn(x + 0.3 * noise)

    def noise(image):
        key = jax.random.fold_in(jax.random.key(0), jax.lax.bitcast_convert_type(image.sum(), jnp.uint32))
        return 8 * jax.random.normal(key, (10,))

    def of_pixels(x):
        return digits.logits_fn(x) + jax.vmap(noise)(x)

    found = report(called, digits, attacks=("apgd-ce",))
    among("The net gives other logits when it is asked again", found.warnings)
    found = signs(of_pixels, digits.x, digits.y)
    told = among("At ", found)
    assert "the logits do not change as their gradient foretells" in told
    assert int(told.split()[1]) > 16


@pytest.mark.slow
def test_training_mode(images):
    net, params, state = CASES["batchnorm"][1:]
    training = lambda x: apply(net, params, state, x, train=True)[0]  # noqa: E731
    y = jnp.zeros(4, jnp.int32)
    told = among(
        "The logits of an image change with its place in the batch or with the other images", signs(training, images, y)
    )
    assert told.endswith("training.predictor gives.")
    assert not signs(CASES["batchnorm"].logits_fn, images, y)


@pytest.mark.slow
def test_noise_that_is_drawn_for_a_batch(digits):
    votes = smoothed(KEY, digits.logits_fn, sigma=0.3, samples=10, soft=True)
    drawn = lambda x: digits.logits_fn(x + 0.3 * jax.random.normal(KEY, x.shape))  # noqa: E731
    among("The logits of an image change with its place", signs(drawn, digits.x, digits.y))
    assert not [told for told in signs(votes, digits.x, digits.y) if told.startswith("The net gives other logits")]


@pytest.mark.slow
def test_what_is_not_finite(digits):
    def lost(x):
        dark = x.mean((-3, -2, -1)) < jnp.median(digits.x.mean((1, 2, 3)))
        return jnp.where(dark[:, None], jnp.nan, digits.logits_fn(x))

    found = report(lost, digits, attacks=("apgd-ce",))
    assert found.clean_accuracy <= 0.5
    among("The logits of 16 of 32 images are infinite or NaN", signs(lost, digits.x, digits.y))
    steep = lambda x: digits.logits_fn(jnp.sqrt(x))  # noqa: E731  # black pixels: 1 / 0
    told = signs(steep, digits.x, digits.y, count=7)
    assert told == ["The gradient at 7 of 7 images is infinite or NaN: no attack can follow it."]


@pytest.mark.slow
def test_many_steps_that_get_no_further(digits):
    """Told of images of which an attack, here one that gives back x, has fooled none."""
    still = lambda key, epsilon: digits.x  # noqa: E731
    sizes = np.asarray(jax.nn.softmax(digits.logits_fn(digits.x)).max(-1))
    assert sizes.min() < 1
    found = standing_signs(digits.logits_fn, digits.x, digits.y, still, epsilon=0.2)
    starts = [told.split(": more steps")[0] for told in found]
    assert any(told.endswith("fall to one step along the gradient") for told in starts)
    assert any(
        "get not even 0.5 times as much nearer to an error as one step along the gradient" in told for told in starts
    )
    among("With epsilon=0.5, enough to turn any image into plain grey, ", found)
    # An attack that does its work.
    other = jnp.argmax(digits.y[:, None] != digits.logits_fn(digits.x).argmax(-1), 1)  # what is taken for another class
    works = lambda key, epsilon: digits.x[other] if epsilon >= 0.5 else digits.x  # noqa: E731
    found = standing_signs(digits.logits_fn, digits.x, digits.y, works, epsilon=0.2)
    assert not [told for told in found if told.startswith("With epsilon")]


def test_the_grey_image_is_within_reach():
    x = jnp.zeros((2, 3, 4, 1)).at[1].set(2.0)
    goal = Goal(jnp.zeros(2, jnp.int32))
    assert unrecognisable(x, goal, "linf", (0.0, 2.0)) == 1
    for norm, order in (("l2", 2), ("l1", 1)):
        sizes = np.linalg.norm(np.asarray(x - 1).reshape(2, -1), order, axis=1)
        np.testing.assert_allclose(unrecognisable(x, goal, norm, (0.0, 2.0)), sizes, rtol=1e-6)


def test_a_few_are_no_sign():
    assert sign_of_black_box(1, 32) == []
    assert sign_of_black_box(2, 1000) == []
    assert sign_of_black_box(3, 1000)[0].startswith("Square, which sees no gradient, fooled 3 of all 1000 images")
