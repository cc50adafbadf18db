"""Checkpoints: the bits come back, whatever is not whole or not of this net is refused, and saving loses nothing."""

import functools
import json
import os
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from orbax.checkpoint import v1 as orbax

from jaxcnn import data, fingerprint
from jaxcnn import functional as F
from jaxcnn.layers import Dense, Sequential
from jaxcnn.surgery import edit
from jaxcnn.training import TrainState, checkpoint, load_checkpoint, make_train_step, save_checkpoint, sgd
from jaxcnn.training.checkpoint import _describe, _read, latest_checkpoint

OPTIMIZER = sgd(lambda count: 0.1 / (1 + count))  # its state has a count and the momentum of every parameter


def template(net, easy, optimizer=OPTIMIZER):
    return jax.eval_shape(lambda: TrainState.create(net, optimizer, jax.random.key(9), easy.spec))


@pytest.fixture(scope="module")
def step(net):
    return jax.jit(make_train_step(net, OPTIMIZER))


@pytest.fixture(scope="module")
def state(net, easy, step):
    """A state after three steps."""
    state = TrainState.create(net, OPTIMIZER, jax.random.key(0), easy.spec)
    for _ in range(3):
        state, _ = step(state, dict(easy.take(range(12))))
    return state


@pytest.fixture(scope="module")
def stored(net, state, tmp_path_factory):
    """A folder with that state, which no test may change."""
    folder = tmp_path_factory.mktemp("checkpoints") / "made" / "for it"
    save_checkpoint(folder, net, state)
    return folder


@pytest.fixture
def copy(stored, tmp_path):
    return shutil.copytree(stored, tmp_path / "copy")


def written(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def later(state, step=4):
    """Another state, of a later step."""
    return state.replace(step=jnp.int32(step), params=jax.tree.map(jnp.negative, state.params))


# --- round trip


def test_the_bits_come_back(net, state, stored, easy):
    restored = load_checkpoint(stored, net, template(net, easy))
    assert fingerprint(restored) == fingerprint(state)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert type(restored) is TrainState
    assert restored.key.dtype == state.key.dtype
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(restored))


def test_the_folder_of_the_run_will_do(net, state, stored, easy, tmp_path):
    shutil.copytree(stored, tmp_path / "run" / "checkpoints")
    assert fingerprint(load_checkpoint(tmp_path / "run", net, template(net, easy))) == fingerprint(state)


@pytest.mark.slow
def test_training_goes_on_as_if_never_stopped(net, step, state, stored, easy):
    batch = dict(easy.take(range(12)))
    restored = load_checkpoint(str(stored), net, TrainState.create(net, OPTIMIZER, jax.random.key(5), easy.spec))
    assert fingerprint(step(restored, batch)) == fingerprint(step(state, batch))


