"""The benchmark of augmentation: that the libraries do the same work, that rows and targets are right, its record."""

import importlib
import importlib.util
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import augmentation, operations
from experiments.benchmarks.augmentation import Config, misses
from experiments.benchmarks.pairs import Pairs
from jaxcnn import augment

DRAWS = 2000
# What a peer defines as jaxcnn does, but for its roundings: of these all images have the same distribution.
SAME = {
    "dm_pix": (
        "flip", "vertical_flip", "crop", "rotate", "affine", "brightness", "contrast", "hue", "gamma", "solarize",
    ),
    "augmax": ("flip", "vertical_flip", "rotate", "translate", "solarize", "channel_shuffle"),
}  # fmt: skip


def picture(size):
    """Return an image of random colours in a black frame: the libraries blend with what lies outside, or do not."""
    blocks = np.random.default_rng(0).random((4, 4, 3), np.float32)
    side = size // 4 - 1
    return jnp.pad(jnp.asarray(blocks.repeat(side, 0).repeat(side, 1)), ((2, 2), (2, 2), (0, 0)))


def moments(fn):
    """Return the mean and the standard deviation of every value over many draws, in image and pooled."""
    images = jnp.broadcast_to(picture(16), (DRAWS, 16, 16, 3))
    out = np.asarray(jax.jit(augment.batched(fn))(jax.random.key(1), images), np.float64)
    assert out.shape == images.shape
    return out.mean(0), out.std(0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("peer", "name"), [(peer, name) for peer, names in SAME.items() for name in names], ids=lambda value: value
)
def test_the_peers_do_the_same_work(peer, name):
    pytest.importorskip(peer, reason=f"{peer} is not installed")
    ours, theirs = moments(operations.ours()[name]), moments(operations.PEERS[peer]()[name])
    assert ours[1].max() > 0.05
    for mine, other in zip(ours, theirs, strict=True):
        # A deviation of at most 0.5, over as many draws, twice.
        np.testing.assert_allclose(mine, other, atol=5 * 0.5 * (2 / DRAWS) ** 0.5)
        np.testing.assert_allclose(mine.mean(), other.mean(), atol=0.01)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("peer", operations.PEERS)
def test_the_others_stay_images_and_change_them(peer):
    pytest.importorskip(peer, reason=f"{peer} is not installed")
    mine, theirs = operations.ours(), operations.PEERS[peer]()
    assert set(theirs) <= set(mine)
    images = jnp.broadcast_to(picture(16), (4, 16, 16, 3))
    for name in sorted(set(theirs) - set(SAME[peer])):
        for table in (mine, theirs):
            out = augment.batched(table[name])(jax.random.key(3), images)
            assert (out.shape, out.dtype) == (images.shape, images.dtype), name
            assert np.abs(out - images).max() > 0.01, name
            assert out.min() > -1e-5 and out.max() < 1 + 1e-5, name


def test_no_operation_is_for_nobody():
    """What no peer has would never be measured."""
    if not all(importlib.util.find_spec(peer) for peer in operations.PEERS):
        pytest.skip("not all peers are installed")
    tables = [make() for make in operations.PEERS.values()]
    assert set(operations.ours()) == set().union(*tables)


def slower(key, image):
    return jnp.sort(image.ravel()).reshape(image.shape)


@pytest.fixture
def peers(monkeypatch):
    """Three peers: one that has only `flip`, and slowly; one that breaks when traced; one that is not installed."""

    def broken(key, image):
        raise RuntimeError("no\nmore")

    def missing():
        raise ModuleNotFoundError(name="nowhere")

    made = {"slow": lambda: {"flip": slower}, "broken": lambda: {"flip": broken}, "missing": missing}
    monkeypatch.setattr(operations, "PEERS", made)
    monkeypatch.setattr(augmentation, "PEERS", made)
    return tuple(made)


def test_rows_are_of_what_a_peer_has_and_say_why_there_are_no_figures(peers):
    images = jnp.zeros((4, 8, 8, 3))
    tables = {peer: augmentation.table(peer) for peer in peers}
    found = list(augmentation.measure(("flip", "hue"), tables, jax.random.key(0), images, 0.0, 0.0))
    assert [(row["net"], row["peer"]) for row in found] == [
        ("flip", "slow"), ("flip", "broken"), ("flip", "missing"), ("hue", "missing"),
    ]  # fmt: skip
    measured, broken, *missing = found
    assert measured["pairs"] == 3
    assert measured["ratio"] > 0
    assert broken["failed"] == "failed: RuntimeError: no"
    assert [row["failed"] for row in missing] == ["not installed: nowhere"] * 2
    assert augmentation.line(missing[1]).split() == ["hue", "missing", "not", "installed:", "nowhere"]
    assert "3 pairs" in augmentation.line(measured)


