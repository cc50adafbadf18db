"""What became of attacked images: looked at again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import attack
from jaxcnn.attack.judgement import judge


def test_unchanged_images_are_judged_as_the_net_takes_them(digits):
    found = judge(digits.logits_fn, digits.x, digits.x, digits.y)
    expected = digits.logits_fn(digits.x).argmax(-1)
    np.testing.assert_array_equal(found.prediction, expected)
    np.testing.assert_array_equal(found.success, expected != digits.y)
    assert found.robust_accuracy == pytest.approx(float((expected == digits.y).mean()))
    assert not found.linf.any()
    assert not found.l0.any()


def test_sizes_of_changes(linear):
    moved = linear.x.at[0, 0, 0].add(0.3).at[0, 1, 1].add(-0.4)
    found = judge(linear.logits_fn, linear.x, moved, linear.y)
    sizes = [found.linf[0], found.l2[0], found.l1[0], found.l0[0]]
    np.testing.assert_allclose(sizes, [0.4, 0.5, 0.7, 2], rtol=1e-5)
    assert found.l2[1:].tolist() == [0] * 5


def test_several_of_each_image_and_targets(linear):
    several = jnp.stack([linear.x, jnp.zeros_like(linear.x), jnp.ones_like(linear.x)])
    target = linear.logits_fn(several[2]).argmax(-1)
    found = judge(linear.logits_fn, linear.x, several, linear.y, target=target)
    assert found.success.shape == (3, 6)
    assert found.success[2].all()
    np.testing.assert_array_equal(found.success[1], linear.logits_fn(several[1]).argmax(-1) == target)
    odds = np.exp(np.asarray(linear.logits_fn(several), np.float64))
    np.testing.assert_allclose(found.confidence, odds.max(-1) / odds.sum(-1), rtol=1e-5)


def test_it_prints_as_a_sentence(linear):
    moved = linear.x.at[0, 0, 0].add(0.3).at[0, 1, 1].add(-0.4)
    found = judge(linear.logits_fn, linear.x, moved, (linear.y + 1) % 4)
    sizes = "the largest changes: linf 0.4, l2 0.5, l1 0.7, l0 2"
    assert repr(found) == f"{found.success.sum()} of 6 images reach the goal; {sizes}"
    assert found.success.sum() >= 5


def test_one_image(linear):
    found = judge(linear.logits_fn, linear.x[0], linear.x[0], linear.y[0])
    assert found.success.shape == ()
    assert not found.success


@pytest.mark.parametrize(
    ("adversarial", "message"),
    [
        (np.zeros((6, 3, 2, 1)), r"expected adversarial of shape \(\.\.\., 6, 3, 3, 1\), got \(6, 3, 2, 1\)"),
        (np.full((6, 3, 3, 1), 1.5, np.float32), r"expected adversarial images within bounds=\(0.0, 1.0\), got others"),
        (np.full((6, 3, 3, 1), np.nan, np.float32), "expected adversarial images within bounds"),
    ],
)
def test_images_that_no_attack_gave(linear, adversarial, message):
    with pytest.raises(ValueError, match=f"^judge: {message}"):
        judge(linear.logits_fn, linear.x, adversarial, linear.y)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", ["fgsm", "pgd", "apgd", "square", "nes"])
def test_attacks_on_narrow_images_stay_in_the_ball(name, dtype, linear):
    x = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (6, 3, 3, 1)), dtype)
    options = {"square": {"queries": 20}, "fgsm": {}, "nes": {"steps": 5, "sigma": 0.1}}.get(name, {"steps": 5})
    key = () if name == "fgsm" else (jax.random.key(0),)
    y = linear.logits_fn(x).argmax(-1)
    found = judge(linear.logits_fn, x, getattr(attack, name)(*key, linear.logits_fn, x, y, epsilon=0.01, **options), y)
    assert found.linf.max() <= 0.01
    assert found.linf.max() > 0.005


def test_none_is_no_judgement(linear):
    for x, adversarial in ((linear.x[:0], linear.x[:0]), (linear.x, jnp.zeros((0, *linear.x.shape)))):
        with pytest.raises(ValueError, match=r"^judge: expected at least one attacked image, got adversarial of shape"):
            judge(linear.logits_fn, x, adversarial, 0)
