"""Streams: what a batch holds, that its place alone decides it, and training from one."""

import dataclasses
import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn import data, training
from jaxcnn import functional as F
from jaxcnn.data.cropping import draw, middle, resized
from jaxcnn.data.stream import Stream, on_device
from jaxcnn.layers import Conv, Dense, GlobalAvgPool, Normalize, Sequential

pytest.importorskip("grain")
pytest.importorskip("PIL")
pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY = jax.random.key(0)


@dataclasses.dataclass(frozen=True)
class Squares:
    """Grey images of several sizes, dark or bright by class; example i has i in its corner."""

    numbers: np.ndarray

    def __len__(self):
        return len(self.numbers)

    def parts(self, indices, choose, size):
        found = []
        for number, box in zip(self.numbers[indices].tolist(), choose, strict=True):
            image = np.full((8 + number % 3, 8 + number % 5, 1), 40 + 150 * (number % 2), np.uint8)
            found.append({"image": resized(image, box(*image.shape[:2]), size), "label": number % 2})
        return found

    def take(self, chosen):
        return Squares(self.numbers[chosen])

    def labels(self):
        return (self.numbers % 2).astype(np.int32)


def stream(size=23, **options):
    info = data.DatasetInfo("squares", ("dark", "bright"), (0.4,), (0.3,), "made here", "0")
    return Stream(Squares(np.arange(size)), info, **({"image_size": 6} | options))


def first(batches, count):
    found = [next(batches) for _ in range(count)]
    batches.close()
    return found


def test_in_order_every_example_comes_once_and_the_last_batch_is_smaller():
    batches = list(stream().batches(10))
    assert [len(batch["label"]) for batch in batches] == [10, 10, 3]
    np.testing.assert_array_equal(np.concatenate([batch["index"] for batch in batches]), np.arange(23))
    assert batches[0]["image"].shape == (10, 6, 6, 1)
    assert batches[0]["image"].dtype == np.uint8
    np.testing.assert_array_equal(batches[0]["label"], np.arange(10) % 2)
    np.testing.assert_array_equal(batches[0]["image"][:2, 0, 0, 0], [40, 190])


def test_an_epoch_has_every_example_once_at_most_and_another_order_than_the_next():
    epochs = np.split(np.concatenate([b["index"] for b in first(stream().batches(5, key=KEY), 8)]), 2)
    for order in epochs:
        assert len(set(order.tolist())) == 20
        assert not np.array_equal(order, np.sort(order))
    assert not np.array_equal(*epochs)
    again = np.concatenate([b["index"] for b in first(stream().batches(5, key=KEY), 4)])
    np.testing.assert_array_equal(again, epochs[0])
    other = np.concatenate([b["index"] for b in first(stream().batches(5, key=jax.random.key(1)), 4)])
    assert not np.array_equal(other, epochs[0])


@dataclasses.dataclass(frozen=True)
class Same(Squares):
    """Images that are all the same square, of which no two crops look alike."""

    def parts(self, indices, choose, size):
        image = np.arange(0, 256, 0.25).astype(np.uint8).reshape(32, 32, 1)
        return [{"image": resized(image, box(32, 32), size), "label": 0} for box in choose]


def test_crops_are_drawn_anew_for_every_image_and_epoch():
    batches = first(dataclasses.replace(stream(), source=Same(np.arange(4))).batches(4, key=KEY), 3)
    assert len({image.tobytes() for batch in batches for image in batch["image"]}) == 12


def test_of_a_square_a_crop_of_all_its_area_is_the_whole():
    whole = dataclasses.replace(stream(crop_scale=(1.0, 1.0)), source=Same(np.arange(4)))
    (batch,) = first(whole.batches(4, key=KEY), 1)
    np.testing.assert_array_equal(batch["image"], whole.dataset()["image"])


@pytest.mark.parametrize("start", [0, 1, 2, 3, 9])
def test_the_position_is_restored_in_order(start):
    whole, rest = list(stream().batches(10)), list(stream().batches(10, start=start))
    assert [batch["index"].tolist() for batch in rest] == [batch["index"].tolist() for batch in whole[start:]]