def test_relative_paths_and_nets_that_cannot_be_saved(net, state, easy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    edited = edit(net, {"hidden": lambda y: 2 * y})
    save_checkpoint("here", edited, state)
    assert fingerprint(load_checkpoint("here", edited, template(net, easy))) == fingerprint(state)
    with pytest.raises(ValueError, match=r"^load_checkpoint: expected a checkpoint of this net"):
        load_checkpoint("here", net, template(net, easy))


def test_the_best_state_and_a_record_beside_the_last_one(net, state, copy, easy):
    record = {"figures": [1.5, None, float("inf")], "name": "\u00e9"}
    save_checkpoint(copy, net, later(state), best=state, record=record)
    assert fingerprint(load_checkpoint(copy, net, template(net, easy))) == fingerprint(state)
    assert fingerprint(load_checkpoint(copy, net, template(net, easy), last=True)) == fingerprint(later(state))
    found = latest_checkpoint(copy, net, template(net, easy))
    assert (fingerprint(found.state), fingerprint(found.best)) == (fingerprint(later(state)), fingerprint(state))
    assert found.record == record


# --- damage


def damaged(name):
    return {
        "half": lambda content: content[: len(content) // 2],
        "empty": lambda content: b"",
        "a byte short": lambda content: content[:-1],
        "one bit": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        "longer": lambda content: content + b"0",
    }[name]


@pytest.mark.parametrize("how", ["half", "empty", "a byte short", "one bit", "longer"])
def test_every_damaged_file_is_noticed(how, net, copy, easy):
    like, tried = template(net, easy), 0
    for path in sorted(path for path in copy.rglob("*") if path.is_file()):
        content = path.read_bytes()
        harmed = damaged(how)(content) if content else content
        if harmed == content:
            continue
        path.write_bytes(harmed)
        record = path.suffix == ".json"
        message = (
            "the record of a checkpoint" if record else rf"the files that were written, got .*{re.escape(path.name)}"
        )
        with pytest.raises(
            ValueError, match=rf"^load_checkpoint: expected .*{message}.*Use another .* None in .* is whole\.$"
        ):
            load_checkpoint(copy, net, like)
        path.write_bytes(content)
        tried += 1
    assert tried >= 6
    load_checkpoint(copy, net, like)  # all is well again


def test_files_that_are_missing_or_came_in_addition(net, copy, easy):
    victims = sorted(path for path in copy.rglob("*") if path.is_file() and path.suffix != ".json")
    for path in victims:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(ValueError, match=rf"^load_checkpoint: expected the files .*{re.escape(path.name)}"):
            load_checkpoint(copy, net, template(net, easy))
        path.write_bytes(content)
    (copy / "3.0" / "extra").write_text("")
    with pytest.raises(ValueError, match=r"^load_checkpoint: expected the files .*'extra'"):
        load_checkpoint(copy, net, template(net, easy))


@pytest.mark.parametrize("content", ["[]", "{}", "3", '{"checkpoint": {"step": 3}, "sha256": ""}', "[" * 100_000])
def test_records_of_something_else(content, net, copy, easy):
    (copy / "3.json").write_text(content)
    with pytest.raises(ValueError, match=r"^load_checkpoint: expected the record of a checkpoint, got .*3\.json"):
        load_checkpoint(copy, net, template(net, easy))


def test_folders_without_a_checkpoint(net, easy, tmp_path):
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(
            ValueError, match=r"^load_checkpoint: expected a folder with a checkpoint, got .*Give run_dir"
        ):
            load_checkpoint(folder, net, template(net, easy))


def mutated(random, content, other):
    """Return a file's content damaged in one of five ways: a bit, a cut, zeros, none of it, another file's."""
    at = int(random.integers(max(len(content), 1)))
    how = random.integers(5)
    if how == 0 and content:
        return content[:at] + bytes([content[at] ^ (1 << int(random.integers(8)))]) + content[at + 1 :]
    if how == 1:
        return content[:at]
    if how == 2:
        return content[:at] + bytes(len(content) - at)
    return None if how == 3 else other


@pytest.mark.slow
def test_a_thousand_mutations_none_of_them_restored(net, state, copy):
    """Every file of two checkpoints, in all ways: the damaged one is refused, the other one stays good."""
    save_checkpoint(copy, net, later(state), best=state, record={"lines": [{"loss": 0.25}]})
    random, files = np.random.default_rng(0), sorted(path for path in copy.rglob("*") if path.is_file())
    good = {path: path.read_bytes() for path in files}
    assert {_read(copy / "3.json")["step"], _read(copy / "4.json")["step"]} == {3, 4}
    tried = 0
    while tried < 1000:
        path, donor = (files[at] for at in random.choice(len(files), 2, replace=False))
        harmed = mutated(random, good[path], good[donor])
        if harmed == good[path]:
            continue
        path.unlink() if harmed is None else path.write_bytes(harmed)
        step = path.relative_to(copy).parts[0][0]
        if path.exists() or path.suffix != ".json":
            with pytest.raises(ValueError, match=r"^load_checkpoint: expected the (record|files) .*Use another"):
                _read(copy / f"{step}.json")
        assert _read(copy / f"{7 - int(step)}.json")["step"] == 7 - int(step)
        path.write_bytes(good[path])
        tried += 1


def test_the_last_good_one_is_taken_and_it_is_said(net, state, copy, easy):
    save_checkpoint(copy, net, later(state))
    random = np.random.default_rng(1)
    for path in sorted(path for path in copy.rglob("4.0/**/*") if path.is_file() and path.stat().st_size):
        good = path.read_bytes()
        path.write_bytes(mutated(random, good, b"other") or b"")
        with pytest.warns(UserWarning, match=r"^load_checkpoint: expected .* The one of step 3 is taken\.$"):
            assert fingerprint(load_checkpoint(copy, net, template(net, easy))) == fingerprint(state)
        path.write_bytes(good)


def test_swapped_records(net, state, copy, easy):
    save_checkpoint(copy, net, later(state))
    three, four = (copy / "3.json").read_bytes(), (copy / "4.json").read_bytes()
    (copy / "3.json").write_bytes(four)
    (copy / "4.json").write_bytes(three)
    with pytest.raises(ValueError, match=r"^load_checkpoint: expected the record"):
        load_checkpoint(copy, net, template(net, easy))


# --- of another training


def test_another_net_is_refused_with_the_first_difference(net, stored, easy):
    before = written(stored)
    other = Sequential(**{**net.layers, "hidden": Dense(9, use_bias=False)})
    with pytest.raises(
        ValueError, match=r"^load_checkpoint: expected a checkpoint of this net, got .*\)\. Build"
    ) as caught:
        load_checkpoint(stored, other, template(other, easy))
    assert '(first difference: "features": 8, there, "features": 9, here)' in str(caught.value)
    assert written(stored) == before


def test_another_format_is_refused(net, copy, easy, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    with pytest.raises(
        ValueError, match=r"^load_checkpoint: expected a checkpoint of format 2, got format 1\. Read it"
    ):
        load_checkpoint(copy, net, template(net, easy))


def test_another_optimizer_is_refused_with_the_first_difference(net, stored, easy):
    with pytest.raises(ValueError, match=r"^load_checkpoint: expected a checkpoint of this optimizer") as caught:
        load_checkpoint(stored, net, template(net, easy, optax.adam(0.1)))
    there, here = ".opt_state[1][0].trace['head']['bias'] float32[3]", ".opt_state[0].count int32[]"
    assert f"(first difference: {there} there, {here} here)" in str(caught.value)


def test_another_image_size_is_refused(net, stored, easy):
    larger = data.from_arrays(np.zeros((2, 5, 4, 1), np.uint8))
    with pytest.raises(
        ValueError, match=r"first difference: .*\['hidden'\]\['kernel'\] float32\[16, 8\].*float32\[20, 8\]"
    ):
        load_checkpoint(stored, net, template(net, larger))


# --- saving


def test_a_later_checkpoint_takes_the_place_of_the_one_before(net, state, copy, easy):
    save_checkpoint(copy, net, later(state))
    assert sorted(path.name for path in copy.iterdir()) == ["3.0", "3.json", "4.0", "4.json"]
    assert fingerprint(load_checkpoint(copy, net, template(net, easy))) == fingerprint(later(state))
    save_checkpoint(copy, net, later(state, 5), keep=1)
    assert sorted(path.name for path in copy.iterdir()) == ["5.0", "5.json"]
    save_checkpoint(copy, net, later(state), keep=2)  # an earlier step counts among those that stay
    assert sorted(path.name for path in copy.iterdir()) == ["4.0", "4.json", "5.0", "5.json"]


def test_another_one_of_the_same_step_takes_its_place(net, state, copy, easy):
    save_checkpoint(copy, net, later(state, 3), record={"finished": True})
    assert sorted(path.name for path in copy.iterdir()) == ["3.1", "3.json"]
    found = latest_checkpoint(copy, net, template(net, easy))
    assert fingerprint(found.state) == fingerprint(later(state, 3))
    assert found.record == {"finished": True}


def test_what_is_no_checkpoint_is_left_alone(net, state, copy):
    (copy / "photographs").mkdir()
    (copy / "photographs" / "mine").touch()
    (copy / "3.old").mkdir()
    (copy / "notes.unfinished").touch()
    save_checkpoint(copy, net, later(state), keep=1)
    assert sorted(path.name for path in copy.iterdir()) == [
        "3.old",
        "4.0",
        "4.json",
        "notes.unfinished",
        "photographs",
    ]


def test_a_net_is_told_by_what_it_is_not_by_where_it_lies():
    """The text of a bound function has an address in it, which is another one in each process."""
    slopes = [Sequential(act=functools.partial(F.leaky_relu, negative_slope=slope)) for slope in (0.1, 0.2)]
    assert " at 0x" in repr(slopes[0])
    assert " at 0x" not in _describe(slopes[0])
    assert _describe(slopes[0]) != _describe(slopes[1])


def test_an_unfinished_save_is_passed_over_and_then_replaced(net, state, copy, easy):
    (copy / "4.0" / "state").mkdir(parents=True)
    (copy / "4.0" / "state" / "half").write_text("...")
    (copy / "4.unfinished").write_text("{")
    assert load_checkpoint(copy, net, template(net, easy)).step == 3
    save_checkpoint(copy, net, later(state))
    assert load_checkpoint(copy, net, template(net, easy)).step == 4
    assert not list(copy.rglob("half"))


@pytest.mark.parametrize(
    ("module", "name", "error"),
    [
        (orbax, "save", ValueError("OUT_OF_RANGE: No space left on device")),  # TensorStore's
        (os, "replace", OSError(28, "No space left on device")),
    ],
    ids=["files", "record"],
)
def test_a_save_that_fails_keeps_the_one_before(module, name, error, net, state, copy, easy, monkeypatch):
    def fail(*args, **options):
        raise error

    before = written(copy)
    with monkeypatch.context() as patch:
        patch.setattr(module, name, fail)
        with pytest.raises(
            OSError, match=r"^save_checkpoint: expected a folder that can be written, got .*No space left"
        ):
            save_checkpoint(copy, net, later(state))
    assert before.items() <= written(copy).items()
    assert fingerprint(load_checkpoint(copy, net, template(net, easy))) == fingerprint(state)
    save_checkpoint(copy, net, later(state))
    assert load_checkpoint(copy, net, template(net, easy)).step == 4


def test_saving_below_a_file_fails_at_once_and_leaves_it(net, state, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(
        OSError, match=r"^save_checkpoint: expected a folder that can be written, got .*file.* \(.+\)\. M"
    ):
        save_checkpoint(tmp_path / "file" / "checkpoints", net, state)
    assert (tmp_path / "file").read_text() == "mine"


def test_the_record_says_what_is_stored(net, stored):
    record = json.loads((stored / "3.json").read_text())["checkpoint"]
    assert record["step"] == 3
    assert json.loads(record["net"])["net"]["type"] == "Sequential"
    assert record["state"][".params['hidden']['kernel']"] == "float32[16, 8]"
    assert record["sha256"].keys() == {
        p.relative_to(stored / "3.0").as_posix() for p in stored.rglob("3.0/**/*") if p.is_file()
    }
