"""The experiment on initial values: what it measures, what it promises, and what it says when that is not so."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import initialization
from experiments.apparatus.deep_net import Variances, block, measured, program
from experiments.initialization import Config, promised, tolerance
from jaxcnn import functional as F
from jaxcnn import initializers, surgery
from jaxcnn.layers import Sequential

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(activation="relu", depth=6, width=16, size=4, images=4, seeds=2)


def variances(forward: float, backward: float, depth: int = 11) -> Variances:
    """Return those of two seeds whose layers multiply by these factors."""
    steps = np.arange(depth)
    return Variances(np.stack([forward**steps] * 2), np.stack([backward ** steps[::-1]] * 2))


def as_theory_says() -> dict[str, dict[str, Variances]]:
    half, one, two = variances(0.5, 0.5), variances(1, 1), variances(2, 2)
    schemes = ("he_normal", "orthogonal, gain", "lecun_normal", "glorot_normal", "orthogonal", "delta_orthogonal")
    return {
        "relu": {
            **dict(zip(schemes, (one, one, half, half, half, half), strict=True)),
            "LSUV": one,
            "he_normal, batch norm": variances(1, 1.467),
        },
        "tanh": {"LSUV": one},
        "tanh, small signal": {"delta_orthogonal": variances(0.999, 0.999)},
        "linear": {**dict(zip(schemes, (two, one, one, one, one, one), strict=True)), "LSUV": one},
    }


@pytest.mark.slow
@pytest.mark.parametrize("norm", [False, True])
def test_the_variances_are_those_of_the_net_written_out(norm):
    depth, shape = 3, (2, 4, 4, 5)
    x, cotangent = (jax.random.normal(jax.random.key(seed), shape) for seed in (0, 1))
    one = block(shape[-1], F.tanh, norm=norm)
    net = Sequential(**{f"layer{i}": one for i in range(depth)})
    params, state = net.init(jax.random.key(2), x)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves)[None], *(params[f"layer{i}"] for i in range(depth)))
    measured = program(one, cotangent)(stacked, x)
    _, seen = surgery.activations(net, params, state, x, [f"layer{i}/sum" for i in range(depth)], train=True)
    np.testing.assert_allclose(measured.forward[0], [np.var(y) for y in seen.values()], rtol=1e-4)

    def loss(nudges):
        nudged = surgery.edit(net, {path: lambda y, nudge=nudge: y + nudge for path, nudge in nudges.items()})
        return jnp.vdot(nudged.apply(params, state, x, train=True)[0], cotangent)

    gradients = jax.grad(loss)({f"layer{i}": jnp.zeros(shape) for i in range(depth)})
    np.testing.assert_allclose(measured.backward[0], [np.var(g) for g in gradients.values()], rtol=1e-3)


def test_each_is_told_before_the_next_is_drawn(monkeypatch):
    monkeypatch.delattr(initializers, "glorot_normal")
    found = measured(jax.random.key(0), (2, 4, 4, 5), 3, 2, ["relu", "tanh"])
    name, scheme, one = next(found)
    assert (name, scheme, one.forward.shape, one.backward.shape) == ("relu", "he_normal", (2, 3), (2, 3))
    with pytest.raises(AttributeError, match="glorot_normal"):
        next(found)


def test_kept_and_factors():
    kept = variances(0.1, 10.0, depth=4).kept()
    np.testing.assert_allclose(kept, [[-3, -3], [3, 3]])
    np.testing.assert_allclose(variances(0.25, 3.0).factors(), (0.25, 3.0))


@pytest.mark.slow  # CI runs it in the course
def test_a_small_run_holds_and_its_record_is_json():
    result = initialization.main(SMALL)
    assert result.holds, result.verdict
    assert result.verdict.startswith("variance left after 6 layers (2 seeds): relu: He ")
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert set(figures["relu"]) == set(initialization.LINES)
    assert set(figures["relu"]["LSUV"]["forward"]) == {"log10_left", "left", "a_layer"}
    assert figures["relu"]["LSUV"]["forward"]["left"] == pytest.approx(1, abs=0.02)
    pictures = [b for section in result.pictures for b in section.blocks if hasattr(b, "figure")]
    assert [len(p.figure.axes[0].lines) for p in pictures] == [8, 8]
    forward = {line.get_label(): line.get_ydata() for line in pictures[0].figure.axes[0].lines}
    # He's factor 2 of variance in each layer.
    twice = forward["orthogonal, gain"] / forward["orthogonal"]
    np.testing.assert_allclose(twice, 2.0 ** np.arange(1, 7), rtol=1e-3)


@pytest.mark.slow
def test_a_run_with_the_wrong_initializer_does_not_hold(monkeypatch):
    monkeypatch.setattr(initializers, "he_normal", initializers.Normal(0.01))
    result = initialization.main(SMALL)
    assert not result.holds
    assert result.verdict.startswith("NOT as promised: relu, he_normal: a layer multiplies signal and gradient by 1")


def test_what_theory_says_is_what_is_promised():
    promises = promised(as_theory_says(), 1.1)
    assert len(promises) == 16
    assert all(promises.values())


@pytest.mark.parametrize(
    ("name", "scheme", "wrong"),
    [
        ("relu", "he_normal", variances(0.89, 1)), ("relu", "he_normal", variances(1, 1.12)),
        ("relu", "orthogonal, gain", variances(1.12, 1)), ("relu", "lecun_normal", variances(0.56, 0.5)),
        ("relu", "delta_orthogonal", variances(0.5, 0.44)), ("relu", "LSUV", variances(1.002, 1)),
        ("relu", "he_normal, batch norm", variances(1, 1.0)), ("tanh", "LSUV", variances(0.99, 1)),
        ("tanh, small signal", "delta_orthogonal", variances(0.99, 0.999)), ("linear", "he_normal", variances(1, 2)),
        ("linear", "delta_orthogonal", variances(1, 1.001)), ("linear", "orthogonal", variances(1.2, 1)),
    ],
)  # fmt: skip
def test_each_promise_can_be_broken(name, scheme, wrong):
    found = as_theory_says()
    found[name][scheme] = wrong
    assert sum(not held for held in promised(found, 1.1).values()) == 1


def test_wide_nets_are_held_to_narrow_bounds():
    assert tolerance(Config()) == pytest.approx(1.117, abs=0.002)
    assert tolerance(Config(width=1024, seeds=50)) < 1.02
    assert tolerance(Config(width=16)) < 2**0.5  # or halving and keeping could not be told apart


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 101}, r"^initialization: expected a depth of 2\.\.100, got 101\. "),
        ({"depth": 1}, r"^initialization: expected a depth of 2\.\.100, got 1\. "),
        ({"width": 8}, r"^initialization: expected at least 16 maps, got 8\. "),
        ({"seeds": 1}, r"^initialization: expected at least 2 seeds, got 1\. "),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        initialization.main(dataclasses.replace(SMALL, **options))