@pytest.mark.parametrize("start", [1, 3, 4, 6])
def test_the_position_is_restored(start):
    whole, rest = first(stream().batches(5, key=KEY), 8), first(stream().batches(5, key=KEY, start=start), 8 - start)
    for a, b in zip(whole[start:], rest, strict=True):
        assert {name: array.tolist() for name, array in a.items()} == {n: array.tolist() for n, array in b.items()}


KILLED = """
import json, os, sys
import jax
sys.path.insert(0, os.getcwd())
from tests.data.test_stream import stream
if __name__ == "__main__":
    start = int(sys.argv[1])
    for number, batch in enumerate(stream().batches(5, key=jax.random.key(0), start=start), start):
        print(json.dumps([number, batch["index"].tolist(), int(batch["image"].sum())]), flush=True)
        if number == int(sys.argv[2]):
            os.kill(os.getpid(), 9)
"""


def test_a_run_that_is_killed_goes_on_with_the_same_batches():
    def run(start, last):
        command = [sys.executable, "-c", KILLED, str(start), str(last)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2], check=False
        )
        assert done.returncode == -9, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    assert run(0, 5) + run(6, 9) == [
        [number, batch["index"].tolist(), int(batch["image"].sum())]
        for number, batch in enumerate(first(stream().batches(5, key=KEY), 10))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("key", [None, KEY], ids=["in order", "shuffled"])
@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_change_nothing(workers, key):
    if workers > (os.cpu_count() or 1):
        pytest.skip(f"fewer than {workers} cores")
    gc.collect()  # Python warns where it finds the semaphores of earlier processes while it makes new ones
    threads, processes = (first(stream(workers=n).batches(5, key=key, start=1), 4) for n in (0, workers))
    for a, b in zip(threads, processes, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_processes_share_the_rows_of_each_batch(monkeypatch):
    whole = first(stream().batches(6, key=KEY), 5)
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    parts = []
    for process in range(3):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        parts.append(first(stream().batches(6, key=KEY), 5))
    for batch, shares in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate([share["index"] for share in shares]), batch["index"])
    with pytest.raises(ValueError, match=r"batches: expected rows for 3 processes, got 5\. Change batch_size\."):
        stream().batches(5, key=KEY)


def test_take_split_and_folds_work_as_on_data_sets():
    rest, held = data.split(stream(), 0.25, key=KEY)
    assert rest.size + held.size == 23
    assert abs(held["label"].mean() - 0.5) < 0.2
    assert sum(fold.size for _, fold in data.folds(stream(), 4, key=KEY)) == 23
    assert data.per_class(stream(), 3, key=KEY).size == 6
    np.testing.assert_array_equal(stream().take([5, 2])["label"], [1, 0])
    np.testing.assert_array_equal(stream().take([-1, 2, -23]).source.numbers, [22, 2, 0])
    parts = [stream(), rest, held, stream().take([5, 2]), stream().take([2, 5])]
    assert len({part.info.fingerprint for part in parts}) == len(parts)  # a run goes on with its own part alone
    for same in ([5, 2], np.asarray([5, 2], np.int32), [5 - stream().size, 2]):
        assert stream().take(same).info == parts[3].info


def test_no_two_draws_are_one(monkeypatch):
    """NumPy fills seeds up with zeros: (5, 6, 7) and (5, 6, 7, 0) are the same."""
    seeds, make = [], np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: seeds.append(seed) or make(seed))
    first(stream(7).batches(7, key=jax.random.key(5)), 2)
    streams = {tuple(make(seed).integers(0, 2**31, 4).tolist()) for seed in seeds}
    assert len(streams) == len(set(seeds)) > 7


def test_a_stream_in_memory():
    whole = stream().dataset()
    assert whole["image"].shape == (23, 6, 6, 1)
    assert whole.info.mean == (0.4,)
    np.testing.assert_array_equal(whole["label"], stream()["label"])


def test_an_example_that_cannot_be_read_says_so():
    class Broken(Squares):
        def parts(self, indices, choose, size):
            raise ValueError(f"image {indices[0]} is torn")

    with pytest.raises(ValueError, match=r"image \d is torn"):
        list(dataclasses.replace(stream(), source=Broken(np.arange(4))).batches(2))


