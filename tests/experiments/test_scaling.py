"""The benchmark of scaling: fair turns, the fit and its judgement, devices in a process of their own, its record."""

import json
import types

import jax
import numpy as np
import pytest

from experiments.benchmarks import pairs, scaling
from experiments.benchmarks.chart import against
from experiments.benchmarks.pairs import Program
from experiments.benchmarks.scaling import Case, Config
from jaxcnn import models, training
from jaxcnn.layers import Dense, GlobalAvgPool, Sequential

pytestmark = pytest.mark.usefixtures("quick_compilation")

SMALL = Config(width=2, depth=8, batch_size=4, turns=2, turn=0.0, devices=(4,))


def test_programs_take_turns_after_a_warm_up(monkeypatch):
    now, calls = [0.0], []

    def slow(name, first, seconds):
        durations = iter([first] + [seconds] * 99)

        def call():
            now[0] += next(durations)
            calls.append(name)

        return Program(call, lambda: None)

    monkeypatch.setattr(pairs, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    found = scaling.in_turns([slow("a", 9, 1), slow("b", 9, 4), slow("c", 9, 2)], turns=3, turn=3.0)
    once = "aaa" + "b" + "cc"
    assert "".join(calls) == "abc" + "abc" + once + once[::-1] + once
    assert found == [[1] * 3, [4] * 3, [2] * 3]


def test_the_line_of_least_squares():
    assert scaling.line([1, 2, 4], [5, 7, 11]) == pytest.approx(
        {"a": 3, "b": 2, "r2": 1, "largest_relative_residual": 0}, abs=1e-9
    )
    found = scaling.line([0, 1, 2], [1, 1, 4])  # 1/2 + 3/2 x, residuals 1/2, -1, 1/2
    assert found == pytest.approx({"a": 0.5, "b": 1.5, "r2": 0.75, "largest_relative_residual": 1})


def test_a_cost_that_does_not_grow_linearly_is_named():
    good, flat = {"r2": 0.98}, {"r2": float("nan")}
    assert scaling.misses(good, 1.25) == []
    assert scaling.misses({"r2": 0.979}, 1.0) == ["MISSED: R^2 0.9790 < 0.98"]
    assert scaling.misses(good, 1.26) == ["MISSED: largest by middle batch 1.26 > 1.25"]
    assert len(scaling.misses(flat, float("nan"))) == 2


def test_rows_are_the_median_and_quartiles_of_the_times(monkeypatch):
    monkeypatch.setattr(scaling, "program", lambda case, config: None)
    monkeypatch.setattr(scaling, "in_turns", lambda *args: [[0.005, 0.001, 0.002, 0.004, 0.003], [0.008] * 5])
    mesh = training.device_mesh(jax.devices()[:1])
    first, second = scaling.measured("images", {6: Case(8, 6, mesh), 16: Case(8, 16, mesh)}, SMALL)
    assert first == pytest.approx(
        {"images": 6, "ms": 3, "ms_low": 2, "ms_high": 4, "ms_per_image": 0.5, "images_per_second": 2000}
    )
    assert second["images_per_second"] == pytest.approx(2000)
    np.testing.assert_allclose(scaling.times([first, second]), [[2, 3, 4], [8, 8, 8]])


@pytest.mark.slow
def test_a_program_trains_on_from_call_to_call(monkeypatch):
    tiny = Sequential(pool=GlobalAvgPool(), head=Dense(scaling.CLASSES))
    monkeypatch.setattr(models, "cifar_resnet", lambda *args, **options: tiny)
    program = scaling.program(Case(8, 4, training.device_mesh(jax.devices()[:1])), SMALL)
    program.call()
    program.call()
    state, metrics = program.wait()
    assert int(state.step) == 2
    assert metrics["skipped"] == 0
    assert metrics["loss"] > 0


@pytest.mark.slow
def test_a_process_of_its_own_has_several_devices(monkeypatch):
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # as quick_compilation does here
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=3")
    (row,) = scaling.on_virtual_devices(SMALL)
    assert row["devices"] == 4
    assert 0 < row["ms_low"] <= row["ms"] <= row["ms_high"]


def test_where_there_are_not_so_many_devices_it_is_said():
    with pytest.raises(ValueError, match=r"^scaling: expected some of \(4,\) devices, got 1\."):
        scaling.on_devices(SMALL)


def test_the_chart_has_the_medians_the_quartiles_and_the_line():
    values = np.asarray([[1.0, 2.0, 3.0], [3.0, 4.0, 6.0]])
    axes = against("ms", "images", [2, 4], values, fit=(1.0, 0.75)).axes[0]
    medians, line = axes.lines
    assert medians.get_ydata().tolist() == [2, 4]
    assert [line.get_xdata().tolist(), line.get_ydata().tolist()] == [[0, 4], [1, 4]]
    assert [path.tolist() for path in axes.collections[0].get_segments()] == [[[2, 1], [2, 3]], [[4, 3], [4, 6]]]
    axes = against("images a second", "devices", [1, 2], values, doubling=True).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2"]


@pytest.fixture
def cost(monkeypatch):
    """A clock that programs move by `cost.seconds(case)` instead of doing anything."""
    cost = types.SimpleNamespace(now=0.0, seconds=None)

    def program(case, config):
        def call():
            cost.now += cost.seconds(case)

        return Program(call, lambda: None)

    monkeypatch.setattr(pairs, "time", types.SimpleNamespace(perf_counter=lambda: cost.now))
    monkeypatch.setattr(scaling, "program", program)
    monkeypatch.setattr(scaling, "on_virtual_devices", scaling.on_devices)
    return cost


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch_sizes": (8, 16)}, r"^scaling: expected batch_sizes as at least 3 rising sizes, got \(8, 16\)\."),
        ({"depths": (14, 8)}, r"^scaling: expected depths as at least 2 rising sizes, got \(14, 8\)\."),
        ({"devices": ()}, r"^scaling: expected devices as at least 1 rising sizes, got \(\)\."),
        ({"devices": (0, 1)}, r"^scaling: expected devices as at least 1 rising sizes, got \(0, 1\)\."),
        ({"batch_size": 12}, r"^scaling: expected a batch_size that \(1, 2, 4, 8\) divide, got 12\."),
    ],
)
def test_sizes_that_cannot_be_compared_are_refused(options, sentence, cost):
    cost.seconds = lambda case: 1e-5 * case.depth * case.images
    with pytest.raises(ValueError, match=sentence):
        scaling.main(Config(**options))


