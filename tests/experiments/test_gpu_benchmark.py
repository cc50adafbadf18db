"""The benchmark of an accelerator: parts that fail, the same nets in every library, counts, judgement, a small run."""

import dataclasses
import json
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import gpu, kernel_classes, parts, throughput
from experiments.benchmarks.device_speeds import speed_recipe
from experiments.benchmarks.nets import ours
from experiments.benchmarks.nets.description import described
from experiments.benchmarks.parts import Part, done
from jaxcnn import functional as F
from jaxcnn import models
from jaxcnn.layers import Conv, Sequential
from tests.experiments.test_peers import jax_losses, weights

pytestmark = pytest.mark.usefixtures("quick_compilation")


def net_of(name):
    return {
        "convnext_tiny": lambda: models.create("convnext_tiny", 7, width=8, blocks=(1, 1), drop_path=0.0),
        "resnet18": lambda: models.create("resnet18", 7, width=4),
        "vgg16": lambda: models.create("vgg16", 7, width=1, hidden=8, dropout=0.0),
        "residual": lambda: models.create("resnet18", 7, width=4)[2:4],
    }[name]()


def logits_of(training, image):
    """Return the logits of a net with the common weights, and new running statistics."""
    state = jax.eval_shape(training.init, jax.random.key(0))
    fill = lambda path, leaf: (jnp.ones if "var" in jax.tree_util.keystr(path) else jnp.zeros)(leaf.shape, leaf.dtype)  # noqa: E731
    params = weights(training.params(state), channels_first=False)
    if dataclasses.is_dataclass(state):
        state = dataclasses.replace(
            state, params=params, model_state=jax.tree_util.tree_map_with_path(fill, state.model_state)
        )
    else:
        state = params, jax.tree_util.tree_map_with_path(fill, state[1]), None
    return jax.jit(training.forward)(state, image)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape"), [("convnext_tiny", (1, 16, 16, 3)), ("residual", (1, 8, 8, 4))])
def test_described_nets_are_the_same_function(name, shape):
    image, net = jax.random.uniform(jax.random.key(0), (2, *shape[1:])), net_of(name)
    wanted = logits_of(ours.training(net, shape, jnp.float32), image)
    for training in throughput.in_flax(net, shape, jnp.float32, throughput.PEERS).values():
        np.testing.assert_allclose(logits_of(training, image), wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("convnext_tiny", 16), ("resnet18", 64), ("vgg16", 224)])
def test_described_nets_are_trained_the_same(name, size):
    net, shape = net_of(name), (1, size, size, 3)
    random = np.random.default_rng(0)
    batch = {"image": random.random((4, *shape[1:]), np.float32), "label": np.arange(4, dtype=np.int32)}
    logits, losses, _ = jax_losses(ours.training(net, shape, jnp.float32), batch, steps=1)
    for training in throughput.in_flax(net, shape, jnp.float32, throughput.PEERS).values():
        theirs = jax_losses(training, batch, steps=1)
        np.testing.assert_allclose(theirs[0], logits, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(theirs[1], losses, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18", 11_689_512),
        ("vgg16", 138_357_544),
        pytest.param("resnet50", 25_557_032, marks=pytest.mark.slow),
        pytest.param("convnext_tiny", 28_589_128, marks=pytest.mark.slow),
    ],
)
def test_the_nets_are_those_of_the_papers(name, parameters):
    net = throughput.MODELS[name](1000)
    part = described(net, jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32))
    kinds = {}

    def count(part):
        kinds[part.kind] = kinds.get(part.kind, 0) + 1
        for one in part.parts:
            count(one)

    count(part)
    weighty = {"resnet50": (53, 1), "resnet18": (20, 1), "vgg16": (13, 3), "convnext_tiny": (22, 37)}
    assert (kinds["conv"], kinds["dense"]) == weighty[name]
    params, _ = jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros((1, 224, 224, 3))))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == parameters


def test_other_layers_are_refused():
    spec = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    with pytest.raises(ValueError, match=r"^described: expected a layer that other libraries have, got tanh\. Add"):
        described(Sequential(Conv(2), F.tanh), spec)


def part(function, seconds=60.0, **options):
    return Part("one", seconds, function, options)


@pytest.mark.slow
def test_a_part_in_a_process_of_its_own():
    row = done(part("ceiling:ceiling", size=16, megabytes=1, dtype="float32", repeats=1), 60.0)
    assert row["figures"]["tflops"] > 0, row
    assert row["part"] == "one" and row["seconds"] > 0


@pytest.mark.slow
def test_what_a_script_is_given_and_what_stops_it(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "__file__", str(tmp_path / "a" / "b" / "parts.py"))
    (tmp_path / "a" / "b").mkdir(parents=True)
    script = tmp_path / "a" / "b" / "script.py"
    script.write_text("import json, sys; json.dump(json.loads(sys.argv[2]), open(sys.argv[1], 'w'))")
    assert done(part("script.py", a=1), 60.0)["figures"] == {"a": 1}
    script.write_text("import time; print('at work', flush=True); time.sleep(60)")
    row = done(part("script.py", seconds=1.5), 60.0)
    assert (row["failed"], row["said"]) == ("stopped after 2 s", "at work")
    script.write_text("raise SystemExit('out of memory')")
    row = done(part("script.py"), 60.0)
    assert (row["failed"], row["said"]) == ("ended with 1", "out of memory")
    row = done(part("script.py")._replace(python="/no/such/python"), 60.0)
    assert row["failed"].startswith("failed: FileNotFoundError")


