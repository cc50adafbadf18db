"""The experiment on simple cells: shuffling, gratings, modulation, and what it says."""

import dataclasses
import json
import math
import types

import jax
import numpy as np
import pytest

from experiments import simple_cells
from experiments.apparatus.gabor_cells import PHASES, gratings, modulation, scrambled, shuffled
from experiments.simple_cells import KINDS, LEARNED, Config
from jaxcnn.explain import probes

pytestmark = [pytest.mark.newest, pytest.mark.usefixtures("quick_compilation")]
SMALL = Config(dataset="digits", images=200, features=3, kernel_size=5, seeds=2, epochs=1, batch_size=50)


def fit(**values):
    given = dict.fromkeys(probes.GaborFit._fields, 0.0) | {"amplitude": 1.0, "sigma_along": 2.0, "sigma_across": 2.0}
    return probes.GaborFit(**{name: np.array([value]) for name, value in (given | values).items()})


def test_shuffled_kernels_have_their_own_values_at_other_places():
    kernel = np.random.default_rng(0).normal(size=(5, 5, 3, 4))
    other = shuffled(kernel, np.random.default_rng(0))
    assert other.shape == kernel.shape
    rows = lambda k, n: sorted(map(tuple, k[..., n].reshape(25, 3)))  # noqa: E731
    for n in range(4):
        assert rows(other, n) == rows(kernel, n)  # the colours of a place stay together
        assert np.mean(other[..., n] == kernel[..., n]) < 0.3
    moved = [np.argsort(k[..., 0, 0].ravel()) for k in (kernel, other)]
    assert not np.array_equal(moved[0], moved[1])


def test_scrambled_kernels_have_the_spectrum_and_other_phases():
    kernel = np.random.default_rng(0).normal(size=(5, 5, 3, 4))
    other = scrambled(kernel, np.random.default_rng(1))
    before, after = (np.fft.fft2(k, axes=(0, 1)) for k in (kernel, other))
    np.testing.assert_allclose(np.abs(after), np.abs(before), rtol=1e-6)
    turned = np.angle(after / before)
    np.testing.assert_allclose(np.cos(turned - turned[:, :, :1]), 1, atol=1e-6)  # alike in all colours
    assert np.std(turned[1:3, 1:3]) > 0.5
    assert np.abs(other[..., 0] - other[..., 1]).max() > 0.1


def test_gratings_are_waves_of_the_fit_at_every_phase():
    u = v = np.arange(-3.0, 4.0)
    level = gratings(fit(frequency=0.25), u, v)
    assert level.shape == (7, 7, 1, PHASES)
    np.testing.assert_allclose(level[0, :, 0, 0], np.cos(math.pi / 2 * v), atol=1e-12)
    np.testing.assert_allclose(level[:, 2, 0, 0], level[0, 2, 0, 0])
    upright = gratings(fit(frequency=0.25, orientation=math.pi / 2), u, v)
    np.testing.assert_allclose(upright[..., 0, :], np.swapaxes(level[..., 0, :], 0, 1), atol=1e-12)
    np.testing.assert_allclose(level[..., PHASES // 2], -level[..., 0], atol=1e-12)


def test_modulation_is_that_of_half_waves_and_of_constants():
    wave = np.cos(2 * math.pi * np.arange(PHASES) / PHASES + 0.3)
    found = modulation(np.stack([np.maximum(wave, 0), np.ones(PHASES), 1 + 0.5 * wave, np.zeros(PHASES)]))
    np.testing.assert_allclose(found[:3], [math.pi / 2, 0, 0.5], atol=0.02)
    assert np.isnan(found[3])


@pytest.mark.slow
def test_a_quadrature_pair_does_not_see_the_phase_and_the_cell_does():
    """Planted kernels in the place of learned ones: a simple cell in the net is one in the figures."""
    size, units = 9, fit(frequency=0.2, orientation=0.7, phase=0.4, explained=1.0)
    config = dataclasses.replace(SMALL, features=1, kernel_size=size)
    pattern = probes.gabors(units, (size, size))
    cells = simple_cells.Cells(pattern, np.ones((1, 1)), np.ones(1), units)
    train, _ = simple_cells.loaded("digits", "digits", "digits")
    net = simple_cells.small_net(config, train.info)
    params, state = net.init(jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 1), np.float32))
    params["conv1"]["kernel"] = pattern[:, :, None, :].astype(np.float32)
    found = simple_cells.answers(net, params, state, cells, (32, 32, 1))
    assert all(values.shape == (1, PHASES) for values in found.values())
    ratios = {name: float(modulation(values)[0]) for name, values in found.items()}
    assert ratios["fitted simple cell"] == pytest.approx(math.pi / 2, abs=0.05)
    assert ratios["unit of the net"] == pytest.approx(math.pi / 2, abs=0.25)  # Normalize adds a little
    assert ratios["energy of a quadrature pair"] < 0.1
    assert ratios["after its max-pooling"] < 0.6 * ratios["unit of the net"]


