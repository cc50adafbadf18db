"""When training stops: against the definition, in Python and compiled."""

import jax
import numpy as np
import pytest

from jaxcnn.training import early_stopping

NAN, INF = float("nan"), float("inf")


def watch(values, patience, min_delta=0.0):
    """Return what the two functions say of each value."""
    stopping = early_stopping(patience, min_delta=min_delta)
    state, seen = stopping.init(), []
    for value in values:
        state = stopping.update(state, value)
        seen.append((bool(state.improved), int(state.since), bool(state.stop)))
    return seen, float(state.best)


def test_patience_counts_values_without_improvement():
    seen, best = watch([3.0, 2.0, 2.0, 2.5, 1.0, 1.5, 1.5, 0.5], patience=3)
    assert [improved for improved, _, _ in seen] == [True, True, False, False, True, False, False, True]
    assert [since for _, since, _ in seen] == [0, 0, 1, 2, 0, 1, 2, 0]
    assert not any(stop for _, _, stop in seen)
    assert best == 0.5


def test_stops_after_so_many_in_a_row():
    seen, best = watch([1.0, 2.0, 2.0, 0.9], patience=2)
    assert [stop for _, _, stop in seen] == [False, False, True, False]
    assert best == pytest.approx(0.9)
    assert [stop for _, _, stop in watch([1.0, 1.0], patience=1)[0]] == [False, True]


def test_without_patience_it_never_stops():
    seen, _ = watch([1.0] + [2.0] * 50, patience=None)
    assert not any(stop for _, _, stop in seen)
    assert seen[-1][1] == 50


def test_min_delta_is_the_least_improvement():
    seen, best = watch([1.0, 0.95, 0.89, 0.8, 0.79], patience=9, min_delta=0.1)
    assert [improved for improved, _, _ in seen] == [True, False, True, False, False]
    assert best == pytest.approx(0.89)


def test_nan_and_infinity_never_improve():
    seen, best = watch([NAN, INF, NAN], patience=3)
    assert [improved for improved, _, _ in seen] == [False, False, False]
    assert seen[-1][2]
    assert best == INF
    seen, best = watch([2.0, NAN, 1.0, NAN, NAN], patience=2)
    assert [improved for improved, _, _ in seen] == [True, False, True, False, False]
    assert best == 1.0
    assert watch([5.0, -INF], patience=1)[1] == -INF


def by_definition(values, patience, min_delta):
    best, since, seen = INF, 0, []
    for value in values:
        improved = value < best - min_delta
        best, since = (value, 0) if improved else (best, since + 1)
        seen.append((improved, since, patience is not None and since >= patience))
    return seen


@pytest.mark.parametrize(("patience", "min_delta"), [(1, 0.0), (2, 0.5), (3, 0.0), (None, 0.5)])
def test_compiled_in_scans_side_by_side_it_does_as_defined(patience, min_delta):
    stopping = early_stopping(patience, min_delta=min_delta)

    @jax.jit
    @jax.vmap
    def run(values):
        def one(state, value):
            state = stopping.update(state, value)
            return state, (state.improved, state.since, state.stop)

        return jax.lax.scan(one, stopping.init(), values)[1]

    runs = np.random.default_rng(0).choice(np.float32([0.0, 0.5, 1.0, 1.25, 2.0, NAN]), (200, 8))
    for values, *seen in zip(runs.tolist(), *(part.tolist() for part in run(runs)), strict=True):
        assert list(zip(*seen, strict=True)) == by_definition(values, patience, min_delta)


@pytest.mark.parametrize("patience", [0, -3])
def test_bad_patience(patience):
    with pytest.raises(
        ValueError, match=rf"^early_stopping: expected patience >= 1 or None, got {patience}\. 10 epochs"
    ):
        early_stopping(patience)


@pytest.mark.parametrize("min_delta", [-0.1, NAN])
def test_bad_min_delta(min_delta):
    with pytest.raises(
        ValueError, match=rf"^early_stopping: expected min_delta >= 0, got {min_delta}\. 0\.0 takes any"
    ):
        early_stopping(3, min_delta=min_delta)
