"""Gradient descent against its equations and PyTorch, and the schedule at points known by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn.training import sgd, warmup_cosine

PARAMS = {"conv": {"kernel": jnp.float32([[1.0, -2.0]]), "bias": jnp.float32([3.0])}, "norm": {"scale": jnp.ones(2)}}


def run(optimizer, params, gradients):
    """Return the parameters after each gradient."""
    state, seen = optimizer.init(params), []
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params)
    return seen


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b)


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0), (1, 0.02), (5, 0.1), (10, 0.2), (55, 0.1), (40, 0.15), (100, 0), (500, 0)]
)
def test_warmup_cosine(step, rate):
    # A tenth up; 30 of the 90 steps down are a third of half a cosine: (1 + cos 60 deg) / 2 = 3/4.
    assert warmup_cosine(0.2, 100)(step) == pytest.approx(rate, abs=1e-7)
    assert jax.jit(warmup_cosine(0.2, 100))(jnp.int32(step)) == pytest.approx(rate, abs=1e-7)


def test_warmup_rises_then_falls():
    rates = np.array([warmup_cosine(1.0, 40, warmup=0.25)(step) for step in range(41)])
    assert rates.argmax() == 10 and rates.max() == 1
    assert (np.diff(rates[:11]) > 0).all() and (np.diff(rates[10:]) < 0).all()


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.1), (7, 0.1), (50, 0)])
def test_trainings_too_short_to_warm_up_begin_at_the_peak(steps, warmup):
    assert warmup_cosine(0.3, steps, warmup=warmup)(0) == pytest.approx(0.3)
    assert warmup_cosine(0.3, steps, warmup=warmup)(steps) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((0.1, 0), {}, r"^warmup_cosine: expected at least one step, got 0\."),
        ((0.0, 10), {}, r"^warmup_cosine: expected a peak > 0, got 0\.0\."),
        ((float("nan"), 10), {}, r"^warmup_cosine: expected a peak > 0, got nan\."),
        ((0.1, 10), {"warmup": 1.0}, r"^warmup_cosine: expected warmup in \[0, 1\), got 1\.0\."),
        ((0.1, 10), {"warmup": -0.1}, r"^warmup_cosine: expected warmup in \[0, 1\), got -0\.1\."),
    ],
)
def test_bad_schedules(args, options, message):
    with pytest.raises(ValueError, match=message):
        warmup_cosine(*args, **options)


@pytest.mark.parametrize(("nesterov", "expected"), [(False, [0.8, 0.42]), (True, [0.62, 0.078])])
def test_momentum_by_hand(nesterov, expected):
    # v1 = 2, v2 = 0.9 * 2 + 2 = 3.8; steps of 0.1 v, or with Nesterov 0.1 (g + 0.9 v) = 0.38 and 0.542.
    optimizer = sgd(0.1, momentum=0.9, nesterov=nesterov, weight_decay=0)
    gradient = {"kernel": jnp.float32(2.0)}
    seen = run(optimizer, {"kernel": jnp.float32(1.0)}, [gradient, gradient])
    close([params["kernel"] for params in seen], expected)


def test_weight_decay_touches_kernels_alone():
    none = jax.tree.map(jnp.zeros_like, PARAMS)
    (after,) = run(sgd(0.5, momentum=0.0, weight_decay=0.1), PARAMS, [none])
    close(after["conv"]["kernel"], 0.95 * PARAMS["conv"]["kernel"])
    for names in (("conv", "bias"), ("norm", "scale")):
        np.testing.assert_array_equal(after[names[0]][names[1]], PARAMS[names[0]][names[1]])


def test_a_bare_array_has_no_name_and_no_decay():
    (after,) = run(sgd(0.5, momentum=0.0, weight_decay=0.1), jnp.ones(3), [jnp.ones(3)])
    close(after, 0.5 * jnp.ones(3))


def test_the_rate_follows_the_schedule():
    gradient = {"kernel": jnp.float32(1.0)}
    optimizer = sgd(lambda count: jnp.float32([1, 10, 100])[count], momentum=0, weight_decay=0)
    seen = run(optimizer, {"kernel": jnp.float32(0.0)}, [gradient] * 3)
    close([params["kernel"] for params in seen], [-1, -11, -111])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": -0.1}, r"^sgd: expected learning_rate as a finite number >= 0 or a schedule, got -0\.1\."),
        ({"momentum": 1.0}, r"^sgd: expected momentum in \[0, 1\), got 1\.0\."),
        ({"momentum": -0.1}, r"^sgd: expected momentum in \[0, 1\), got -0\.1\."),
        ({"weight_decay": -1e-4}, r"^sgd: expected weight_decay >= 0, got -0\.0001\."),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        sgd(**{"learning_rate": 0.1} | options)


@pytest.mark.parametrize("nesterov", [False, True])
def test_agrees_with_torch(nesterov):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = {"kernel": rng.standard_normal((3, 4)).astype(np.float32), "bias": np.ones(4, np.float32)}
    gradients = [
        {name: rng.standard_normal(value.shape).astype(np.float32) for name, value in start.items()} for _ in range(5)
    ]
    theirs = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in start.items()}
    groups = [{"params": [theirs["kernel"]], "weight_decay": 0.02}, {"params": [theirs["bias"]]}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=nesterov)
    ours = run(sgd(0.1, nesterov=nesterov, weight_decay=0.02), jax.tree.map(jnp.asarray, start), gradients)
    for gradient, after in zip(gradients, ours, strict=True):
        for name, parameter in theirs.items():
            parameter.grad = torch.tensor(gradient[name])
        optimizer.step()
        close(after, {name: parameter.detach().numpy() for name, parameter in theirs.items()})
