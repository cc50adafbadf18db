"""The benchmark against other libraries: that the nets are the same, that times are compared fairly, its record."""

import dataclasses
import itertools
import json
import re
import sys
import types
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import cases, compilation, pairs, peers
from experiments.benchmarks.chart import ratios
from experiments.benchmarks.nets import NETS, Training, linen, ours
from experiments.benchmarks.pairs import Pairs, Program

pytestmark = pytest.mark.usefixtures("quick_compilation")

COUNTS = {"lenet": 857_738, "vgg": 1_148_874, "resnet20": 269_722, "depthwise": 136_778}
PACKAGES = {"linen": "flax", "nnx": "flax", "equinox": "equinox", "haiku": "haiku", "torch": "torch"}


def built(library, net):
    pytest.importorskip(PACKAGES[library])
    found = cases.build(library, net, "float32")
    assert not isinstance(found, str), found
    return found


def weight(name, shape, channels_first):
    """Return the weight that every library gets for this name and shape, in its own order of axes."""
    kernel = len([size for size in shape if size != 1]) > 1
    if not kernel:
        role = "bias" if name in ("bias", "b", "offset") else "scale"
        values = np.random.default_rng(zlib.crc32(f"{role}{max(shape)}".encode())).normal(size=shape)
        return jnp.asarray(0.1 * values + (role == "scale"), jnp.float32)
    to = {4: (2, 3, 1, 0), 2: (1, 0)}[len(shape)] if channels_first else tuple(range(len(shape)))
    ordinary = tuple(shape[axis] for axis in to)
    values = np.random.default_rng(zlib.crc32(str(ordinary).encode())).normal(size=ordinary)
    values *= (2 / np.prod(ordinary[:-1])) ** 0.5
    if channels_first and ordinary == (7 * 7 * 64, 256):
        values = values.reshape(7, 7, 64, 256).transpose(2, 0, 1, 3).reshape(ordinary)
    return jnp.asarray(values.transpose(np.argsort(to)), jnp.float32)


def weights(params, channels_first):
    def one(path, leaf):
        names = re.findall(r"[a-z]+", jax.tree_util.keystr(path))
        name = next(
            name for name in reversed(names) if name in ("kernel", "weight", "w", "scale", "bias", "b", "offset")
        )
        return weight(name, leaf.shape, channels_first)

    return jax.tree_util.tree_map_with_path(one, params)


def jax_losses(training, batch, steps=3):
    """Return the logits of a net with the common weights, the losses of the steps from there, and the logits then."""
    if training.channels_first:
        batch = dict(batch, image=np.moveaxis(batch["image"], -1, -3))
    state = training.init(jax.random.key(0))
    params = weights(training.params(state), training.channels_first)
    state = dataclasses.replace(state, params=params) if dataclasses.is_dataclass(state) else (params, *state[1:])
    logits = training.forward(state, batch["image"])
    step, losses = jax.jit(training.step), []
    for _ in range(steps):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    return np.asarray(logits), losses, np.asarray(training.forward(state, batch["image"]))


def torch_losses(eager, batch, steps=3):
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        for name, parameter in eager.net.named_parameters():
            values = np.asarray(weight(name.rpartition(".")[2], tuple(parameter.shape), channels_first=True))
            parameter.copy_(torch.tensor(values))
    image, label = eager.tensors(batch)
    logits = eager.forward(image).numpy()
    losses = [float(eager.step(image, label).detach()) for _ in range(steps)]
    return logits, losses, eager.forward(image).numpy()


@pytest.fixture(scope="module")
def reference():
    """Return net -> (batch, logits, losses, logits) of jaxcnn, each computed once."""
    found = {}

    def of(net):
        if net not in found:
            batches = pairs.random_batches(net, 1, 4, "float32", seed=3)
            batch = {name: array[0] for name, array in batches.items()}
            found[net] = batch, *jax_losses(cases.build("ours", net, "float32"), batch)
        return found[net]

    return of