def test_a_benchmark_is_a_part(monkeypatch):
    result = types.SimpleNamespace(verdict="Fast.", holds=True, figures={"ratio": 2.0})
    fake = types.SimpleNamespace(Config=lambda **options: options, main=lambda config: (config, result)[1])
    monkeypatch.setitem(sys.modules, "experiments.benchmarks.fake", fake)
    row = done(part("parts:experiment", name="fake", nets=["lenet"]), 60.0, apart=False)
    assert row["figures"] == {"verdict": "Fast.", "holds": True, "ratio": 2.0}


def test_no_part_begins_without_time():
    assert done(part("script.py"), 3.4)["failed"] == "not begun: 3 s were left"
    assert done(part("script.py"), -3.0)["failed"] == "not begun: 0 s were left"


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("sm90_xmma_fprop_implicit_gemm_bf16bf16_nhwc", "convolution"),
        ("cudnn::wgrad2d_grouped_direct_kernel", "weight gradient"),
        ("sm80_xmma_dgrad_implicit_gemm_bf16", "input gradient"),
        ("nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_NNT", "matrix product"),
        ("loop_multiply_fusion_12", "elementwise"),
        ("input_reduce_fusion_3", "reduction"),
        ("wrapped_transpose", "layout"),
        ("input_scatter_fusion", "scatter and select"),
        ("?", "other"),
    ],
)
def test_classes_of_kernels(kernel, kind):
    assert kernel_classes.class_of(kernel) == kind


def test_times_of_kernels_are_added():
    found = kernel_classes.totals([("gemm_1", 1.0), ("loop_fusion", 2.0), ("gemm_1", 3.0)])
    assert found["ms"] == 6
    assert found["classes"]["matrix product"] == {"ms": 4.0, "share": pytest.approx(2 / 3)}
    assert found["largest"][0] == {"kernel": "gemm_1", "class": "matrix product", "ms": 4.0}


def test_a_profile_names_what_there_is_and_the_kernels_of_a_gpu():
    found = kernel_classes.profiled(lambda: jnp.ones(3) + 1)
    assert "/host:CPU" in found["planes"]
    assert bool(found["classes"]) == (jax.default_backend() == "gpu")


def rows(ours=6000.0, linen=1.1, torch=5000.0, **others):
    """Return what parts found, of ResNet-50."""
    return {
        "ceiling": {"tflops": 800.0},
        "resnet50": {
            "images_per_second": ours,
            "operations_an_image": 24e9,
            "peak_gigabytes": 20.0,
            "peers": [{"peer": "linen", "ratio": linen, "images_per_second": ours / linen}, {"peer": "nnx"}],
        },
        "resnet50 in torch": {"images_per_second": torch, "peak_gigabytes": 30.0},
        **others,
    }


def test_speeds_by_the_ceiling():
    jaxcnn, linen, torch = gpu.training_speeds(rows())
    assert jaxcnn["tflops"] == pytest.approx(144)
    assert jaxcnn["of_ceiling"] == pytest.approx(0.18)
    assert (linen["library"], linen["jaxcnn_is_times_as_fast"]) == ("linen", 1.1)
    assert (torch["jaxcnn_is_times_as_fast"], torch["peak_gigabytes"]) == (1.2, 30.0)
    assert gpu.training_speeds({}) == []


def test_what_is_missed():
    assert gpu.misses(gpu.training_speeds(rows())) == []
    slow = gpu.misses(gpu.training_speeds(rows(ours=4000.0, linen=0.9)))
    assert slow == [
        "MISSED: resnet50 4,000 images a second < 5,000",
        "MISSED: resnet50 against linen 0.90 < 1.0",
        "MISSED: resnet50 against torch, compiled 0.80 < 1.0",
    ]


def test_the_cost_of_deterministic_kernels():
    both = {"resnet18": {"images_per_second": 3.0}, "resnet18 deterministic": {"images_per_second": 2.0}}
    assert gpu.deterministic(both)["times_as_long"] == 1.5
    assert gpu.deterministic({}) is None


def test_every_part_can_be_called():
    for one in gpu.parts(gpu.Config()):
        if parts.called(one):
            module, _, name = one.function.partition(":")
            __import__(f"experiments.benchmarks.{module}")
            assert callable(getattr(sys.modules[f"experiments.benchmarks.{module}"], name))
        else:
            assert Path(parts.__file__).with_name("other_python").joinpath(one.function).is_file()
        json.dumps(one)
    assert gpu.parts(gpu.Config(torch_python="there"))[2].python == "there"


@pytest.mark.slow
def test_a_small_run_and_its_record():
    result = gpu.main(gpu.Config(quick=True))
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    outcome = {row["part"]: row.get("failed", "done") for row in figures["parts"]}
    assert outcome.pop("no such net") == "failed: KeyError: 'no_such_net'"
    assert set(outcome.values()) == {"done"}, outcome
    libraries = [(row["net"], row["library"]) for row in figures["training"]]
    assert libraries == [("lenet", "jaxcnn"), ("lenet", "linen"), ("lenet", "nnx")]
    assert "not judged" in result.verdict and "without no such net" in result.verdict
    assert result.holds


@pytest.mark.slow
def test_the_speed_recipe_on_images_by_chance():
    found = speed_recipe(recipe="muon", runs=2, together=0, images=(2000, 20), size=9)
    assert found["seconds"]["n"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [({"parts": ("x",)}, r"expected parts among ceiling, .*, got \['x'\]"), ({"minutes": 0.0}, "expected minutes > 0")],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=f"^gpu: {message}"):
        gpu.main(gpu.Config(**options))
