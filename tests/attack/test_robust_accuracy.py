"""The standard evaluation: known answers, what it counts, how often it compiles, and the peer whose ensemble it is."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack import judge
from jaxcnn.attack.given import trusted
from jaxcnn.attack.robust_accuracy import Attacked, RobustReport, robust_accuracy
from jaxcnn.attack.standard import STANDARD, Budget, Images, Progress
from tests.attack.exact import least_sizes, with_classes
from tests.attack.twins import digits_twin, peer
from tests.torch_twins import array, tensor

KEY = jax.random.key(3)
FEW = {"steps": 10, "queries": 30, "batch_size": 16}  # one size for most, so that programs are few
pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def found(digits):
    """What a small evaluation says of the digits' net."""
    return robust_accuracy(KEY, digits.logits_fn, digits.x, digits.y, epsilon=0.08, **FEW)


@pytest.mark.slow
def test_without_room_it_is_the_clean_accuracy(digits):
    found = robust_accuracy(KEY, digits.logits_fn, digits.x, digits.y, epsilon=0, **FEW)
    right = np.asarray(digits.logits_fn(digits.x).argmax(-1) == digits.y)
    assert float(found) == found.clean_accuracy == right.mean() < 1
    assert np.array_equal(found.fooled, ~right)
    assert np.array_equal(found.adversarial, digits.x)
    assert found.fell_to.tolist() == ["" if ok else "clean" for ok in right]
    assert [row.fell for row in found.attacks] == [0] * 4


def test_the_report_holds_together(found, digits):
    again = judge(digits.logits_fn, digits.x, found.adversarial, digits.y)
    assert np.array_equal(found.fooled, again.success)
    assert np.array_equal(found.prediction, again.prediction)
    np.testing.assert_allclose(found.confidence, again.confidence, rtol=1e-5)
    assert again.linf.max() <= 0.08 + 1e-6
    assert 0 <= found.adversarial.min() <= found.adversarial.max() <= 1
    assert 0.1 < float(found) == again.robust_accuracy < 0.9 < found.clean_accuracy
    assert found.adversarial.dtype == digits.x.dtype
    assert tuple(row.attack for row in found.attacks) == STANDARD
    right = round(found.clean_accuracy * 32)
    for row in found.attacks:  # each goes on with what the one before has left
        assert row.attacked == right
        assert row.fell == np.sum(found.fell_to == row.attack)
        right -= row.fell
        assert row.accuracy == right / 32
    assert row.accuracy == float(found)
    assert found.attacks[0].calls == 10 * found.attacks[0].attacked
    left = found.attacks[3].attacked
    assert found.attacks[3].calls <= 32 * left  # the image, where Square begins, and 30 queries
    assert np.array_equal(found.fell_to == "", ~found.fooled)
    unchanged = np.isin(found.fell_to, ["", "clean"])
    assert np.array_equal(found.adversarial[unchanged], digits.x[unchanged])
    assert not found.warnings


def test_it_prints_as_a_table(found):
    first, *table = repr(found).splitlines()
    budget = f"{FEW['steps']} steps, {FEW['queries']} queries; the standard is 100 and 5000 of 4 attacks"
    assert first == f"robust accuracy {100 * float(found):.1f} % of 32 images, linf 0.08, {budget}"
    assert table[0].split() == ["attack", "attacked", "fell", "accuracy"]
    assert [line.split()[0] for line in table[1:]] == ["none", *STANDARD]
    assert len({len(line) for line in table}) == 1
    blank = np.zeros(1)
    row = Attacked("square", 3, 1, 0.5, 9)
    warned = RobustReport(0.1, "l2", 1.0, (row,), ("Beware.",), blank, blank, blank, blank, blank)
    assert str(warned).splitlines()[-1] == "Warning: Beware."
    assert str(warned).splitlines()[-2].split() == ["at", "the", "last", "look", "100.0", "%"]  # as its headline says


