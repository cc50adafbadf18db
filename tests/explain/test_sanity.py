"""The sanity checks: what is drawn anew and when, how maps are compared, who passes and who fails."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from jaxcnn import surgery, training
from jaxcnn.explain import attribution, trust
from jaxcnn.explain.trust.similarity import similarities
from tests.small_nets import CASES, CLASSES

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(5)
LAYERS = {
    "plain": ["fc2", "fc1", "conv2", "conv1"],
    "batchnorm": ["head", "bn2", "conv2", "bn1", "conv1"],
    "residual": ["head", "block2", "block1", "conv1"],
}


def gradient(net, params, state, x, target):
    return attribution.gradient(training.predictor(net, params, state), x, target)


def picture(net, params, state, x, target):
    return x


def edges(net, params, state, x, target):
    """A method that looks at the image alone, one map an image."""
    return jnp.abs(jnp.diff(x.sum(-1), axis=-1, append=0))


@partial(jax.jit, static_argnums=0)
def first_layer(net, params, state, x, target):
    return surgery.activations(net, params, state, x, ["conv1"])[1]["conv1"]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_the_cascade_goes_from_the_output_down(case, images):
    steps = trust.cascading_randomization(KEY, case.net, case.params, case.state, images)
    assert list(steps) == LAYERS[case.name]
    for number, (params, state) in enumerate(steps.values()):
        changed = {name for name in case.params if not same(params[name], case.params[name])}
        assert changed == set(LAYERS[case.name][: number + 1])
        shifted = {name for name in case.state if not same(state[name], case.state[name])}
        assert shifted == changed & set(case.state)
    # What a layer was given, it keeps; and all together are a net as it was initialised.
    first, last = (list(steps.values())[at][0] for at in (0, -1))
    assert same(first[LAYERS[case.name][0]], last[LAYERS[case.name][0]])
    assert jax.tree.structure(last) == jax.tree.structure(case.params)
    if case.state:
        assert {float(s.mean.sum()) for s in jax.tree.leaves(state, is_leaf=lambda s: hasattr(s, "mean"))} == {0.0}


def test_independent_layers_and_layers_inside():
    case = CASES["residual"]
    at = ["block2/branch/bn1", "block1/branch/conv2"]
    found = trust.independent_randomization(KEY, case.net, case.params, case.state, jnp.ones((12, 12, 3)), at=at)
    assert list(found) == at
    params, state = found[at[0]]
    assert same(params["block1"], case.params["block1"])
    branch, before = params["block2"]["branch"], case.params["block2"]["branch"]
    assert {name for name in before if not same(branch[name], before[name])} == {"bn1"}
    close(branch["bn1"]["scale"], 1)
    close(state["block2"]["branch"]["bn1"].mean, 0)
    assert same(state["block1"], case.state["block1"])
    params, state = found[at[1]]
    assert same(state, case.state)
    assert not same(params["block1"]["branch"]["conv2"], case.params["block1"]["branch"]["conv2"])
    both = trust.cascading_randomization(KEY, case.net, case.params, case.state, jnp.ones((1, 12, 12, 3)), at=at)
    assert not same(both[at[1]][1]["block2"], case.state["block2"])


def test_likeness_is_that_of_the_field():
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=(2, 3, 11, 9)).astype(np.float32)
    second = second + first
    found = similarities(first, second, lead=1)
    pairs = [(a.ravel(), b.ravel()) for a, b in zip(first, second, strict=True)]
    close(found["signed_rank"], [stats.spearmanr(a, b)[0] for a, b in pairs], atol=1e-5)
    close(found["rank"], [stats.spearmanr(abs(a), abs(b))[0] for a, b in pairs], atol=1e-5)
    for n in range(3):
        a, b = (abs(v[n]) / abs(v[n]).max() for v in (first, second))
        mean = lambda v: ndimage.uniform_filter(v.astype(np.float64), 7)[3:-3, 3:-3]  # noqa: E731
        both = mean(a * b) - mean(a) * mean(b)
        spread = mean(a * a) - mean(a) ** 2 + mean(b * b) - mean(b) ** 2
        look = (2 * mean(a) * mean(b) + 1e-4) / (mean(a) ** 2 + mean(b) ** 2 + 1e-4)
        close(found["ssim"][n], (look * (2 * both + 9e-4) / (spread + 9e-4)).mean(), rtol=1e-3)
    for value in similarities(first, 3 * first, lead=1).values():
        close(value, 1, rtol=1e-5)
    opposite = similarities(first, -first, lead=1)
    close(opposite["signed_rank"], -1, rtol=1e-5)
    close(opposite["rank"], 1, rtol=1e-5)


@pytest.mark.slow
def test_channels_are_summed_and_blank_maps_are_no_maps():
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=(2, 2, 4, 5, 3)).astype(np.float32)
    found = similarities(first, second, lead=1)
    close(found["signed_rank"], similarities(first.sum(-1), second.sum(-1), lead=1)["signed_rank"], rtol=1e-5)
    close(found["rank"], similarities(abs(first).sum(-1), abs(second).sum(-1), lead=1)["rank"], rtol=1e-5)
    second[0] = 0
    for value in similarities(first, second, lead=1).values():
        assert value[0] == 0 and value[1] != 0
    assert similarities(np.ones((4, 5)), first[0, ..., 0], lead=0)["ssim"] == 0
    assert np.isnan(similarities(second, second, lead=1)["rank"]).tolist() == [True, False]
    assert np.isfinite(similarities(first[:, :1, :2], second[:, 1:2, :2], lead=1)["ssim"][1])


@pytest.fixture(scope="module", params=["plain", "batchnorm"])
def checked(request):
    case = CASES[request.param]
    x = jax.random.uniform(jax.random.key(3), (6, 12, 12, 3))
    methods = {"gradient": gradient, "picture": picture, "edges": edges, "first layer": first_layer}
    labels = trust.cascading_randomization(jax.random.key(8), case.net, case.params, case.state, x)
    report = trust.sanity_checks(
        KEY, case.net, case.params, case.state, x, jnp.arange(6) % CLASSES, methods, draws=3,
        random_label_weights=list(labels.values())[-1], keep_maps=True,
    )  # fmt: skip
    return case, report


def test_who_looks_at_the_image_alone_fails(checked):
    _, report = checked
    for name in ("picture", "edges"):
        verdict = report.verdicts[name]
        assert verdict.passes is False
        for value in (verdict.similarity, verdict.null, verdict.labels):
            assert value == pytest.approx(1, abs=1e-5)
        assert verdict.spread == pytest.approx(0, abs=1e-5)
        for kind in ("cascading", "independent", "random", "null", "labels"):
            for values in getattr(report, kind)[name].values():
                close(values, 1, atol=1e-5)


def test_who_depends_on_the_weights_passes(checked):
    case, report = checked
    verdict = report.verdicts["gradient"]
    assert verdict.passes is True
    assert verdict.similarity < 0.3 and verdict.null < 0.3 and verdict.labels < 0.3
    assert verdict.blank == 0
    assert report.random["gradient"]["rank"].shape == (3, 6)
    assert report.null["gradient"]["ssim"].shape == (3, 6)
    assert report.labels["gradient"]["rank"].shape == (1, 6)
    assert report.cascading["gradient"]["signed_rank"].shape == (len(LAYERS[case.name]), 6)
    assert verdict.similarity == pytest.approx(report.random["gradient"]["rank"].mean())
    assert verdict.spread == pytest.approx(report.random["gradient"]["rank"].mean(0).std(ddof=1))


def test_a_map_changes_when_the_layers_that_it_reads_do(checked):
    case, report = checked
    assert report.layers == tuple(LAYERS[case.name])
    cascade = report.cascading["first layer"]["rank"]
    close(cascade[:-1], 1, atol=1e-5)
    assert cascade[-1].mean() < 0.9
    alone = report.independent["first layer"]["rank"]
    close(alone[:-1], 1, atol=1e-5)
    assert alone[-1].mean() < 0.9
    assert report.independent["gradient"]["rank"][-2].mean() < 0.9


def test_maps_may_be_kept(checked):
    case, report = checked
    own, *down, labels = report.maps["first layer"]
    assert len(down) == len(LAYERS[case.name])
    assert own.shape == labels.shape == (6, 12, 12, 8)
    for maps in down[:-1]:
        np.testing.assert_array_equal(maps, own)
    for found, maps in ((report.cascading, down[-1]), (report.labels, labels)):
        close(found["first layer"]["rank"][-1], similarities(own, maps, lead=1)["rank"], rtol=1e-5)


def test_the_table_reads(checked):
    _, report = checked
    rows = {row["method"]: row for row in report.table()}
    assert rows["picture"] == {
        "method": "picture", "verdict": "fails", "random weights": "1.00 ± 0.00", "two random nets": "1.00",
        "random labels": "1.00",
    }  # fmt: skip
    assert rows["gradient"]["verdict"] == "passes"
    assert "stays below 0.5, in the mean over images and 3 draws" in report.criterion


@pytest.mark.slow
def test_random_labels_count_too(images):
    case = CASES["plain"]
    arguments = (KEY, case.net, case.params, case.state, images, 0, {"gradient": gradient})
    without = trust.sanity_checks(*arguments, at=(), draws=2)
    assert without.verdicts["gradient"].passes
    assert without.verdicts["gradient"].labels is None
    assert (without.layers, without.labels, without.maps) == ((), {}, {})
    assert "random labels" not in without.table()[0]
    # A net that learned the same from random labels: what the map shows is not what the labels say.
    like = trust.sanity_checks(*arguments, at=(), draws=2, random_label_weights=(case.params, case.state))
    assert like.verdicts["gradient"].labels == pytest.approx(1)
    assert like.verdicts["gradient"].passes is False


def test_blank_maps_are_not_judged(images):
    case = CASES["plain"]
    blank = {"blank": lambda net, params, state, x, target: jnp.zeros(x.shape[:-1])}
    report = trust.sanity_checks(KEY, case.net, case.params, case.state, images, 0, blank, at=(), draws=2)
    assert report.verdicts["blank"].passes is None
    assert report.verdicts["blank"].blank == 1
    assert report.table()[0]["verdict"] == "cannot be judged"
    assert report.table()[0]["blank maps"] == "100%"
    # One image of four: the others decide.
    some = {"some": lambda net, params, state, x, target: gradient(net, params, state, x, target).at[0].set(0)}
    report = trust.sanity_checks(KEY, case.net, case.params, case.state, images, 0, some, at=(), draws=2)
    assert report.verdicts["some"].passes
    assert report.verdicts["some"].blank == 0.25


def test_one_image_and_keys():
    case = CASES["plain"]
    image = jax.random.uniform(jax.random.key(3), (12, 12, 3))
    run = lambda key: trust.sanity_checks(  # noqa: E731
        key, case.net, case.params, case.state, image, 1, {"gradient": gradient}, at=["conv1"], draws=2
    )
    one, again, other = run(KEY), run(KEY), run(jax.random.key(6))
    assert one.cascading["gradient"]["rank"].shape == (1, 1)
    assert one.verdicts["gradient"] == again.verdicts["gradient"]
    assert one.verdicts["gradient"].similarity != other.verdicts["gradient"].similarity


def test_refuses(images):
    case = CASES["plain"]

    def check(methods, **options):
        trust.sanity_checks(KEY, case.net, case.params, case.state, images, 0, methods, **options)

    good = {"gradient": gradient}
    with pytest.raises(TypeError, match=r"^sanity_checks: expected methods by name, got \{\}\. "):
        check({})
    message = r"^sanity_checks: expected 'ig' as a function \(net, params, state, x, target\), got one of \(logits_fn"
    with pytest.raises(TypeError, match=message + r".* Pass lambda n, p, s, x, y: explain\.gradient\("):
        check({"ig": attribution.integrated_gradients})
    with pytest.raises(ValueError, match=r"^sanity_checks: expected draws as an int >= 2, got 1\. "):
        check(good, draws=1)
    with pytest.raises(ValueError, match=r"^sanity_checks: expected a threshold between 0 and 1, got 1\. "):
        check(good, threshold=1)
    with pytest.raises(ValueError, match=r"^cascading_randomization: expected paths of \['conv1', .* got 'conv3'"):
        check(good, at=["conv3"])
    with pytest.raises(
        ValueError, match=r"^sanity_checks: expected maps \(4,\) \+ \(h, w\) or \(h, w, c\) of 'sum', g"
    ):
        check({"sum": lambda *args: gradient(*args).sum((1, 2))})
    with pytest.raises(ValueError, match=r"^sanity_checks: expected finite values in the maps of 'nan', got 1728 that"):
        check({"nan": lambda *args: gradient(*args) * np.nan})