def test_a_peer_that_breaks_when_asked_is_a_row(monkeypatch):
    monkeypatch.setitem(operations.PEERS, "dm_pix", lambda: 1 / 0)
    assert augmentation.table("dm_pix") == "failed: ZeroDivisionError: division by zero"


def test_jaxcnn_must_not_break(monkeypatch):
    def broken(key, image):
        raise RuntimeError("no")

    monkeypatch.setattr(augmentation, "ours", lambda: {"flip": broken})
    with pytest.raises(RuntimeError, match="no"):
        list(augmentation.measure(("flip",), {}, jax.random.key(0), jnp.zeros((2, 4, 4, 3)), 0.0, 0.0))


def row(name, peer, low, ratio, high):
    return {"mode": "augmentation", "net": name, "peer": peer, "low": low, "ratio": ratio, "high": high}


ROWS = [
    row("flip", "dm_pix", 0.9, 0.99, 1.01),
    row("flip", "augmax", 8.0, 9.0, 9.5),
    row("hue", "dm_pix", 3.0, 4.0, 5.0),
]


def test_targets_that_are_missed_are_named():
    assert misses(ROWS, 0.15) == []
    assert misses(ROWS, 0.16) == ["MISSED: policy / step 0.16 > 0.15"]
    assert misses(ROWS, float("nan")) == ["MISSED: policy / step nan > 0.15"]
    worse = row("hue", "augmax", 0.97, 0.98, 0.99)
    assert misses([*ROWS, worse], 0.1) == [
        "MISSED: geometric mean 0.98 < 1.5",
        "MISSED: hue against augmax 0.98 (0.97..0.99) < 1.0",
    ]
    torn = {"mode": "augmentation", "net": "blur", "peer": "dm_pix", "failed": "failed"}
    assert misses([*ROWS, torn], 0.1) == ["MISSED: blur: no peer measured"]
    assert misses([], 0.1) == ["MISSED: geometric mean 0.00 < 1.5"]


@pytest.mark.slow
def test_the_share_is_the_policys_time_by_that_of_a_step(monkeypatch):
    seen = []

    def compare(*args):
        seen.extend(args)
        return Pairs([1.0, 1.0, 1.0], [8.0, 10.0, 4.0])

    monkeypatch.setattr(augmentation, "compare", compare)
    images = jax.random.uniform(jax.random.key(1), (2, 32, 32, 3))
    found = augmentation.share("lenet5", jax.random.key(0), images, 5.0, 0.1)
    assert found == pytest.approx(
        {"share": 1 / 8, "low": 1 / 9, "high": 1 / 6, "pairs": 3, "policy_ms": 1000, "step_ms": 8000}
    )
    policy, step, *budget = seen
    assert budget == [5.0, 0.1]
    out = policy.call()
    assert out.shape == images.shape
    assert (out != images).mean() > 0.9
    for _ in range(2):  # a step leaves a state for the next, its own having been donated
        step.call()


def test_unknown_operations_are_refused():
    with pytest.raises(ValueError, match=r"^augmentation: expected operations among flip, .*, got \['spin'\]\. Choose"):
        augmentation.main(Config(operations=("flip", "spin")))


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compilation")
def test_quick_measures_names_what_is_missing_and_writes_json(monkeypatch, capsys):
    made = dict.fromkeys(operations.PEERS, lambda: {"flip": slower})
    monkeypatch.setattr(augmentation, "PEERS", made | {"augmax": lambda: importlib.import_module("nowhere")})
    result = augmentation.main(Config(quick=True, net="lenet5"))
    assert result.holds
    assert "not judged" in result.verdict
    figures = json.loads(json.dumps(result.figures))
    measured, *missing = figures["cases"]
    assert (measured["net"], measured["peer"]) == ("flip", "dm_pix")
    assert measured["low"] <= measured["ratio"] <= measured["high"]
    assert [case["failed"] for case in missing] == ["not installed: nowhere"] * 2
    assert figures["ratios"]["least_peer"] == "dm_pix"
    assert figures["ratios"]["missing"] == ["brightness"]
    assert figures["policy"]["share"] > 0
    assert "not installed: nowhere" in capsys.readouterr().out