def test_on_device_keeps_the_order_and_closes_what_it_reads():
    class Batches:
        closed = False

        def __iter__(self):
            return iter([{"a": np.full(2, i)} for i in range(5)])

        def close(self):
            self.closed = True

    batches = Batches()
    assert [int(batch["a"][0]) for batch in on_device(batches)] == list(range(5))
    assert batches.closed


# Crops


def test_the_middle_square():
    assert middle(10, 20) == (5, 0, 15, 10)
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, 4:16] = 200  # Pillow also looks at the pixels beside the square
    assert (resized(image, middle(10, 20), 5) == 200).all()


def test_crops_have_the_areas_and_shapes_that_were_asked_for():
    random = np.random.default_rng(0)
    boxes = np.array([draw(60, 80, random=random, scale=(0.25, 0.5)) for _ in range(2000)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    area, aspect = width * height / 4800, width / height
    assert (boxes[:, :2] >= 0).all()
    assert boxes[:, 2].max() <= 80
    assert boxes[:, 3].max() <= 60
    assert 0.24 < area.min() < 0.26 < 0.48 < area.max() < 0.52
    assert 0.73 < aspect.min() < 0.77 < 1.3 < aspect.max() < 1.36
    np.testing.assert_allclose(np.log(aspect).mean(), 0, atol=0.02)
    np.testing.assert_allclose(area.mean(), 0.375, atol=0.01)


@pytest.mark.parametrize(
    ("size", "box"), [((12, 48), (16, 0, 32, 12)), ((48, 12), (0, 16, 12, 32)), ((1, 9), (4, 0, 5, 1))]
)
def test_where_no_crop_fits_it_is_the_largest_in_the_middle(size, box):
    assert draw(*size, random=np.random.default_rng(0), scale=(1, 1)) == box


def test_a_crop_of_everything_is_pillows_resize():
    from PIL import Image

    image = np.random.default_rng(0).integers(0, 256, (12, 12, 3)).astype(np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((5, 5), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resized(image, middle(12, 12), 5), expected)


# Training


NET = Sequential(normalize=Normalize((0.4,), (0.3,)), conv=Conv(4), act=F.relu, pool=GlobalAvgPool(), head=Dense(2))


def test_fit_evaluate_and_predict_take_streams():
    train, test = data.split(stream(60), 0.2, key=KEY)
    result = training.fit(NET, train, validation=0.2, epochs=3, batch_size=8, key=KEY)
    state = result.state
    assert result.history[-1]["validation_accuracy"] == 1.0
    steps = result.train.size // 8
    assert all(0 <= entry["data_wait_ms"] * steps <= 1e3 * entry["seconds"] for entry in result.history)
    measured = training.evaluate(NET, state.params, state.model_state, test, batch_size=5)
    in_memory = training.evaluate(NET, state.params, state.model_state, test.dataset(), batch_size=5)
    assert measured == pytest.approx(in_memory, rel=1e-5)
    logits = training.predict(NET, state.params, state.model_state, test, batch_size=5)
    assert (logits.argmax(-1) == test["label"]).all()


def test_batches_know_their_examples_and_their_epoch():
    seen = []

    def augment(key, batch):
        jax.debug.callback(lambda i, e: seen.append((np.asarray(i), np.asarray(e))), batch["index"], batch["epoch"])
        return batch

    for train in (stream(), stream().dataset()):
        training.fit(NET, train, epochs=2, batch_size=10, key=KEY, augment=augment)
        jax.effects_barrier()
        assert sorted(int(e[0]) for _, e in seen) == [0, 0, 1, 1]
        assert all(i.shape == e.shape == (10,) and len(set(i.tolist())) == 10 for i, e in seen)
        seen.clear()


@pytest.mark.slow
def test_replays_give_a_batch_of_a_stream_again():
    seen = []

    def augment(key, batch):
        jax.debug.callback(lambda i, e: seen.append((tuple(i.tolist()), int(e[0]))), batch["index"], batch["epoch"])
        return batch

    training.fit(NET, stream(), epochs=2, batch_size=10, key=KEY, augment=augment)
    jax.effects_barrier()
    once = list(seen)
    seen.clear()
    training.fit(NET, stream(), epochs=2, batch_size=10, key=KEY, augment=augment, replays=3)
    jax.effects_barrier()
    assert seen == [batch for batch in once for _ in range(3)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, r"Stream: expected image_size as a positive int, got 0\. "),
        ({"crop_scale": (0.0, 1.0)}, r"Stream: expected crop_scale \(low, high\) in \(0, 1\], got \(0\.0, 1\.0\)\. "),
        ({"crop_scale": (0.9, 0.5)}, r"Stream: expected crop_scale"),
        ({"crop_scale": 0.5}, r"Stream: expected crop_scale \(low, high\) in \(0, 1\], got 0\.5\. "),
        ({"crop_scale": (0.1, 0.5, 1)}, r"Stream: expected crop_scale"),
        ({"workers": -1}, r"Stream: expected workers in 0\.\.\d+, the cores here, got -1\. 0 uses threads\."),
        ({"workers": 10_000}, r"Stream: expected workers in 0\.\.\d+, the cores here, got 10000\. "),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        stream(**options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, r"batches: expected batch_size as a positive int, got 0\. "),
        ({"batch_size": 24, "key": KEY}, r"batches: expected a batch_size of at most 23, got 24\. Lower it\."),
        ({"batch_size": 5, "start": -1}, r"batches: expected start as an int >= 0, got -1\. "),
        ({"batch_size": 5, "key": 0}, r"batches: expected one PRNG key, got 0\. "),
    ],
)
def test_bad_batches(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        stream().batches(**arguments)


@pytest.mark.parametrize("of", [stream, lambda: stream().dataset()], ids=["Stream", "Dataset"])
@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 23], r"indices of 23 examples, got \[0, 23\]\. Pass integers"),
        (np.ones(5, bool), r"indices of 23 examples, got an array of shape \(5,\)"),
        ([0.5], r"indices of one axis, integers or bools, got \[0\.5\]\. "),
        ([[0, 1]], r"indices of one axis, integers or bools, got \[\[0, 1\]\]\. "),
        ([], r"at least one example, got none\. Check how"),
        (np.zeros(23, bool), r"at least one example, got none\. Check how"),
    ],
)
def test_bad_indices(of, indices, message):
    with pytest.raises((ValueError, TypeError), match=f"^{type(of()).__name__}: expected {message}"):
        of().take(indices)


