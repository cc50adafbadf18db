"""The experiment on denoising: noise and filters by hand, what it promises and what it says."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from experiments import denoising
from experiments.denoising import FILTERS, GAUSSIAN, MEDIAN, NET, NOISY, WAYS, WIENER, Config, Restored
from jaxcnn import data

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = Config(
    dataset="digits", train_images=32, test_images=8, strengths=(25, 75), seeds=2, epochs=1, batch_size=16, width=2,
    depth=1,
)  # fmt: skip


def test_the_ratio_by_hand():
    clean = jnp.zeros((2, 4, 4, 1))
    np.testing.assert_allclose(
        denoising.signal_to_noise(clean.at[0].add(0.1).at[1].add(0.01), clean), [20, 40], rtol=1e-5
    )
    assert denoising.signal_to_noise(clean, clean).tolist() == [100, 100]
    batch = {"clean": clean + 0.5}
    np.testing.assert_allclose(denoising.error_of_batch(clean, batch), [0.25, 0.25])
    np.testing.assert_allclose(denoising.ratio_of_batch(clean - 3, batch), denoising.ratio_of_batch(clean, batch))


def test_noise_is_drawn_in_every_strength_and_the_image_is_kept():
    batch = {"image": jnp.full((400, 8, 8, 1), 0.5), "index": jnp.arange(400)}
    found = jax.jit(denoising.with_noise(0.2))(jax.random.key(0), batch)
    np.testing.assert_array_equal(found["clean"], batch["image"])
    np.testing.assert_array_equal(found["index"], batch["index"])
    noise = np.asarray(found["image"] - found["clean"])
    strengths = noise.std((1, 2, 3))
    assert abs(noise.mean()) < 2e-3
    # Uniform on 0..0.2: as many in each quarter.
    assert np.histogram(strengths, (0, 0.05, 0.1, 0.15, 0.3))[0] == pytest.approx(100, abs=30)
    noisy = denoising.disturbed(jax.random.key(1), np.zeros((20, 16, 16, 1), np.float32), 51)
    assert noisy.std() == pytest.approx(0.2, rel=0.03)


@pytest.mark.slow
def test_the_net_changes_nothing_at_first():
    train, _ = data.load("digits")
    net = denoising.denoiser(SMALL, train.info)
    x = data.to_float(train["image"][:3])
    params, state = net.init(jax.random.key(0), train.spec)
    np.testing.assert_allclose(net.apply(params, state, x, train=False)[0], x, atol=1e-4)


def test_filters_smooth_over_the_image_alone():
    draw = np.random.default_rng(0)
    flat = draw.normal(0.5, 0.1, (2, 32, 32, 3)).astype(np.float32)
    flat[1] += 1
    for way, width in ((GAUSSIAN, 1.0), (MEDIAN, 3), (WIENER, 5)):
        smooth = denoising.filtered(way, flat, width, 25.5)
        assert smooth.shape == flat.shape
        np.testing.assert_allclose(smooth.mean((1, 2)), flat.mean((1, 2)), atol=0.01)
        assert smooth.std((1, 2)).max() < 0.6 * flat.std((1, 2)).min()
    inner = np.s_[0, 3:-3, 3:-3, 0]
    expected = signal.wiener(flat[0, ..., 0].astype(float), 5, 0.01)[3:-3, 3:-3]
    np.testing.assert_allclose(denoising.filtered(WIENER, flat, 5, 25.5)[inner], expected, atol=1e-5)
    spike = np.zeros((1, 5, 5, 1), np.float32)
    spike[0, 2, 2, 0] = 1
    assert not denoising.filtered(MEDIAN, spike, 3, 25).any()


def test_wider_filters_are_chosen_for_more_noise():
    train, _ = data.load("digits")
    widths = denoising.best_widths(
        dataclasses.replace(SMALL, test_images=60, strengths=(5, 150)), train, jax.random.key(0)
    )
    assert widths[5][GAUSSIAN] < widths[150][GAUSSIAN]
    assert all(of[way] in denoising.WIDTHS[way] for of in widths.values() for way in FILTERS)


@pytest.mark.slow  # CI runs it in the course
def test_a_small_run_is_json_and_images_stand_worst_first():
    result = denoising.main(SMALL)
    figures = json.loads(json.dumps(result.figures, allow_nan=False))
    assert list(figures["psnr_db"]) == list(WAYS)
    for strength, plain in (("25", 20.2), ("75", 10.6)):  # -20 log10(strength / 255), and clipping helps a little
        noisy = figures["psnr_db"][NOISY][strength]
        assert plain - 0.5 < noisy["mean"] < plain + 4.5
        best = np.max([figures["psnr_db"][way][strength]["values"] for way in FILTERS], axis=0)
        gain = np.array(figures["psnr_db"][NET][strength]["values"]) - best
        np.testing.assert_allclose(figures["gain_over_the_best_filter_db"][strength]["values"], gain)
    assert not result.holds
    assert "NOT as promised: 1 dB over the best filter at 25. digits" in result.verdict
    assert "at 75 (more than it has seen)" in result.verdict
    axes = result.pictures[1].blocks[0].figure.axes[0]
    told = [float(text.get_text()[:-3]) for text in axes.texts if text.get_text().endswith(" dB")]
    assert told[-denoising.SHOWN :] == sorted(told[-denoising.SHOWN :])


def made_up(net):
    """Return what a seed's test gives where every way errs by as much everywhere."""
    clean = np.full((8, 4, 4, 1), 0.5, np.float32)
    errors = {NOISY: 0.1, GAUSSIAN: 0.05, MEDIAN: 0.08, WIENER: 0.06, NET: net}
    return Restored(clean, {strength: {way: clean + error for way, error in errors.items()} for strength in (25, 75)})


@pytest.mark.parametrize(("net", "holds"), [(0.04, True), (0.046, False)])
def test_what_it_promises(monkeypatch, net, holds):
    history = [{"epoch": 1, "train_loss": 0.1, "train_ratio": 20.0}]
    seeds = iter([made_up(0.03), made_up(net)])
    monkeypatch.setattr(denoising, "best_widths", lambda *_: {})
    monkeypatch.setattr(denoising, "measured", lambda *_: (next(seeds), history))
    result = denoising.main(SMALL)
    assert result.holds == holds
    gain = 20 * np.log10(0.05 / net)
    assert result.verdict.endswith(f"It gains {gain:+.2f} dB at least over the best filter.")
    assert f"noisy 20.00, {GAUSSIAN} filter 26.02" in result.verdict


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, r"^denoising: expected at least 2 seeds, got 1\. "),
        ({"strengths": (25,)}, r"^denoising: expected two rising strengths or more above 0, got \(25,\)\. "),
        ({"strengths": (0, 25)}, r"^denoising: expected two rising strengths or more above 0, got \(0, 25\)\. "),
        (
            {"largest": 20},
            r"^denoising: expected a strength that is seen in training, of 20 at most, got \(25, 75",
        ),
        ({"dataset": "digit"}, "Did you mean 'digits'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        denoising.main(dataclasses.replace(SMALL, **options))