@pytest.mark.slow  # `make course` runs all experiments small
def test_a_small_run_and_its_record():
    result = simple_cells.main(SMALL)
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert figures["dataset"] == "digits"
    for name in KINDS:
        assert np.shape(figures["explained"][name]["values"]) == (2, 3)
        assert len(figures["explained"][name]["medians"]["values"]) == 2
    assert figures["explained"][LEARNED]["values"][0] != figures["explained"][LEARNED]["values"][1]
    assert len(figures["fit"]["frequency"]) == 6
    assert len(figures["test_accuracy"]["values"]) == 2
    assert "kernels: median explained variance" in result.verdict
    assert len(result.pictures[0].blocks) == 5


@pytest.mark.parametrize(
    ("learned", "others", "missed"),
    [
        ((1.0, 0.99), (0.3, 0.4, 0.5), []),
        ((0.1, 0.1), (0.3, 0.4, 0.5), KINDS[1:]),
        ((1.0, 0.99), (0.3, 0.4, 0.95), KINDS[3:]),  # no nearer than the phase-scrambled ones
        ((1.0, 0.2), (0.1, 0.1, 0.1), KINDS[1:]),  # of two seeds so different it may be chance
    ],
)
def test_it_promises_that_learned_kernels_are_nearer(monkeypatch, learned, others, missed):
    made = iter([value for seed in learned for value in (seed, *others)])
    draw = np.random.default_rng(0)

    def cells_of(kernel):
        patterns, colours, share = probes.colour_axis(kernel)
        values = {n: draw.uniform(0.1, 0.4, 3) for n in probes.GaborFit._fields} | {"explained": np.full(3, next(made))}
        values |= {"sigma_along": np.full(3, 2.0), "sigma_across": np.full(3, 2.0)}
        return simple_cells.Cells(patterns, colours, share, probes.GaborFit(**values))

    def untrained(config, net, train_set, key):
        return [
            types.SimpleNamespace(**dict(zip(("params", "model_state"), net.init(key, train_set.spec), strict=True)))
        ] * 2

    half, level = np.maximum(np.cos(2 * math.pi * np.arange(PHASES) / PHASES), 0), np.ones(PHASES)
    shapes = {"fitted simple cell": half, "unit of the net": half, "after its max-pooling": level}
    shapes["energy of a quadrature pair"] = level
    answers = {name: np.tile(shape, (3, 1)) for name, shape in shapes.items()}
    monkeypatch.setattr(simple_cells, "answers", lambda *args: answers)
    monkeypatch.setattr(simple_cells, "accuracies", lambda net, states, dataset: np.array([0.5, 0.6]))
    monkeypatch.setattr(simple_cells, "cells_of", cells_of)
    monkeypatch.setattr(simple_cells, "learned", untrained)
    result = simple_cells.main(SMALL)
    promised = "learned kernels are nearer to Gabor functions than {} ones, beyond the 95 % interval"
    assert [n for n in KINDS[1:] if not result.promises[promised.format(n)]] == list(missed)
    assert result.holds == (not missed)
    said = f"NOT as promised: {'; '.join(promised.format(name) for name in missed)}. digits ("
    assert result.verdict.startswith(said if missed else "digits (")
    if max(learned) >= simple_cells.GOOD:
        assert "the energy of a quadrature pair as complex ones" in result.verdict
        assert [len(section.blocks) for section in result.pictures] == [5, 2, 2]
    else:
        assert result.verdict.endswith("None is enough like a Gabor function to go on.")
        assert result.figures["nx"] == {"n": 0}


def test_bad_options():
    with pytest.raises(ValueError, match=r"^simple_cells: expected kernels of 5 pixels or more, got 3\. "):
        simple_cells.main(dataclasses.replace(SMALL, kernel_size=3))
    with pytest.raises(ValueError, match=r"^simple_cells: expected at least 2 seeds, got 1\. "):
        simple_cells.main(dataclasses.replace(SMALL, seeds=1))