@pytest.mark.slow
def test_same_key_same_report(found, digits):
    options = {"epsilon": 0.08, **FEW}
    again = robust_accuracy(KEY, digits.logits_fn, digits.x, digits.y, **options)
    assert np.array_equal(found.adversarial, again.adversarial)
    assert found.attacks == again.attacks
    other = robust_accuracy(jax.random.key(4), digits.logits_fn, digits.x, digits.y, **options)
    assert not np.array_equal(found.adversarial, other.adversarial)


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "norm"), [("apgd-t", "linf"), ("apgd-t", "l2"), ("fab-t", "l2")])
def test_of_a_linear_net_attacks_towards_classes_know_the_truth(linear, norm, attack):
    sizes, _ = least_sizes(linear, norm)
    rising = np.sort(sizes)
    at = 1 + np.argmax(rising[2:-1] / rising[1:-2])  # where no image is near epsilon
    epsilon = float(np.sqrt(rising[at] * rising[at + 1]))
    found = robust_accuracy(
        KEY, linear.logits_fn, linear.x, linear.y, epsilon=epsilon, norm=norm, attacks=(attack,), steps=60
    )
    assert np.array_equal(found.fooled, sizes < epsilon)
    assert 0 < float(found) < 1
    assert not found.warnings


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes(linear, classes):
    """With so few the targeted ratio of DLR has no gradient."""
    few = with_classes(linear, classes)
    sizes, _ = least_sizes(few, "linf")
    epsilon = float(np.median(sizes))
    for attacks in (("apgd-t",), ("fab-t",)):
        found = robust_accuracy(KEY, *few, epsilon=epsilon, attacks=attacks, steps=60)
        assert np.array_equal(found.fooled, sizes < epsilon)


@pytest.mark.slow
def test_axes_of_images(linear):
    options = {"epsilon": 0.1, "attacks": ("apgd-ce", "fab-t"), "steps": 20}
    flat = robust_accuracy(KEY, linear.logits_fn, linear.x, linear.y, **options)
    rows = robust_accuracy(KEY, linear.logits_fn, linear.x.reshape(2, 3, 3, 3, 1), linear.y.reshape(2, 3), **options)
    assert rows.adversarial.shape == (2, 3, 3, 3, 1)
    assert rows.fooled.shape == rows.fell_to.shape == (2, 3)
    assert np.array_equal(rows.fooled.ravel(), flat.fooled)
    alone = lambda x: linear.logits_fn(x[None])[0]  # noqa: E731
    one = robust_accuracy(KEY, alone, linear.x[0], int(linear.y[0]), **options)
    assert one.adversarial.shape == (3, 3, 1)
    assert one.fooled.shape == ()
    assert bool(one.fooled) == bool(flat.fooled[0])


@pytest.mark.slow
def test_vectors_have_no_squares(linear):
    kernel, bias = linear.logits_fn.args
    logits_fn = lambda x: x @ kernel + bias  # noqa: E731
    x = linear.x.reshape(6, 9)
    options = {"epsilon": 0.1, "steps": 20}
    found = robust_accuracy(KEY, logits_fn, x, linear.y, attacks=STANDARD[:3], **options)
    assert np.array_equal(found.fooled, least_sizes(linear, "linf")[0] < 0.1)
    with pytest.raises(
        ValueError, match=r"^robust_accuracy: expected x of shape \(\.\.\., H, W, C\), got \(6, 9\)\. Leave"
    ):
        robust_accuracy(KEY, logits_fn, x, linear.y, **options)


@pytest.mark.slow
def test_programs_are_few(linear):
    traces = itertools.count()

    def logits_fn(x):
        next(traces)
        return linear.logits_fn(x)

    x, y = jnp.concatenate([linear.x] * 4)[:21], jnp.concatenate([linear.y] * 4)[:21]
    options = {"batch_size": 8, "attacks": ("apgd-ce", "apgd-t"), "steps": 5}
    robust_accuracy(KEY, logits_fn, x, y, epsilon=0.01, **options)
    first = next(traces)
    robust_accuracy(KEY, logits_fn, x, y, epsilon=0.012, **options)
    # The one call that looks whether two traces are alike is remembered, too.
    assert next(traces) == first + 1


