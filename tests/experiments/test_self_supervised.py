"""The experiment on learning without labels: who learns from what, what it promises and what it says."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from experiments import self_supervised
from experiments.self_supervised import AUGMENTED, PIXELS, SCRATCH, UNTRAINED, VIEWS, Config
from jaxcnn import data

pytestmark = pytest.mark.usefixtures("quick_compilation", "two_stages")
SMALL = Config(
    dataset="digits", unlabelled=64, epochs=1, views_batch=32, projection=4, per_class=(2, 4), test_images=60, seeds=2,
    steps=4, batch_size=20, width=2,
)  # fmt: skip
WAYS = [VIEWS, UNTRAINED, PIXELS, SCRATCH, AUGMENTED]


@pytest.mark.slow
def test_a_small_run_is_json_and_looks_at_no_label_first(monkeypatch):
    seen, probes = [], []
    fit, probe = self_supervised.training.fit, self_supervised.probes.linear_probe
    monkeypatch.setattr(
        self_supervised.training, "fit", lambda net, train, **o: seen.append(train) or fit(net, train, **o)
    )
    monkeypatch.setattr(self_supervised.probes, "linear_probe", lambda *a, **o: probes.append(a) or probe(*a, **o))
    result = self_supervised.main(SMALL)
    assert [list(train) for train in seen] == [["image"], ["image"]]
    assert seen[0].info.fingerprint != seen[1].info.fingerprint
    counts = [np.bincount(labels).tolist() for _, labels, _, _ in probes]
    assert counts == 6 * [[2] * 10, [4] * 10]  # each seed's three ways, with few labels and with more
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert list(figures["accuracy"]) == WAYS
    assert all(0 <= value <= 1 for of in figures["accuracy"].values() for value in of["4"]["values"])
    assert figures["accuracy"][PIXELS]["4"]["mean"] > 0.5
    gain = figures["accuracy"][VIEWS]["2"]["mean"] - figures["accuracy"][SCRATCH]["2"]["mean"]
    assert figures["gain_of_views"][SCRATCH]["2"]["mean"] == pytest.approx(gain)
    assert figures["loss_of_views"]["mean"] < figures["loss_of_chance"] + 0.5
    assert "learned from 64 images without labels" in result.verdict
    assert len(result.pictures[1].blocks[0].figure.axes[0].images) == 3 * self_supervised.SHOWN


@pytest.mark.parametrize("channels", [1, 3])
def test_views_differ_from_each_other_and_stay_in_range(channels):
    image = jax.random.uniform(jax.random.key(0), (8, 8, channels))
    one = jax.jit(jax.vmap(self_supervised.view(SMALL, channels), (0, None)))
    views = np.asarray(one(jax.random.split(jax.random.key(1), 5), image))
    assert views.shape == (5, 8, 8, channels)
    assert len(np.unique(views.reshape(5, -1).round(4), axis=0)) == 5
    assert views.min() >= 0
    assert views.max() <= 1


def test_pixels_are_rows():
    train = data.from_arrays(np.full((2, 2, 2, 1), 51, np.uint8))
    np.testing.assert_allclose(self_supervised.pixels(train), np.full((2, 4), 0.2), rtol=1e-6)


@pytest.mark.parametrize(
    ("first", "missed"),
    [
        ([0.8, 0.5, 0.6, 0.55, 0.5], ""),
        ([0.8, 0.5, 0.9, 0.55, 0.5], "pixels"),
        ([0.5, 0.5, 0.4, 0.55, 0.4], "untrained net; with the fewest labels better than from scratch"),
    ],
)
def test_what_it_promises(monkeypatch, first, missed):
    wobble = np.array([[0.0], [0.01], [0.02]])
    made_up = dict(zip(WAYS, [np.array([[value, 0.9]]) + wobble for value in first], strict=True))
    history = [{"epoch": 1, "train_loss": 3.0}]
    monkeypatch.setattr(self_supervised, "without_labels", lambda *_: ([], [], [history] * 3))
    monkeypatch.setattr(self_supervised, "probed", lambda *_: {way: made_up[way] for way in WAYS[:3]})
    monkeypatch.setattr(self_supervised, "from_scratch", lambda *_: {way: made_up[way] for way in WAYS[3:]})
    result = self_supervised.main(dataclasses.replace(SMALL, seeds=3))
    assert result.holds == (not missed)
    words = f"NOT as promised: with the fewest labels better than {missed}. digits" if missed else "digits"
    assert result.verdict.startswith(words)
    assert f"with 2 labelled images of each class {VIEWS} {100 * first[0] + 1:.1f} ± 1.0" in result.verdict


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, r"^self_supervised: expected at least 2 seeds, got 1\. "),
        (
            {"per_class": (3, 4)},
            r"^self_supervised: expected two or more rising numbers of images that divide the last",
        ),
        ({"area": 0.0}, r"^self_supervised: expected area in \(0, 1\], got 0\.0\. "),
        ({"temperature": 0.0}, r"^view_loss: expected a finite temperature > 0, got 0\.0\. "),
        ({"dataset": "digit"}, "Did you mean 'digits'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        self_supervised.main(dataclasses.replace(SMALL, **options))