@pytest.mark.parametrize("library", PACKAGES)
@pytest.mark.parametrize("net", [net if net == "lenet" else pytest.param(net, marks=pytest.mark.slow) for net in NETS])
def test_the_nets_and_their_training_are_the_same_in_every_library(net, library, reference):
    training = built(library, net)
    batch, logits, losses, after = reference(net)
    theirs = (jax_losses if isinstance(training, Training) else torch_losses)(training, batch)
    if library != "haiku" or net == "lenet":  # Haiku's statistics are defined after the first step only
        np.testing.assert_allclose(theirs[0], logits, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(theirs[1], losses, rtol=1e-3)
    assert len({round(loss, 3) for loss in losses}) == 3
    if library in ("linen", "nnx"):  # the others' running variances are unbiased, or corrected for the start
        np.testing.assert_allclose(theirs[2], after, rtol=1e-2, atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("net", NETS)
def test_the_nets_have_the_parameters_that_they_should(net):
    builds = {library: cases.build(library, net, "float32") for library in cases.FILES}
    assert cases.parameters(net, builds) == COUNTS[net]


def test_a_net_that_differs_is_refused():
    builds = {"ours": ours.build("lenet", jnp.float32), "linen": linen.build("vgg", jnp.float32)}
    with pytest.raises(ValueError, match=r"^peers: expected one parameter count of lenet .*857738.*1148874.*\."):
        cases.parameters("lenet", builds)


@pytest.mark.slow
def test_resnet50_is_the_same_in_both_libraries():
    for library in (ours, linen):
        training = library.build("resnet50", jnp.float32, (64, 64, 3))
        state = jax.eval_shape(training.init, jax.random.key(0))
        assert sum(leaf.size for leaf in jax.tree.leaves(training.params(state))) == 25_557_032


@pytest.fixture
def clock(monkeypatch):
    """A clock that programs move; `clock.program(name, seconds)` makes one."""

    class Clock:
        now = 0.0
        calls = ""

        def program(self, name, seconds):
            durations = iter(itertools.chain(seconds, itertools.repeat(seconds[-1])))

            def call():
                self.now += next(durations)
                self.calls += name

            return Program(call, lambda: None)

    clock = Clock()
    monkeypatch.setattr(pairs, "time", types.SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def test_programs_are_measured_in_turn_until_the_time_is_spent(clock):
    found = pairs.compare(clock.program("a", [9, 1]), clock.program("b", [9, 2]), seconds=31, turn=0.0)
    # The first calls warm up: they are in no pair.
    assert clock.calls == "abab" + "abba" * 5
    assert found.ours == [1] * 10
    assert found.theirs == [2] * 10
    assert found.figures()["ratio"] == 2


def test_short_calls_are_repeated_within_a_turn(clock):
    found = pairs.compare(clock.program("a", [0.125]), clock.program("b", [0.5]), seconds=0.0, turn=1.0)
    a, b = "a" * 8, "bb"
    assert clock.calls == "abab" + a + b + b + a + a + b
    assert found.ours == [0.125] * 3
    assert found.theirs == [0.5] * 3


def test_a_call_that_takes_very_long_is_measured_once(clock):
    found = pairs.compare(clock.program("a", [9, 1]), clock.program("b", [70, 50]), seconds=5, turn=0.1)
    assert clock.calls == "aba"
    assert (found.ours, found.theirs) == ([1], [70])


def test_figures_are_the_median_and_quartiles_of_the_ratios():
    found = Pairs([1, 1, 2, 1, 1], [5, 1, 4, 4, 3]).figures()
    assert (found["low"], found["ratio"], found["high"], found["pairs"]) == (2, 3, 4, 5)
    assert (found["ours_ms"], found["theirs_ms"]) == (1000, 4000)


def row(mode, net, peer, ratio):
    return {"mode": mode, "net": net, "peer": peer, "ratio": ratio, "low": ratio, "high": ratio}


ROWS = [
    row("step", "lenet", "linen", 3.0),
    row("step", "lenet", "haiku", 2.0),
    row("step", "lenet", "torch", 0.5),
    row("step", "vgg", "linen", 8.0),
    row("step", "vgg", "haiku", 9.0),
    row("step", "vgg", "torch", 2.0),
    {"mode": "step", "net": "vgg", "peer": "nnx", "failed": "failed: ValueError: no"},
]


def test_the_summary_is_against_the_best_jax_peer_of_each_net():
    found = peers.summary(ROWS)
    assert found["geometric_mean"] == pytest.approx(4)
    assert (found["least"], found["least_net"], found["least_peer"]) == (2.0, "lenet", "haiku")
    assert found["torch_geometric_mean"] == pytest.approx(1)
    assert (found["torch_least"], found["torch_least_net"]) == (0.5, "lenet")
    assert peers.summary(ROWS[-1:]) == {"missing": ["vgg"]}
    assert "geometric mean 4.00, least 2.00 (lenet, haiku)" in peers.words(found)


def test_targets_that_are_missed_are_named():
    assert peers.misses({"step": peers.summary(ROWS)}) == []
    assert peers.misses({"scan": peers.summary(ROWS)}) == ["MISSED: scan geometric mean 4.00 < 20.0"]
    assert len(peers.misses({"step": {}})) == 2
    torn = peers.summary([*ROWS, {"mode": "step", "net": "resnet20", "peer": "linen", "failed": "failed"}])
    assert peers.misses({"step": torn}) == ["MISSED: step resnet20: no JAX peer measured"]
    assert len(peers.misses({"step": {"geometric_mean": float("nan"), "least": 1.0}})) == 1


def test_the_chart_has_a_panel_for_each_mode():
    figure = ratios([*ROWS, row("vmap", "vgg", "linen", 30.0)])
    assert [axes.get_title("left") for axes in figure.axes] == ["step", "vmap"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["2.00", "8.00"]


@pytest.mark.slow
def test_quick_measures_all_modes_names_what_is_missing_and_writes_json(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "haiku", None)
    monkeypatch.delitem(sys.modules, "experiments.benchmarks.nets.haiku_nets", raising=False)
    result = peers.main(peers.Config(run=str(tmp_path), quick=True, peers=("linen", "haiku")))
    assert result.holds
    assert "not judged" in result.verdict
    figures = json.loads(json.dumps(result.figures))
    assert figures["parameters"] == {"lenet": COUNTS["lenet"]}
    for mode in peers.TARGETS:
        measured, missing = (row for row in figures["cases"] if row["mode"] == mode)
        assert measured["peer"] == "linen"
        assert measured["ratio"] > 0
        assert measured["pairs"] == 3
        assert measured["low"] <= measured["ratio"] <= measured["high"]
        assert missing == {"mode": mode, "net": "lenet", "peer": "haiku", "failed": "not installed: haiku"}
        assert figures["modes"][mode]["least_peer"] == "linen"
        if mode != "inference":
            assert measured["ours_mb"] > 1
    assert "not installed: haiku" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["build", "init", "step"])
def test_a_library_that_breaks_is_a_row_and_not_the_end(where, monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("no\nmore")

    sound = linen.build("lenet", jnp.float32)
    monkeypatch.setattr(linen, "build", broken if where == "build" else lambda *args: sound._replace(**{where: broken}))
    builds = {library: cases.build(library, "lenet", "float32") for library in ("ours", "linen")}
    batches = pairs.random_batches("lenet", 1, 2, "float32", 0)
    found = list(cases.measure("step", "lenet", builds, batches, lanes=1, seed=0, seconds=0, turn=0))
    assert found == [{"mode": "step", "net": "lenet", "peer": "linen", "failed": "failed: RuntimeError: no"}]
    assert cases.line(found[0]).endswith("failed: RuntimeError: no")


def test_jaxcnn_must_not_break(monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("no")

    monkeypatch.setattr(ours, "build", broken)
    with pytest.raises(RuntimeError, match="no"):
        cases.build("ours", "lenet", "float32")


def test_bfloat16_reaches_the_nets_and_parameters_stay_float32():
    for library in ("ours", "linen", "nnx"):
        training = cases.build(library, "lenet", "bfloat16")
        state = jax.eval_shape(training.init, jax.random.key(0))
        assert {leaf.dtype for leaf in jax.tree.leaves(training.params(state))} == {jnp.dtype("float32")}
        image = jax.ShapeDtypeStruct((2, *NETS["lenet"]), jnp.bfloat16)
        assert jax.eval_shape(training.forward, state, image).dtype == jnp.bfloat16


@pytest.mark.slow
def test_compilation_is_timed_from_nothing(monkeypatch):
    """A small net stands for ResNet-50."""
    for library in (ours, linen):
        monkeypatch.setitem(library._NETS, "resnet50", library._NETS["lenet"])
    monkeypatch.setattr(compilation, "SHAPE", (28, 28, 1))
    monkeypatch.setattr(compilation, "PAIRS", 2)
    cleared, clear = [], jax.clear_caches
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(clear()))
    before = jax.config.jax_enable_compilation_cache
    found = compilation.compilation(quick=False)
    assert found["pairs"] == 2
    assert len(cleared) == 4
    assert found["ours_ms"] > 50
    assert jax.config.jax_enable_compilation_cache == before