def test_what_fills_a_batch_is_fooled_already(linear):
    tested = Images(trusted(linear.logits_fn), np.asarray(linear.x), np.asarray(linear.y), 4, 4)
    batches = list(tested.batches(np.arange(5)))
    assert [(some.tolist(), len(x)) for some, x, _ in batches] == [([0, 1, 2, 3], 4), ([4], 4)]
    assert batches[1][2].tolist() == [linear.y[4], *[(linear.y[4] + 1) % 4] * 3]
    assert [len(x) for _, x, _ in tested._replace(batch_size=64).batches(np.arange(5))] == [8]
    assert tested.sample(np.arange(6))[0].shape == (4, 3, 3, 1)
    assert np.array_equal(tested.sample(np.arange(6))[0], linear.x[jnp.array([0, 2, 3, 5])])


def test_what_counts_is_a_look_in_the_order_of_x(linear):
    """A net that errs in the batches of attacks alone, which are of 8."""
    x, y = linear.x[:5], linear.y[:5]
    logits_fn = lambda x: linear.logits_fn(x) * (-1.0 if len(x) == 8 else 1.0)  # noqa: E731
    found = robust_accuracy(KEY, logits_fn, x, y, epsilon=0.0, attacks=("apgd-ce",), steps=2)
    assert float(found) == 1
    assert found.attacks[0].fell == 0


def test_roundings_of_pixels_are_let_through():
    image = np.zeros((3, 4, 1), np.float32)
    for norm, factor in (("linf", 1), ("l2", 12**0.5), ("l1", 12)):
        budget = Budget(0.1, norm, (0.0, 1.0), 1, 1)
        assert budget.limit(image) == pytest.approx(0.1 + 1.2e-7 * factor + 1e-6, rel=1e-7)
        assert budget._replace(epsilon=0.0).limit(image) == 0
        assert budget.limit(image.astype(jnp.bfloat16)) == pytest.approx(0.101)


@pytest.mark.slow
def test_progress(linear):
    told: list[Progress] = []
    options = {"epsilon": 0.0, "attacks": ("apgd-ce", "apgd-t"), "steps": 2}
    robust_accuracy(KEY, linear.logits_fn, linear.x, linear.y, on_progress=told.append, **options)
    assert told == [Progress("apgd-ce", 1, 1, 6), *(Progress("apgd-t", n, 3, 6) for n in (1, 2, 3))]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"epsilon": -0.1}, ValueError, r"expected epsilon >= 0, got -0\.1\. Pass epsilon=8 / 255"),
        ({"epsilon": [0.1, 0.2]}, ValueError, r"expected epsilon >= 0, got \[0\.1, 0\.2\]"),
        ({"epsilon": 8}, ValueError, r"expected epsilon of at most 1, the width of the bounds, got 8\. It has"),
        ({"norm": "l0"}, ValueError, r"expected norm as one of \('linf', 'l2', 'l1'\), got 'l0'"),
        ({"attacks": ()}, ValueError, r"expected attacks among \('apgd-ce', .*\), got \(\)\. Pass"),
        ({"attacks": ("square", "square")}, ValueError, "expected attacks among"),
        ({"attacks": ("pgd",)}, ValueError, "expected attacks among"),
        ({"attacks": "square"}, ValueError, "expected attacks among"),
        ({"steps": 0}, ValueError, "expected steps as a positive int, got 0"),
        ({"queries": 0}, ValueError, "expected queries as a positive int, got 0"),
        ({"batch_size": 0}, ValueError, "expected batch_size as a positive int, got 0"),
        ({"key": 3}, TypeError, "expected one PRNG key, got 3"),
        ({"logits_fn": 3}, TypeError, "expected logits_fn as a function of images, got 3"),
        ({"x": np.full((6, 3, 3, 1), 2.0, np.float32)}, ValueError, r"expected images within bounds=\(0\.0, 1\.0\)"),
        ({"x": np.zeros((0, 3, 3, 1), np.float32), "y": 0}, ValueError, r"expected at least one image, got shape \(0,"),
        ({"y": 4}, ValueError, r"expected y in 0\.\.3, got 4"),
        (
            {"logits_fn": lambda x: jax.nn.softmax(x.sum((1, 2)) * jnp.arange(4.0))},
            ValueError,
            "expected logits, got pro",
        ),
    ],
)
def test_refuses(linear, given, error, message):
    arguments = {"key": KEY, "logits_fn": linear.logits_fn, "x": linear.x, "y": linear.y, "epsilon": 0.1, **FEW} | given
    with pytest.raises(error, match=f"^robust_accuracy: {message}"):
        robust_accuracy(**arguments)


