"""Fuzzed calls of public functions: each returns, or says in the design's sentence what it expected and got.

All of `functional`, `initializers`, `losses`, `filters`, `layers`, `augment`, `data`, `surgery`, `models`,
`initialization`, `search`, `training` and `transfer`, but for values and what reads and writes files.
"""

import importlib

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import augment, data, filters, initializers, layers, losses, models, search, surgery, training, transfer
from jaxcnn import functional as F
from tests import fuzz_cases
from tests.fuzzing import KEY, SENTENCE, X, calls

pytestmark = [pytest.mark.newest, pytest.mark.usefixtures("quick_compilation")]

MODULES = ("functional", "initializers", "losses", "filters", "layers", "augment")
FURTHER = ("data", "surgery", "models", "initialization", "search", "training", "transfer")
CASES = {name: case for module in MODULES for name, case in fuzz_cases.cases(module).items()}
CASES |= fuzz_cases.augmentations() | fuzz_cases.values() | fuzz_cases.sets() | fuzz_cases.trainings()
CASES |= fuzz_cases.transfers() | fuzz_cases.searches()
CASES = {name: case for name, case in CASES.items() if case.base}
# What trains, or draws and compiles, for seconds each time.
LONG = {"training.fit", "training.find_learning_rate", "data.Scenes.batch", "data.Scenes.dataset"}
LONG |= {"search.cross_validate", "search.random_restarts", "search.sweep"}
# Values, and what reads and writes files: their own tests damage these.
NO_CASE = {
    "filters": {"Sobel"},
    "functional": {"BatchStats"},
    "layers": {"Layer", "register"},
    "data": {"BoxSlots", "Dataset", "DatasetInfo", "Stream", "box_slots", "load", "load_masks", "load_voc", "names"},
    "models": {"names"},
    "search": {"CrossValidation", "Options", "Trainings"},
    "training": {"EarlyStopping", "Event", "FitResult", "LearningRates", "Preempted", "RESUME", "environment"}
    | {"load_checkpoint", "read_metrics", "save_checkpoint"},
    "transfer": {"Loaded"},
    "surgery": set(),
    "initialization": set(),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A text in the place of `run_dir` makes a folder."""
    monkeypatch.chdir(tmp_path)


def check(name: str, abstract: bool | None, examples: int) -> None:
    @hypothesis.settings(max_examples=examples, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(calls(CASES[name], abstract=abstract))
    def holds(call):
        call.check()

    holds()


@pytest.mark.parametrize("module", MODULES + FURTHER)
def test_every_public_function_has_a_case(module):
    public = set(importlib.import_module(f"jaxcnn.{module}").__all__) - NO_CASE.get(module, set())
    assert public <= {name.removeprefix(f"{module}.").split("-")[0].split(".")[0] for name in CASES}


@pytest.mark.parametrize("name", [name for name in CASES if name not in LONG])
def test_strange_arguments(name):
    check(name, abstract=True, examples=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_strange_arguments_at_length(name):
    check(name, abstract=None, examples=20 if name in LONG else 200)


# What fuzzing has found once: each of these came from deep inside of JAX or NumPy, or never came back.
IMAGE = X[0]
EXAMPLE = {"image": IMAGE, 3: 1}
FOUND = {
    "a number that is none": lambda: F.leaky_relu(X, None),
    "a number beyond floats": lambda: F.elu(X, 10**400),
    "bytes for a number": lambda: losses.classification(b"0"),
    "an array for a flag": lambda: F.avg_pool(X, count_include_pad=X),
    "an array for a layer's flag": lambda: layers.Conv(4, use_bias=X),
    "a stride beyond 32 bits": lambda: F.conv(X, jnp.ones((3, 3, 4, 5)), stride=10**30),
    "a window that pads for gigabytes": lambda: F.max_pool(X, 10**5, padding="SAME"),
    "padding of gigabytes": lambda: F.conv(X, jnp.ones((3, 3, 4, 5)), padding=10**9),
    "a size of gigabytes": lambda: F.adaptive_avg_pool(X, 10**6),
    "a filter of gigabytes": lambda: filters.Gaussian(10**5),
    "a kernel of gigabytes": lambda: layers.Conv(10**9).init(KEY, X),
    "a shape of gigabytes": lambda: initializers.zeros(KEY, (10**6, 10**6)),
    "a deviation whose square overflows": lambda: filters.Gaussian(5, 1e300),
    "an axis that nobody maps over": lambda: F.batch_norm(
        X, None, None, fuzz_cases.STATE["norm"], train=True, axis_name="b"
    ),
    "an axis that is no name": lambda: layers.BatchNorm(axis_name=True),
    "a raw key of another length": lambda: F.dropout(np.zeros(4, np.uint32), X, 0.5),
    "no shape": lambda: initializers.he_normal(KEY, None),
    "no dtype": lambda: initializers.he_normal(KEY, (3, 4), "single precision"),
    "a spec of texts": lambda: layers.Conv(4).init(KEY, np.array("x")),
    "no key": lambda: layers.Maxout(4).init(None, X),
    "means that are texts": lambda: layers.Normalize("grey", 1.0),
    "labels that are none": lambda: losses.accuracy(X, None),
    "a batch without labels": lambda: losses.classification()(X, {}),
    "classes of gigabytes": lambda: losses.confusion_matrix([0], [0], 10**6),
    "no neighbours": lambda: filters.Laplacian(np.ones(2)),
    "an image without pixels": lambda: augment.cutout(KEY, jnp.zeros((0, 4, 3)), size=2),
    "a key that is none": lambda: augment.noise(0, IMAGE, std=0.1),
    "an entry without a name": lambda: augment.flip(KEY, EXAMPLE | {"mask": "none"}),
    "an interval of three": lambda: augment.contrast(KEY, IMAGE, factor=(0.5, 1, 2)),
    "an interval of texts": lambda: augment.rotate(KEY, IMAGE, degrees=("0", "1")),
    "a blur without end": lambda: augment.blur(KEY, IMAGE, sigma=(1, 1e6)),
    "operations without end": lambda: augment.rand_augment(KEY, IMAGE[..., :3], operations=10**6),
    "a proportion without a distribution": lambda: augment.mixup(KEY, fuzz_cases.BATCH, alpha=1e300, classes=4),
    "an option in the place of a function": lambda: augment.compose(0.5),
    "a batch of nothing": lambda: augment.batched(augment.flip)(KEY, ...),
    "images of no rank": lambda: augment.mirrored(1.0),
    "an entry whose name is a number": lambda: augment.brightness(KEY, {"image": IMAGE, 3: IMAGE}, factor=2.0),
    "a batch with a number as a name": lambda: augment.mixup(KEY, fuzz_cases.BATCH | {3: X}, alpha=1.0, classes=4),
    "a lifted batch with a number as a name": lambda: augment.batched(augment.flip)(KEY, {"image": X, 3: X}),
    "variances that are a text": lambda: augment.pca_lighting(KEY, IMAGE[..., :3], std=0.1, eigenvalues="(0.2, 0.1"),
    "paths that are none": lambda: surgery.edit(fuzz_cases.NET, None),
    "a net without end": lambda: models.cifar_resnet(6 * 10**8 + 2),
    "a set that is none": lambda: data.split(None, 0.5, key=KEY),
    "examples that are not there": lambda: fuzz_cases.SET.take([100]),
    "labels without end": lambda: data.from_arrays(fuzz_cases.PIXELS, np.arange(8) * 10**9),
    "names that are numbers": lambda: data.from_arrays(fuzz_cases.PIXELS, fuzz_cases.CLASSES, class_names=range(4)),
    "one number for all names": lambda: data.from_arrays(
        fuzz_cases.PIXELS, fuzz_cases.CLASSES, class_names=np.array(2)
    ),
    "ragged rows": lambda: data.from_arrays([[1], [2, 3]]),
    "a name that is a number": lambda: data.Scenes().dataset(KEY, 8, name=1),
    "a loss that is an array": lambda: training.evaluate(*fuzz_cases.TRAINED, fuzz_cases.SET, loss=X),
    "metrics in a list": lambda: training.fit(fuzz_cases.NET, fuzz_cases.SET, key=KEY, metrics=[losses.accuracy]),
    "an augmentation that is a number": lambda: training.make_train_step(fuzz_cases.NET, training.sgd(0.1), augment=2),
    "views that are a number": lambda: training.predict(*fuzz_cases.TRAINED, fuzz_cases.SET, views=2),
    "a name that is an array": lambda: transfer.swap_head(
        *fuzz_cases.TRAINED, layers.Dense(2), at=np.array([0, 1]), key=KEY, spec=X
    ),
    "no class": lambda: search.calibration_error(jnp.zeros((2, 0)), jnp.zeros(2, jnp.int32)),
    "a net that is a text": lambda: training.predictor("resnet18", {}, {}),
    "images without a name": lambda: training.evaluate(*fuzz_cases.TRAINED, [X]),
    "rows that do not match": lambda: training.predict(*fuzz_cases.TRAINED, {"image": X[0, 0, 0, 0]}),
    "a traced net": lambda: jax.eval_shape(
        lambda p: training.evaluate(fuzz_cases.NET, p, fuzz_cases.STATE, fuzz_cases.SET), fuzz_cases.PARAMS
    ),
}


@pytest.mark.parametrize("found", FOUND)
def test_what_fuzzing_found_is_told_in_a_sentence(found):
    with pytest.raises((ValueError, TypeError)) as caught:
        FOUND[found]()
    assert caught.type in (ValueError, TypeError)
    assert SENTENCE.fullmatch(str(caught.value))
    assert "\n" not in str(caught.value)


OPTIONS = {
    "leaky_relu": lambda value: F.leaky_relu(X, value),
    "batch_norm": lambda value: F.batch_norm(
        X, None, None, fuzz_cases.STATE["norm"], train=True, decay=value, eps=value
    )[0],
    "layer_norm": lambda value: F.layer_norm(X, eps=value),
    "local_response_norm": lambda value: F.local_response_norm(X, k=value),
    "dropout": lambda value: F.dropout(KEY, X, value),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_numbers_that_may_be_traced_may_be(name):
    eager, jitted = OPTIONS[name](0.5), jax.jit(OPTIONS[name])(0.5)
    np.testing.assert_allclose(eager, jitted, rtol=1e-5, atol=1e-6)


KNOWN = {
    "conv": lambda value: F.conv(X, jnp.ones((3, 3, 2, 4)), stride=value, padding=value, groups=value),
    "conv_transpose": lambda value: F.conv_transpose(X, jnp.ones((3, 3, 2, 4)), stride=value, groups=value),
    "max_pool": lambda value: F.max_pool(X, value),
    "group_norm": lambda value: F.group_norm(X, groups=value),
    "top_k": lambda value: losses.top_k(X, X, k=value),
    "crop": lambda value: augment.crop(KEY, IMAGE, padding=value),
    "rotate": lambda value: augment.rotate(KEY, IMAGE, degrees=(0, value)),
    "posterize": lambda value: augment.posterize(KEY, IMAGE, bits=value),
}


@pytest.mark.parametrize("name", KNOWN)
def test_numbers_that_jax_holds_are_known_under_jit(name):
    value = jnp.int32(2)  # comparing it would trace it
    jax.eval_shape(lambda x: KNOWN[name](value), X)


def test_optimizers_say_what_is_wrong():
    for call in (lambda: training.sgd(0.1, momentum="most"), lambda: training.warmup_cosine(0.1, None)):
        with pytest.raises((ValueError, TypeError), match=SENTENCE):
            call()
