"""Transfer between nets: the matrix by hand, its axes, and several nets as one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack.transfer import ensemble, transfer
from tests.small_nets import CASES

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
X = jnp.array([0.1, 0.3, 0.45, 0.9]).reshape(4, 1, 1, 1)
Y = jnp.array([0, 0, 0, 1])


def above(threshold):
    """A net that takes for class 1 what is above the threshold."""
    return jax.tree_util.Partial(_above, jnp.asarray(threshold))


def _above(threshold, x):
    by = 10 * (x[..., 0, 0, 0] - threshold)
    return jnp.stack([-by, by], -1)


NETS = {"low": above(0.4), "middle": above(0.5), "high": above(0.8)}


def just_over(logits_fn, x, y):
    """Moves each image 0.05 beyond the net's threshold, where that is within 0.25."""
    threshold = logits_fn.args[0]
    over = jnp.where(y == 0, threshold + 0.05, threshold - 0.05).reshape(x.shape)
    return jnp.where(jnp.abs(over - x) < 0.26, over, x)


def test_the_matrix_by_hand():
    found = transfer(just_over, NETS, X, Y)
    assert found.sources == found.victims == ("low", "middle", "high")
    # "low" takes 0.45 for class 1: it counts for no pair with "low".
    np.testing.assert_array_equal(found.counted, [[3, 3, 3], [3, 4, 4], [3, 4, 4]])
    # low: 0.3 -> 0.45. middle: 0.3 -> 0.55, 0.45 -> 0.55. high: 0.9 -> 0.75 alone.
    close(found.success, [[1 / 3, 0, 0], [1 / 3, 2 / 4, 0], [0, 0, 1 / 4]])
    assert found.rate("middle", "low") == pytest.approx(1 / 3)
    to_one = transfer(just_over, NETS, X, Y, target=1)  # which 0.9 is for all
    close(to_one.success, [[2 / 3, 1 / 3, 1 / 3], [2 / 3, 3 / 4, 1 / 4], [1 / 3, 1 / 4, 0 / 4]])


def test_other_victims_may_have_the_same_names():
    found = transfer(just_over, {"a": NETS["middle"]}, X, Y, victims={"a": NETS["low"], "b": NETS["high"]})
    assert found.success.shape == (1, 2)
    close(found.success, [[1 / 3, 0]])
    assert found.rate("a", "b") == 0


def test_each_net_is_attacked_once():
    calls = []

    def attack(logits_fn, x, y):
        calls.append(float(logits_fn.args[0]))
        return x

    found = transfer(attack, NETS, X, Y)
    close(calls, [0.4, 0.5, 0.8])
    assert (found.success == 0).all()


def test_axes_of_the_attack_are_kept():
    sizes = jnp.array([0.0, 0.07, 0.25]).reshape(3, 1, 1, 1, 1)
    brighter = lambda logits_fn, x, y: jnp.clip(x + sizes, 0, 1)  # noqa: E731
    found = transfer(brighter, NETS, X, Y)
    assert found.success.shape == (3, 3, 3)
    close(found.rate("low", "low"), [0, 0, 1 / 3])
    close(found.rate("middle", "middle"), [0, 1 / 4, 2 / 4])
    one = transfer(lambda logits_fn, x, y: jnp.clip(x + sizes[:, 0], 0, 1), NETS, X[1], 0)
    close(one.success[0, 0], [0, 0, 1])
    assert one.counted[0, 0] == 1


def test_where_none_counts_there_is_no_rate():
    found = transfer(just_over, {"low": NETS["low"], "wrong": above(2.0)}, X[3:], Y[3:])
    assert found.counted[0, 1] == 0
    assert np.isnan(found.rate("low", "wrong"))
    assert not np.isnan(found.rate("low", "low"))


@pytest.mark.slow
def test_an_ensemble_has_the_mean_of_the_logits(images):
    case = CASES["plain"]
    both = ensemble([case.logits_fn, lambda x: 2 * case.logits_fn(x), lambda x: {"logits": 0 * case.logits_fn(x)}])
    close(both(images), case.logits_fn(images), rtol=1e-5, atol=1e-6)
    close(jax.jit(lambda fn, x: fn(x))(both, images), both(images), rtol=1e-5, atol=1e-6)
    assert both(images[0]).shape == (5,)
    traces = []
    run = jax.jit(lambda fn, x: (traces.append(1), fn(x))[1])
    run(ensemble([above(0.1), above(0.2)]), X)
    run(ensemble([above(0.3), above(0.7)]), X)
    assert len(traces) == 1


def test_refuses():
    with pytest.raises(TypeError, match=r"^transfer: expected an attack as a function"):
        transfer(X, NETS, X, Y)
    with pytest.raises(TypeError, match=r"^transfer: expected logits_fns as a dict from names to functions"):
        transfer(just_over, list(NETS.values()), X, Y)
    with pytest.raises(ValueError, match=r"^transfer: expected victims of at least one net, got none\."):
        transfer(just_over, NETS, X, Y, victims={})
    with pytest.raises(ValueError, match=r"^judge: expected adversarial of shape"):
        transfer(lambda logits_fn, x, y: x[0], NETS, X, Y)
    with pytest.raises(ValueError, match=r"^ensemble: expected at least one net, got none\."):
        ensemble([])
    with pytest.raises(TypeError, match=r"^ensemble: expected logits_fns as a list of functions"):
        ensemble(NETS["low"])
    with pytest.raises(ValueError, match=r"^ensemble: expected nets of the same classes, got logits of shapes"):
        ensemble([NETS["low"], lambda x: x[..., 0, 0, :]])(X)