def test_refuses_to_run_in_a_program(linear):
    run = jax.jit(lambda x: robust_accuracy(KEY, linear.logits_fn, x, linear.y, epsilon=0.1).fooled)
    with pytest.raises(TypeError, match=r"^robust_accuracy: expected known arrays, got traced ones\. Call it outside"):
        run(linear.x)


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "epsilons"), [("linf", (0.06, 0.1)), ("l2", (0.25, 0.4))])
def test_nothing_is_left_that_autoattack_fells(digits, norm, epsilons):
    """On the twin of the digits' net, with its standard budget."""
    torch, theirs = pytest.importorskip("torch"), peer("pyautoattack")
    twin, x, y = digits_twin(digits), tensor(digits.x), torch.tensor(np.asarray(digits.y)).long()
    for epsilon in epsilons:
        attack = theirs.AutoAttack(twin, norm=norm.capitalize(), eps=epsilon, version="standard", seed=0)
        adversarial, _ = attack.run_standard_evaluation(x, y)
        fooled = judge(digits.logits_fn, digits.x, np.clip(array(adversarial), 0, 1), digits.y).success
        ours = robust_accuracy(KEY, digits.logits_fn, digits.x, digits.y, epsilon=epsilon, norm=norm)
        print(f"\n{norm} {epsilon}: AutoAttack leaves {1 - fooled.mean():.4f}, robust_accuracy {float(ours):.4f}")
        assert 0 < float(ours) <= 1 - fooled.mean() + 1e-6 < 1


@pytest.mark.slow
def test_narrow_images_fall_as_wide_ones_do():
    """What rounding takes out of the ball does not count: with ends rounded to the nearest hardly any image fell."""
    x = jax.random.uniform(jax.random.key(0), (32, 6, 6, 1))
    kernel = jax.random.normal(jax.random.key(1), (36, 4))

    def report(kind):
        net = jax.tree_util.Partial(lambda kernel, x: x.reshape(-1, 36) @ kernel, kernel.astype(kind))
        images = x.astype(kind)
        y = net(images).argmax(-1)
        attacks = ("apgd-ce", "square")
        return robust_accuracy(KEY, net, images, y, epsilon=0.01, attacks=attacks, steps=10, queries=50)

    wide, narrow = report(jnp.float32), report(jnp.bfloat16)
    assert float(wide) < 0.9
    assert float(narrow) <= float(wide) + 3 / 32


@pytest.mark.slow
def test_runs_where_float64_is_the_default(linear):
    with jax.enable_x64(True):
        x, y = jnp.asarray(np.asarray(linear.x)), jnp.asarray(np.asarray(linear.y))
        found = robust_accuracy(KEY, linear.logits_fn, x, y, epsilon=0.05, **FEW)
    assert found.adversarial.dtype == np.float32
    assert len(found.attacks) == 4
