"""The comparison of architectures."""

import json

import jax
import numpy as np
import pytest

from experiments import architectures
from experiments.architectures import FORMS, Config, Net, batches, main, ranked
from jaxcnn import data, models
from jaxcnn.summary import summarize

pytestmark = pytest.mark.usefixtures("quick_compilation")


def small_set(size=30):
    rng = np.random.default_rng(0)
    label = np.arange(size) % 3
    image = rng.integers(0, 100, (size, 8, 8, 1), np.uint8)
    image[np.arange(size), :, label] += 150
    return data.from_arrays(image, label)


@pytest.mark.slow
def test_forms_are_known_and_two_of_them_are_measured_to_be_small():
    assert {name for name, _ in FORMS.values()} <= {*models.names()}
    spec = jax.ShapeDtypeStruct((1, 28, 28, 1), np.float32)
    for name, options in (FORMS["LeNet-5"], FORMS["MobileNet v2"]):
        assert summarize(models.create(name, **options), spec).multiply_adds < 200e6


def test_all_nets_have_the_same_batches_and_seeds_have_others():
    config = Config(steps=7, batch_size=8)
    one, same, other = (batches(config, small_set(), jax.random.key(seed)) for seed in (0, 0, 1))
    assert len(one) == 7
    assert all(len(batch["label"]) == 8 for batch in one)
    np.testing.assert_array_equal(one[3]["image"], same[3]["image"])
    assert not np.array_equal(one[3]["image"], other[3]["image"])


def test_what_is_measured_is_the_net():
    config = Config(steps=25, batch_size=10, seeds=2, learning_rate=0.05)
    train = small_set()
    net = architectures.with_pixels(models.create("perceptron", num_classes=3), train.info, train.spec)
    found = architectures.measured(config, "perceptron", net, train, train, jax.random.split(jax.random.key(0)))
    assert found.parameters == 32 * 32 * 3 + 3  # images of 8 pixels are enlarged
    assert list(net.layers) == ["normalize", "enlarge", "net"]
    of_28 = jax.ShapeDtypeStruct((1, 28, 28, 1), np.float32)
    assert list(architectures.with_pixels(net, train.info, of_28).layers) == ["normalize", "net"]
    assert found.accuracy.shape == (2,)
    assert found.accuracy.min() > 0.8
    assert found.step_ms > 0


def test_the_best_net_comes_first():
    nets = [Net(name, 1, 1, 1.0, np.array([a, a])) for name, a in (("b", 0.5), ("a", 0.9), ("c", 0.1))]
    assert [net.label for net in ranked(nets)] == ["a", "b", "c"]


@pytest.mark.slow  # CI runs it in the course
def test_a_small_run_and_its_record():
    result = main(Config(dataset="digits", quick=True, nets=("perceptron", "mlp")))
    assert json.loads(json.dumps(result.figures)) == result.figures
    assert list(result.figures) == ["perceptron", "mlp", "further_seeds"]
    assert list(result.figures["further_seeds"]) in ([], ["perceptron", "mlp"])  # of the best, where it is not the MLP
    assert result.figures["mlp"]["accuracy"]["n"] == 2
    assert "not judged" in result.verdict


@pytest.mark.slow
def test_it_is_judged():
    config = Config(
        dataset="digits", nets=("perceptron", "mlp"), steps=4, batch_size=8, test_images=50, seeds=2, further_seeds=2
    )
    result = main(config)
    assert not result.holds  # the best is no net with convolutions
    assert result.verdict.startswith("NOT as promised")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, r"^architectures: expected at least 2 seeds, got 1\."),
        ({"further_seeds": 1}, r"^architectures: expected at least 2 further_seeds, got 1\."),
        ({"steps": 1}, r"^architectures: expected at least 2 steps, got 1\."),
        ({"nets": ("lenet",)}, r"^create: expected the name of a model, got 'lenet'\. Did you mean 'lenet5'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        main(Config(**options))