def test_a_linear_cost_holds(cost, capsys):
    cost.seconds = lambda case: 0.01 + 1e-4 * case.depth * case.images
    result = scaling.main(Config(devices=(1,)))
    figures = json.loads(json.dumps(result.figures))
    assert result.holds
    assert result.verdict.startswith("a step of n images takes 10.00 + 2.000 n ms, R^2 1.0000;")
    assert result.verdict.endswith(": linear.")
    assert figures["fits"]["depth"] == pytest.approx(
        {"a": 10, "b": 6.4, "r2": 1, "largest_relative_residual": 0}, abs=1e-9
    )
    assert figures["largest_by_middle"] == pytest.approx((10 / 512 + 2) / (10 / 64 + 2))
    assert [row["images"] for row in figures["images"]] == [8, 16, 32, 64, 128, 256, 512]
    assert [row["devices"] for row in figures["devices"]] == [1]
    assert [row["depth"] for row in figures["depths"]] == [8, 14, 20, 32]
    words = [block for section in result.pictures for block in section.blocks if isinstance(block, str)]
    assert figures["virtual_devices"] == (jax.default_backend() == "cpu") == bool(words)
    assert "depth 32, ms 214.800" in capsys.readouterr().out


def test_a_cost_that_grows_faster_does_not_hold_and_quick_does_not_judge(cost):
    cost.seconds = lambda case: 1e-5 * case.depth * case.images**2
    result = scaling.main(Config(devices=(1,)))
    assert not result.holds
    assert "MISSED: largest by middle batch 8.00 > 1.25" in result.verdict
    result = scaling.main(Config(quick=True))
    assert result.holds
    assert result.verdict.endswith("not judged.")