def test_images_have_no_array():
    with pytest.raises(KeyError, match=r"Stream: expected the name .*label.*, got .*image"):
        stream()["image"]
    with pytest.raises(KeyError, match=r"Stream: expected the name .*label.*, got an array"):
        stream()[np.arange(2)]
    assert jnp.shape(stream()["label"]) == (23,)


# --- runs that stop and go on


def train_stream(folder, workers=0, **options):
    """Return the fingerprint of the end, and what each step of this process saw.

    23 examples in batches of 5: a tail of three is left over in each epoch.
    """
    seen = []

    def number(outputs, batch):  # another order, another sum
        return batch["index"].astype(jnp.float32) * (1 + jnp.arange(len(outputs))) ** 2

    def note(event):
        if event.kind == "step":
            seen.append((event.step, float(event.metrics["number"])))
            if event.step == options.get("stop"):
                raise RuntimeError("stop here")

    try:
        result = training.fit(
            NET,
            stream(workers=workers),
            validation=stream(7),
            epochs=3,
            batch_size=5,
            key=KEY,
            metrics={"number": number},
            run_dir=folder,
            resume=True,
            callbacks=[note],
        )
    except RuntimeError:
        return None, seen
    return jaxcnn.fingerprint(result.state), seen


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return train_stream(tmp_path_factory.mktemp("stream"))


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 3, 4, 10])
def test_a_run_goes_on_at_every_position(stop, undisturbed, tmp_path):
    _, before = train_stream(tmp_path, stop=stop)
    end, after = train_stream(tmp_path)
    assert before + after == undisturbed[1]
    assert end == undisturbed[0]


def test_worker_processes_give_the_same_run(undisturbed, tmp_path):
    workers = min(2, os.cpu_count() or 1)
    _, before = train_stream(tmp_path, workers=workers, stop=6)
    end, after = train_stream(tmp_path, workers=workers)
    assert before + after == undisturbed[1]
    assert end == undisturbed[0]
