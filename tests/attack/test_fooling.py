"""Fooling images: closed forms, what evolution keeps, patterns by hand, and what nets are sure of, looked at again."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack.fooling import Direct, Fooled, Pattern, Patterns, ascent, evolve
from jaxcnn.attack.fooling.fooled import log_odds
from jaxcnn.attack.fooling.patterns import ACTIVATIONS, PLACE
from tests.small_nets import CASES

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(4)
DIGIT = jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32)
TINY = jax.ShapeDtypeStruct((1, 3, 3, 1), jnp.float32)
FEW = {"generations": 40, "population": 32}


def probabilities(logits_fn, found: Fooled) -> np.ndarray:
    """Return what the net says of the images, each for its class."""
    return np.asarray(jax.nn.softmax(logits_fn(found.images)))[np.arange(len(found.classes)), found.classes]


def two_classes(linear) -> tuple[Any, np.ndarray]:
    """Return a linear net of two classes, and the image within [0, 1] that it is surest of, for each."""
    kernel, bias = (jnp.asarray(a) for a in linear.logits_fn.args)
    kernel, bias = kernel[:, :2] / 4, bias[:2]
    best = np.stack([kernel[:, 0] > kernel[:, 1], kernel[:, 1] > kernel[:, 0]]).reshape(2, 3, 3, 1)
    return lambda x: x.reshape(*x.shape[:-3], 9) @ kernel + bias, best.astype(np.float32)


# Gradient ascent


def test_ascent_of_a_linear_net_ends_in_the_corner_of_the_cube(linear):
    logits_fn, best = two_classes(linear)
    found = ascent(KEY, logits_fn, TINY, confidence=1 - 1e-7)
    np.testing.assert_array_equal(found.images, best)
    close(found.confidence, probabilities(logits_fn, found._replace(images=jnp.asarray(best))), rtol=1e-6)
    assert (np.diff(found.history, axis=0) >= 0).all()


@pytest.mark.slow
def test_a_step_by_hand(linear):
    logits_fn, _ = two_classes(linear)
    found = ascent(KEY, logits_fn, TINY, start=0.5, steps=1, step_size=0.1, confidence=1 - 1e-7)
    slope = jax.vmap(jax.grad(lambda x, k: jax.nn.log_softmax(logits_fn(x))[k]))(
        jnp.full((2, 3, 3, 1), 0.5), jnp.arange(2)
    )
    unit = slope / jnp.sqrt(jnp.mean(slope**2, (1, 2, 3), keepdims=True))
    close(found.images, 0.5 + 0.1 * unit, rtol=1e-5)
    start = jax.nn.softmax(logits_fn(jnp.full((3, 3, 1), 0.5)))
    close(found.history, jnp.stack([start, probabilities(logits_fn, found)]), rtol=1e-5)


@pytest.mark.slow
def test_it_is_sure_of_every_digit_and_ends_there(digits):
    found = ascent(KEY, digits.logits_fn, DIGIT, confidence=0.999)
    assert found.images.shape == (10, 8, 8, 1) and found.images.dtype == jnp.float32
    assert (found.images >= 0).all() and (found.images <= 1).all()
    close(found.confidence, probabilities(digits.logits_fn, found), rtol=1e-5)
    assert (found.confidence >= 0.999).all() and found.above(0.99).all() and not found.above(1.0).any()
    close(found.history[-1], found.confidence, rtol=1e-5)
    taken = (np.asarray(found.history) < 0.999).sum(0)
    assert found.history.shape == (201, 10) and (taken < 200).all()
    for k, steps in enumerate(taken):  # an image that is there stays
        assert (found.history[steps:, k] == found.history[-1, k]).all()
    assert len(set(taken.tolist())) > 1  # each by itself


@pytest.mark.slow
@pytest.mark.parametrize("confidence", [0.5, 0.99999])
def test_what_it_believes_is_found_again(digits, confidence):
    found = ascent(KEY, digits.logits_fn, DIGIT, confidence=confidence, steps=400)
    assert (found.confidence >= confidence).all()
    assert (probabilities(digits.logits_fn, found) >= confidence).all()


@pytest.mark.slow
def test_start_and_penalty(digits):
    mean = digits.x.mean(0)
    found = [
        ascent(KEY, digits.logits_fn, DIGIT, start=mean, penalty=penalty, steps=100, confidence=1 - 1e-7)
        for penalty in (0.0, 30.0)
    ]
    moved = [np.square(one.images - mean).mean((1, 2, 3)) for one in found]
    assert (moved[1] < moved[0]).all() and (moved[1] > 0).all()
    assert np.abs(found[0].history[0].sum() - 1) < 1e-4  # of one image, all classes
    still = ascent(KEY, digits.logits_fn, DIGIT, start=mean, confidence=1e-20)
    np.testing.assert_array_equal(still.images, jnp.broadcast_to(mean, (10, 8, 8, 1)))


@pytest.mark.slow
def test_some_classes_some_of_them_twice(digits):
    found = ascent(KEY, digits.logits_fn, DIGIT, classes=[3, 3, 7])
    assert found.classes.tolist() == [3, 3, 7] and found.images.shape == (3, 8, 8, 1)
    assert not np.allclose(found.images[0], found.images[1])
    assert digits.logits_fn(found.images).argmax(-1).tolist() == [3, 3, 7]
    alone = ascent(KEY, digits.logits_fn, DIGIT, classes=[7], start=0.2)
    every = ascent(KEY, digits.logits_fn, DIGIT, start=0.2)
    close(alone.images[0], every.images[7], atol=1e-5)  # no class hinders another


# Evolution


class Up(NamedTuple):
    """An encoding that brightens: what evolution keeps can be told by hand."""

    step: float = 0.1

    def init(self, key, shape):
        return jnp.full(shape, 0.5)

    def mutate(self, key, genome, generation):
        return genome + self.step

    def image(self, genome, shape):
        return genome


def bright_or_dark(x):
    mean = x.mean((-3, -2, -1))
    return 10 * jnp.stack([mean, 1 - mean, jnp.full_like(mean, -50)], -1)


@pytest.mark.parametrize("step", [0.1, -0.1])
def test_an_elite_gives_way_only_to_what_is_better_for_its_class(step):
    found = evolve(KEY, bright_or_dark, TINY, encoding=Up(step), generations=4, population=32, classes=[0, 1])
    rising, other = (0, 1) if step > 0 else (1, 0)
    close(found.images[rising], 0.5 + 4 * step, rtol=1e-5)
    close(found.images[other], 0.5)
    expected = jax.nn.sigmoid(20 * 0.1 * jnp.arange(5.0))
    close(found.history[:, rising], expected, rtol=1e-4)
    close(found.history[:, other], 0.5, rtol=1e-5)
    close(found.confidence, found.history[-1], rtol=1e-5)


def test_what_is_found_for_one_class_serves_another():
    """The elite of class 1 alone would never brighten: its first step is worse for it."""

    def logits_fn(x):
        mean = x.mean((-3, -2, -1))
        return jnp.stack([4 * mean, jnp.where(mean > 0.75, 20.0, 2 * (1 - mean))], -1)

    found = evolve(KEY, logits_fn, TINY, encoding=Up(), generations=3, population=32)
    close(found.images[1], 0.8, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["direct", "patterns"])
def test_evolution_of_digits(digits, encoding):
    found = evolve(KEY, digits.logits_fn, DIGIT, encoding=encoding, **FEW)
    assert found.images.shape == (10, 8, 8, 1) and found.history.shape == (41, 10)
    assert (found.images >= 0).all() and (found.images <= 1).all()
    assert (np.diff(found.history, axis=0) >= 0).all()
    assert found.history[0].mean() < 0.7 < found.history[-1].mean()
    close(found.confidence, probabilities(digits.logits_fn, found), rtol=1e-5)
    close(found.history[-1], found.confidence, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["direct", "patterns"])
def test_evolution_is_sure_of_every_digit(digits, encoding):
    found = evolve(KEY, digits.logits_fn, DIGIT, encoding=encoding, generations=500)
    assert found.above(0.99).all()
    assert (probabilities(digits.logits_fn, found) > 0.99).all()


@pytest.mark.slow
def test_evolution_needs_no_gradients(digits):
    steps = lambda x: jnp.round(digits.logits_fn(x) * 4)  # noqa: E731
    found = evolve(KEY, steps, DIGIT, **FEW)
    assert found.history[-1].mean() > found.history[0].mean() + 0.1


@pytest.mark.slow
def test_direct_evolution_of_a_linear_net_nears_the_corner(linear):
    logits_fn, best = two_classes(linear)
    found = evolve(KEY, logits_fn, TINY, generations=300, population=32)
    most = log_odds(logits_fn(jnp.asarray(best)))[jnp.arange(2), jnp.arange(2)]
    reached = log_odds(logits_fn(found.images))[jnp.arange(2), jnp.arange(2)]
    assert (reached > 0.95 * most).all()


@pytest.mark.slow
def test_mutation_of_pixels():
    direct, genome = Direct(rate=0.2, halving=10, strength=15.0), jnp.full((400, 400, 1), 0.5)
    for generation, rate in ((0, 0.2), (9, 0.2), (10, 0.1), (25, 0.05)):
        moved = direct.mutate(KEY, genome, jnp.int32(generation)) - genome
        assert abs(float((moved != 0).mean()) - rate) < 0.01
    step = np.asarray(direct.mutate(KEY, genome, jnp.int32(0)) - genome)
    close(np.abs(step[step != 0]).mean(), 1 / 17, rtol=0.05)
    assert abs(float(jnp.mean(step))) < 0.01
    assert float(jnp.abs(Direct(rate=1.0, strength=0.0).mutate(KEY, genome, 0) - 0.5).max()) == 0.5  # clipped


# Patterns


def pattern(nodes=2, channels=1, kinds=(0, 0), **connections: float) -> Pattern:
    """Return a genome with these connections, such as n1_v4=2.0: node 1 takes twice the value 4, which is node 0."""
    weight = np.zeros((nodes + channels, PLACE + nodes))
    for name, value in connections.items():
        to, of = name.split("_")
        weight[int(to[1:]), int(of[1:])] = value
    return Pattern(jnp.asarray(weight, jnp.float32), jnp.asarray(weight != 0), jnp.array(kinds))


@pytest.mark.slow
def test_patterns_by_hand():
    across, down = np.meshgrid((2 * np.arange(6) - 5) / 6, (2 * np.arange(4) - 3) / 6)
    kinds = [list(ACTIVATIONS).index(name) for name in ("sin", "gauss")]
    for of, value in {"v0": across, "v1": down, "v2": np.hypot(across, down), "v3": np.ones((4, 6))}.items():
        genome = pattern(kinds=kinds, **{f"n0_{of}": 2.0, "n1_v4": 3.0, "n2_v5": 1.5})
        expected = 1 / (1 + np.exp(-1.5 * np.exp(-((3 * np.sin(2 * np.pi * value)) ** 2))))
        close(Patterns(2).image(genome, (4, 6, 1))[..., 0], expected, rtol=1e-5)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_each_activation(name):
    genome = pattern(kinds=[list(ACTIVATIONS).index(name), 0], n0_v0=1.0, n2_v4=1.0)
    x = (2 * jnp.arange(5.0) - 4) / 5
    by_hand = {
        "sin": jnp.sin(jnp.pi * x), "gauss": jnp.exp(-(x**2)), "sigmoid": jnp.tanh(x), "abs": jnp.abs(x), "linear": x,
    }  # fmt: skip
    close(Patterns(2).image(genome, (1, 5, 1))[0, :, 0], jax.nn.sigmoid(by_hand[name]), rtol=1e-5)


@pytest.mark.slow
def test_connections_that_are_off_carry_nothing_and_later_nodes_no_value():
    genome = pattern(n0_v0=1.0, n2_v4=1.0)
    image = Patterns(2).image(genome, (3, 3, 1))
    off = genome._replace(on=genome.on.at[2, 4].set(False))
    close(Patterns(2).image(off, (3, 3, 1)), 0.5)
    later = genome._replace(weight=genome.weight.at[0, 5].set(9.0), on=genome.on.at[0, 5].set(True))  # node 1 to node 0
    close(Patterns(2).image(later, (3, 3, 1)), image)


@pytest.mark.slow
def test_a_pattern_has_no_size_and_channels_of_their_own():
    patterns = Patterns(nodes=8)
    genome = patterns.init(KEY, (8, 8, 3))
    genome = genome._replace(weight=genome.weight / 4)
    small, large = (patterns.image(genome, (side, side, 3)) for side in (8, 64))
    close(large.reshape(8, 8, 8, 8, 3).mean((1, 3)), small, atol=0.05)
    assert large.std((0, 1)).min() > 0.01
    assert not np.allclose(large[..., 0], large[..., 1])


@pytest.mark.slow
def test_mutation_of_patterns():
    patterns = Patterns(nodes=60, density=0.3, rate=0.2, strength=0.5, switching=0.05, exchanging=0.25)
    genome = patterns.init(KEY, (8, 8, 2))
    assert abs(float(genome.on.mean()) - 0.3) < 0.03
    assert set(np.asarray(genome.kind).tolist()) == set(range(len(ACTIVATIONS)))
    mutant = patterns.mutate(jax.random.key(1), genome, jnp.int32(0))
    moved = np.asarray(mutant.weight - genome.weight)
    assert abs((moved != 0).mean() - 0.2) < 0.03
    close(moved[moved != 0].std(), 0.5, rtol=0.1)
    assert abs(float((mutant.on != genome.on).mean()) - 0.05) < 0.02
    assert abs(float((mutant.kind != genome.kind).mean()) - 0.25 * 4 / 5) < 0.15
    assert jnp.abs(patterns.mutate(KEY, genome._replace(weight=genome.weight * 100), 0).weight).max() <= 8


# Both


SEARCHES = {
    "ascent": lambda key, logits_fn, spec, **options: ascent(key, logits_fn, spec, steps=20, **options),
    "direct": lambda key, logits_fn, spec, **options: evolve(
        key, logits_fn, spec, generations=5, population=6, **options
    ),
    "patterns": lambda key, logits_fn, spec, **options: evolve(
        key, logits_fn, spec, encoding="patterns", generations=5, population=6, **options
    ),
}
every_search = pytest.mark.parametrize("search", list(SEARCHES.values()), ids=list(SEARCHES))
both_searches = pytest.mark.parametrize("search", list(SEARCHES.values())[:2], ids=list(SEARCHES)[:2])


@pytest.mark.slow
def test_a_residual_net():
    logits_fn = CASES["residual"].logits_fn
    found = ascent(KEY, logits_fn, jax.ShapeDtypeStruct((1, 12, 12, 3), jnp.float32), steps=20)
    assert found.images.shape == (5, 12, 12, 3)
    close(found.confidence, probabilities(logits_fn, found), rtol=1e-5)
    assert (found.history[-1] > found.history[0]).any()


@pytest.mark.slow
@both_searches
def test_the_same_key_gives_the_same_bits_and_chunks_do_not_matter(digits, search):
    one, same = (search(jax.random.key(9), digits.logits_fn, DIGIT) for _ in range(2))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(one.images, search(jax.random.key(8), digits.logits_fn, DIGIT).images)
    close(search(jax.random.key(9), digits.logits_fn, DIGIT, chunk=3).images, one.images, atol=1e-4)


@pytest.mark.slow
@both_searches
def test_within_jit_and_vmap(digits, search):
    keys = jax.random.split(KEY)
    found = jax.jit(jax.vmap(lambda key: search(key, digits.logits_fn, DIGIT)))(keys)
    for at, key in enumerate(keys):
        alone = search(key, digits.logits_fn, DIGIT)
        close(found.images[at], alone.images, atol=1e-4)
        close(found.confidence[at], alone.confidence, rtol=1e-3)


@pytest.mark.slow
@every_search
def test_other_bounds_and_dtypes(search):
    spec = jax.ShapeDtypeStruct((4, 3, 3, 1), jnp.bfloat16)  # how long the batch is does not matter
    found = search(KEY, lambda x: bright_or_dark(x / 100), spec, bounds=(-50, 100.0), classes=np.array([1, 0]))
    assert found.images.shape == (2, 3, 3, 1) and found.images.dtype == jnp.bfloat16
    assert (found.images >= -50).all() and (found.images <= 100).all()
    assert found.images[0].mean() < found.images[1].mean()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ascent", "direct"])
def test_nets_of_vectors(linear, name):
    kernel, bias = linear.logits_fn.args
    found = SEARCHES[name](KEY, lambda x: x @ kernel + bias, jnp.zeros((1, 9)))
    assert found.images.shape == (4, 9)


@pytest.mark.slow
@every_search
def test_one_trace(search, linear):
    traces, (kernel, bias) = [], linear.logits_fn.args

    def logits_fn(x):
        traces.append(x.shape)
        return x.reshape(-1, 9) @ kernel + bias

    logits_fn = jax.tree_util.Partial(logits_fn)
    search(KEY, logits_fn, TINY)
    first = len(traces)
    search(jax.random.key(1), logits_fn, TINY)
    if search is SEARCHES["ascent"]:
        search(KEY, logits_fn, TINY, confidence=0.5, step_size=0.3, penalty=0.1)
    assert len(traces) == first
    assert set(traces) == {(1, 3, 3, 1)}  # never called with more


@pytest.mark.slow
def test_log_odds():
    logits = jnp.array([[1.0, 2.0, 0.5], [-3.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    p = np.asarray(jax.nn.softmax(logits), np.float64)
    close(log_odds(logits), np.log(p / (1 - p)), rtol=1e-4, atol=1e-6)
    close(log_odds(jnp.array([100.0, 0.0, 0.0])), [100 - math.log(2), -100, -100], rtol=1e-6)
    assert (jnp.diff(jnp.array([log_odds(jnp.array([z, 0.0]))[0] for z in (20.0, 30.0, 40.0)])) > 5).all()


@pytest.mark.slow
def test_nan_never_wins(digits):
    def broken(x):
        return jnp.where(x.mean((-3, -2, -1))[..., None] > 0.5, jnp.nan, digits.logits_fn(x))

    found = evolve(KEY, broken, DIGIT, **FEW)
    assert np.isfinite(found.confidence).all() and (found.images.mean((1, 2, 3)) <= 0.5).all()


# What is refused


@pytest.mark.slow
@both_searches
def test_refuses(search, digits, linear):
    run = lambda logits_fn=digits.logits_fn, spec=DIGIT, key=KEY, **o: search(key, logits_fn, spec, **o)  # noqa: E731
    where = "ascent" if search is SEARCHES["ascent"] else "evolve"
    for spec in ((1, 8, 8, 1), jnp.zeros(8), jax.ShapeDtypeStruct((1, 0, 8, 1), jnp.float32)):
        with pytest.raises(TypeError, match=rf"^{where}: expected spec as that of images, the batch axis included, "):
            run(spec=spec)
    with pytest.raises(TypeError, match=rf"^{where}: expected spec of a floating dtype, got uint8"):
        run(spec=np.zeros((1, 8, 8, 1), np.uint8))
    with pytest.raises(TypeError, match=rf"^{where}: expected one PRNG key, got 3"):
        run(key=3)
    with pytest.raises(TypeError, match=rf"^{where}: expected logits_fn as a function of images"):
        run(logits_fn=3)
    with pytest.raises(ValueError, match=rf"^{where}: expected logits, got probabilities"):
        run(logits_fn=lambda x: jax.nn.softmax(digits.logits_fn(x)))
    with pytest.raises(ValueError, match=rf"^{where}: expected outputs \(\.\.\., classes\), .*\(1, 8, 8\)"):
        run(logits_fn=lambda x: x[..., 0])
    for bounds in ((1.0, 0.0), (0.0, math.inf), (math.nan, 1.0), 1.0, ()):
        with pytest.raises(ValueError, match=rf"^{where}: expected bounds as \(least, largest\)"):
            run(bounds=bounds)
    for classes in (3, [], [0.5], "12", jnp.zeros((2, 2), int)):
        with pytest.raises(TypeError, match=rf"^{where}: expected classes as a list of some, got "):
            run(classes=classes)
    with pytest.raises(ValueError, match=rf"^{where}: expected classes in 0\.\.9, got \[3, 10\]"):
        run(classes=[3, 10])
    with pytest.raises(ValueError, match=rf"^{where}: expected chunk as a positive int, got 0"):
        run(chunk=0)
    with pytest.raises(ValueError, match=rf"^{where}: expected finite "):
        run(logits_fn=lambda x: jnp.where(x.mean() == 0, 0.0, jnp.nan) + digits.logits_fn(x))


@pytest.mark.slow
def test_ascent_refuses(digits):
    run = lambda **options: ascent(KEY, digits.logits_fn, DIGIT, **options)  # noqa: E731
    for name, bad in (
        ("confidence between 0 and 1", {"confidence": 1.0}),
        ("step_size above 0", {"step_size": 0}),
        ("penalty of at least 0", {"penalty": -1}),
        ("steps as a positive int", {"steps": 0}),
        ("start as 'noise', a number or images", {"start": "mean"}),
        (r"start that broadcasts to \(10, 8, 8, 1\)", {"start": jnp.zeros((3, 8, 8, 1))}),
        (r"start within bounds=\(0.0, 1.0\)", {"start": 2.0}),
    ):
        with pytest.raises(ValueError, match=f"^ascent: expected {name}"):
            run(**bad)
    with pytest.raises(ValueError, match=r"^ascent: expected finite gradients, got infinite or NaN ones\."):
        ascent(KEY, lambda x: digits.logits_fn(jnp.sqrt(x)), DIGIT, start=0.0)


def test_evolve_refuses(digits):
    run = lambda **options: evolve(KEY, digits.logits_fn, DIGIT, **options)  # noqa: E731
    with pytest.raises(ValueError, match=r"^evolve: expected encoding as one of \('direct', 'patterns'\), got 'cppn'"):
        run(encoding="cppn")
    with pytest.raises(TypeError, match=r"^evolve: expected encoding with init, mutate and image, got 3"):
        run(encoding=3)
    for name in ("generations", "population"):
        with pytest.raises(ValueError, match=f"^evolve: expected {name} as a positive int, got 0"):
            run(**{name: 0})
    with pytest.raises(ValueError, match=r"^Patterns: expected images \(H, W, C\), got \(9,\)\. Vectors have no"):
        evolve(KEY, lambda x: x[..., :3], jnp.zeros((1, 9)), encoding="patterns")
    for make, message in (
        (lambda: Direct(rate=0.0), "^Direct: expected rate above 0, at most 1, got 0.0"),
        (lambda: Direct(halving=0), "^Direct: expected halving as a positive int, got 0"),
        (lambda: Direct(strength=-1.0), "^Direct: expected strength of at least 0, got -1.0"),
        (lambda: Patterns(nodes=0), "^Patterns: expected nodes as a positive int, got 0"),
        (lambda: Patterns(density=0.0), "^Patterns: expected density above 0, at most 1, got 0.0"),
        (lambda: Patterns(strength=0.0), "^Patterns: expected strength above 0, got 0.0"),
        (lambda: Patterns(switching=1.5), "^Patterns: expected switching as a probability, got 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
