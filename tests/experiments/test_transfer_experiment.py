"""The experiment on transfer: its images, its four ways to train, what it chooses and what it says."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import transfer as experiment
from experiments.apparatus import few_images, small_nets
from experiments.apparatus.few_images import crossing, drawn, leads, trained
from experiments.apparatus.image_sets import load, loaded
from experiments.apparatus.statistics import better
from experiments.transfer import ALL, LAST, SCRATCH, STAGE, Config, Measured, fitted
from jaxcnn import data, training, transfer

pytestmark = pytest.mark.usefixtures("quick_compilation", "two_stages")
SMALL = Config(
    source="digits", target="digits", image_size=8, source_images=200, source_epochs=1, per_class=(2, 4), held_out=20,
    test_images=40, seeds=2, steps=4, batch_size=20, rates=(0.1,), width=2,
)  # fmt: skip
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def task(digits):
    return experiment.prepared(SMALL, digits[0], digits)


def made_up(last, stage, everything, scratch, sizes=(5, 10, 20), seeds=3):
    """Return accuracies that are a little different from seed to seed."""
    wobble = 0.01 * np.arange(seeds)[:, None] * np.array([1, 2, 1])[: len(sizes)]
    ways = {SCRATCH: scratch, LAST: last, STAGE: stage, ALL: everything}
    accuracy = {way: np.array(values) + wobble for way, values in ways.items()}
    return Measured("a to b", sizes, accuracy, dict.fromkeys(ways, 0.1))


def test_images_get_the_size_and_the_channels_of_the_others(digits):
    train = digits[0].take(range(10))
    assert fitted(train, 8, 1) is train
    large = fitted(train, 16, 3)
    assert large["image"].shape == (10, 16, 16, 3)
    assert large["image"].dtype == np.uint8
    np.testing.assert_array_equal(large["image"][..., 0], large["image"][..., 2])
    np.testing.assert_array_equal(large["label"], train["label"])
    colours = np.full((2, 4, 4, 3), [30, 60, 120], np.uint8)
    grey = fitted(data.from_arrays(colours, np.array([0, 1])), 3, 1)
    np.testing.assert_array_equal(grey["image"], np.full((2, 3, 3, 1), 70))


def test_lanes_have_so_many_of_each_class_and_all_are_equally_long(digits):
    pool, lanes = drawn(digits[0], (2, 6), jax.random.split(KEY, 3))
    assert lanes.shape == (6, 60)
    for lane, n in zip(lanes, (2, 2, 2, 6, 6, 6), strict=True):
        which, times = np.unique(lane, return_counts=True)
        assert np.bincount(pool["label"][which]).tolist() == [n] * 10
        assert set(times.tolist()) == {6 // n}
    assert set(lanes[0]) < set(lanes[3])  # the few of a seed are among its many
    assert set(lanes[0]) != set(lanes[1])
    assert pool.size == len(np.unique(lanes))
    alone = data.per_class(digits[0], 2, key=jax.random.split(KEY, 3)[1])
    np.testing.assert_array_equal(pool["image"][np.unique(lanes[1])], alone["image"])


def test_no_image_is_in_two_of_the_parts(task, digits):
    bytes_of = lambda part: {image.tobytes() for image in part["image"]}  # noqa: E731
    whole = len({image.tobytes() for image in digits[0]["image"]})
    assert task.held.size == 20
    assert task.test.size == 40
    assert task.train.size == digits[0].size - 20
    assert len(bytes_of(task.train) | bytes_of(task.held)) == whole
    assert not bytes_of(task.train) & bytes_of(task.held)
    assert bytes_of(task.test) <= bytes_of(digits[1])


@pytest.mark.slow
def test_the_last_layer_on_features_is_the_net_with_all_else_frozen(task):
    pool, lanes = drawn(task.train, (4,), jax.random.split(KEY, 2))
    features, back = transfer.features(task.net, *task.start, pool, at="flatten")
    found = trained(SMALL, back, features, lanes, [0.1], KEY, **experiment.ways(task)[LAST])
    optimizer = training.sgd(training.warmup_cosine(0.1, 4))
    frozen = [f"stage{number}" for number in range(1, small_nets.STAGES + 1)]
    options = {"epochs": 2, "batch_size": 20, "optimizer": optimizer, "key": found.keys[1]}
    whole = training.fit(task.net, pool.take(lanes[1]), start=task.start, freeze=frozen, **options).state
    for name, leaf in found.state(1).params["head"].items():
        np.testing.assert_allclose(leaf, whole.params["head"][name], rtol=1e-4, atol=1e-5)
        assert float(jnp.abs(leaf - task.start[0]["head"][name]).max()) > 1e-3
    assert int(found.state(1).step) == SMALL.steps


@pytest.mark.slow
def test_a_small_run_is_json_and_ways_differ_in_what_they_train(monkeypatch):
    seen = {}

    def watched(*args, **options):
        found = trained(*args, **options)
        seen[LAST if len(found.states.params) == 1 else len(options)] = found, options
        return found

    monkeypatch.setattr(experiment, "trained", watched)
    result = experiment.main(SMALL)
    figures = json.loads(json.dumps(result.figures, allow_nan=False))["digits to digits"]
    assert list(figures["accuracy"]) == [SCRATCH, LAST, STAGE, ALL]
    assert figures["accuracy"][ALL]["4"]["n"] == 2
    few = [figures["accuracy"][way]["2"]["values"] for way in (LAST, ALL)]
    assert figures["over_all_layers"][LAST]["2"]["values"] == pytest.approx(np.subtract(*few).tolist())
    assert [section.title for section in result.pictures] == ["digits to digits"]
    assert len(result.pictures[0].blocks[0].figure.axes[0].lines) >= 4
    moved = {}
    for name, (found, options) in seen.items():
        before, after = options.get("start", ({}, {}))[0], found.state(1).params
        still = {
            layer for layer in before if all(map(np.array_equal, *map(jax.tree.leaves, (before[layer], after[layer]))))
        }
        moved[name] = {layer for layer in before if jax.tree.leaves(before[layer])} - still
    assert moved == {0: set(), LAST: {"head"}, 2: {"stage2", "head"}, 1: {"stage1", "stage2", "head"}}


def test_the_rate_is_the_one_that_is_best_on_held_out_images(task, monkeypatch):
    asked = []
    monkeypatch.setattr(transfer, "features", lambda net, params, state, part, at: (part, net))
    held = {0.1: [0.2, 0.4], 0.3: [0.5, 0.4], 1.0: [0.0, 0.6]}

    def accuracies(net, rates, dataset):
        if len(rates) > 1:
            assert dataset is task.held
            return np.concatenate([held[rate] for rate in rates])
        assert dataset is task.test
        return np.arange(4) / 10

    for module in (experiment, few_images):  # which chooses the rate
        monkeypatch.setattr(
            module, "trained", lambda c, net, pool, lanes, rates, key, **o: asked.append(rates) or rates
        )
        monkeypatch.setattr(module, "accuracies", accuracies)
    found = experiment.measured(dataclasses.replace(SMALL, rates=(0.1, 0.3, 1.0)), task, (2, 4))
    assert set(found.rates.values()) == {0.3}
    assert asked == [(0.1, 0.3, 1.0), [0.3]] * 4
    np.testing.assert_allclose(found.accuracy[ALL], [[0.0, 0.2], [0.1, 0.3]])  # (seeds, sizes)


def test_where_one_overtakes_the_other():
    at = lambda sizes, gain: crossing(sizes, np.ones((2, 3)), np.ones((2, 3)) + np.array(gain))  # noqa: E731
    assert at((10, 1000, 2000), [-1, 1, 2]) == pytest.approx(100)
    assert at((10, 1000, 2000), [-3, 1, 2]) == pytest.approx(10 * 100**0.75)
    assert at((1, 2, 4), [-2, -1, 1]) == pytest.approx(2 * 2**0.5)
    for outside in ([1, 2, 3], [-1, -2, -3], [2, 1, -1], [0, 0, 0]):
        assert at((1, 2, 4), outside) is None
    lead = lambda gain: leads((1, 2, 4), np.ones((2, 3)), np.ones((2, 3)) + np.array(gain))  # noqa: E731
    said = [lead(gain) for gain in ([1, 2, 3], [-1, -2, -3], [2, 1, -1], [-1, 2, 3], [0, 0, 0])]
    assert said == ["throughout", "nowhere", "with 1 and 2 images alone", "from 1 images on", "nowhere"]
    assert lead([1, -1, 1]) == "with 1 and 4 images alone"


def test_better_is_what_is_so_beyond_chance():
    assert better(np.array([0.5, 0.6, 0.7]), np.array([0.4, 0.49, 0.61]))
    assert not better(np.array([0.4, 0.49, 0.61]), np.array([0.5, 0.6, 0.7]))
    assert not better(np.array([0.5, 0.6, 0.7]), np.array([0.4, 0.7, 0.5]))


def test_the_sentence_says_whether_the_claim_is_shown():
    shown = made_up([0.6, 0.6, 0.6], [0.4, 0.6, 0.7], [0.5, 0.7, 0.8], [0.3, 0.4, 0.5])
    assert experiment.sentence(shown) == (
        "a to b: with 5 images of each class from scratch 31.0, last layer 61.0, last stage and layer 41.0, all layers "
        "51.0 %; with 20 images of each class from scratch 51.0, last layer 61.0, last stage and layer 71.0, all "
        "layers 81.0 %. That with 5 the last layers are better trained than all is shown (points beside all layers: "
        "last layer +10.0 to +10.0, last stage and layer -10.0 to -10.0). All layers lead the last layer from 7 "
        "images on, the last stage and layer throughout."
    )
    assert shown.helps(pairs=1)
    worse = made_up([0.5, 0.5, 0.5], [0.4, 0.4, 0.4], [0.5, 0.5, 0.4], [0.6, 0.6, 0.6])
    said = experiment.sentence(worse)
    assert "are better trained than all is NOT shown (" in said
    assert said.endswith("All layers lead the last layer nowhere, the last stage and layer with 5 and 10 images alone.")
    assert not worse.helps(pairs=1)


def test_a_run_holds_where_one_pair_does(task, monkeypatch):
    good = made_up([0.6, 0.6, 0.6], [0.4, 0.6, 0.7], [0.5, 0.7, 0.8], [0.3, 0.4, 0.5])
    bad = made_up([0.3, 0.3, 0.3], [0.3, 0.3, 0.3], [0.4, 0.4, 0.4], [0.6, 0.6, 0.6])._replace(names="c to d")
    monkeypatch.setattr(experiment, "prepared", lambda *args: task)
    monkeypatch.setattr(experiment, "pairs", lambda config: [(None, None)] * 2)
    for found, holds in (([bad, good], True), ([bad, bad], False)):
        waiting = iter(found)
        monkeypatch.setattr(experiment, "measured", lambda *args, waiting=waiting: next(waiting))
        result = experiment.main(SMALL)
        assert result.holds == holds
        said = "NOT as promised: some weights beat training from scratch with the fewest images. "
        assert result.verdict.startswith(said) != holds
        assert [section.title for section in result.pictures] == [one.names for one in found]
        lead = ["throughout", "from 7 images on" if holds else "throughout"]
        assert [number.value for number in result.headline] == lead
    monkeypatch.setattr(experiment, "measured", lambda *args: bad)
    quick = experiment.main(dataclasses.replace(SMALL, quick=True))
    assert quick.holds
    assert quick.verdict.startswith("not judged: c to d: with 5")


def test_photographs_are_compared_where_they_are(task, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("JAXCNN_DATA", str(tmp_path))
    section, figures = experiment.of_photographs(SMALL)
    assert figures == {}
    assert section.blocks == ["Left out: there is no hymenoptera_224.zip in $JAXCNN_DATA."]
    assert "Left out" in capsys.readouterr().out
    asked = []
    for name in (experiment.PHOTOGRAPHS, experiment.CLOTHES):
        (tmp_path / name).touch()
    small = data.load("digits")
    load = lambda name, split_seed, path, image_size: asked.append((path.name, image_size)) or small  # noqa: E731
    monkeypatch.setattr(data, "load", load)
    monkeypatch.setattr(experiment, "prepared", lambda config, source, target: task)
    found = made_up([0.6], [0.4], [0.5], [0.3], sizes=(50,))
    monkeypatch.setattr(experiment, "measured", lambda config, task, sizes: found)
    section, figures = experiment.of_photographs(SMALL)
    assert asked == [(experiment.CLOTHES, 64), (experiment.PHOTOGRAPHS, 64)]
    assert figures["a to b"]["accuracy"][LAST]["50"]["mean"] == pytest.approx(0.61)
    assert section.blocks[1].endswith("last layer +10.0 to +10.0, last stage and layer -10.0 to -10.0).")


def test_pairs_that_are_not_there_are_left_out_and_named(tmp_path, monkeypatch, capsys, digits):
    missing = {"fashion_mnist"}

    def load(name, split_seed):
        if name in missing:
            raise FileNotFoundError(f"no {name}")
        return tuple(dataclasses.replace(d, info=dataclasses.replace(d.info, name=name)) for d in digits)

    monkeypatch.setattr(data, "load", load)
    names = lambda config: [(one.info.name, other.info.name) for one, (other, _) in experiment.pairs(config)]  # noqa: E731
    assert names(Config()) == [("mnist", "digits")]
    assert capsys.readouterr().out == "Without fashion_mnist to mnist. no fashion_mnist\n"
    missing.add("mnist")
    assert names(Config()) == [("scenes", "digits")]
    missing.clear()
    assert names(Config()) == [("fashion_mnist", "mnist"), ("mnist", "digits")]
    assert names(Config(quick=True)) == [("mnist", "digits")]
    assert names(Config(target="digits")) == [("fashion_mnist", "digits")]
    missing.add("mnist")
    with pytest.raises(FileNotFoundError, match="no mnist"):
        names(Config(source="digits"))


def test_a_usual_set_that_is_not_there_is_replaced_by_another(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXCNN_DATA", str(tmp_path))
    train, _ = loaded(None, "mnist", "digits")
    assert train.info.name == "digits"
    assert capsys.readouterr().out.startswith("digits, since there is no mnist. load: expected ")
    with pytest.raises((FileNotFoundError, ImportError), match="mnist"):
        loaded("mnist", "mnist", "digits")
    monkeypatch.setattr(data, "load", lambda name, split_seed: (data.Stream, data.Stream))
    with pytest.raises(ValueError, match=r"^transfer: expected a set that fits into memory"):
        load("transfer", "large")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, r"^transfer: expected at least 2 seeds, got 1\. "),
        ({"rates": ()}, r"^transfer: expected at least one rate, got \(\)\. "),
        ({"per_class": (5,)}, r"^transfer: expected two or more rising numbers .* got \(5,\)\. "),
        ({"per_class": (4, 2)}, r"^transfer: expected two or more rising numbers .* got \(4, 2\)\. "),
        (
            {"per_class": (3, 10)},
            r"^transfer: expected two or more rising numbers .* divide the last, got \(3, 10\)\. ",
        ),
        ({"target": "digit"}, "Did you mean 'digits'"),
        ({"per_class": (2, 500)}, r"^per_class: expected n in 1\.\."),
        ({"batch_size": 41}, r"^sweep: expected a batch_size of at most the 40 training examples, got 41\. "),
    ],
)
def test_bad_options(options, message, task, monkeypatch):
    monkeypatch.setattr(experiment, "prepared", lambda *args: task)
    with pytest.raises(ValueError, match=message):
        experiment.main(dataclasses.replace(SMALL, **options))
