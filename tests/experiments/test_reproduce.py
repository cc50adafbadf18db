"""Training again from a record, and what a record must hold."""

import dataclasses
import hashlib
import json
import typing
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from experiments import reproduce, train
from experiments.framework import run_record, runner
from jaxcnn import report
from jaxcnn.training import environment

pytestmark = pytest.mark.usefixtures("quick_compilation")
DATA = {name: {"name": "digits", "size": 9, "sha256": name[0].encode().hex()[-1] * 64} for name in ("train", "test")}
LINES = [
    {"epoch": n, "train_loss": 1 / n, "seconds": n / 7, "images_per_second": 7.0, "params_sha256": str(n) * 64}
    for n in (1, 2, 3)
]


def write(path, value):
    path.write_text(json.dumps(value))


def write_lines(folder, lines):
    (Path(folder) / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def folder(tmp_path):
    """Return the record of a finished training."""
    config = train.resolve(train.Config(run=str(tmp_path), resume="runs/x", convolutions=(1, 2)))
    write(tmp_path / "config.json", {"experiment": "train", "config": dataclasses.asdict(config)})
    here = {**environment(), "diff_sha256": None, "started": "today", "command": "python -m experiments.train"}
    write(tmp_path / "environment.json", here)
    write(tmp_path / "data.json", DATA)
    write(tmp_path / "figures.json", {})
    write_lines(tmp_path, LINES)
    return tmp_path


@pytest.fixture
def replay(folder, monkeypatch, capsys):
    """Return `replay(lines)`: the answer and what is printed where training again gives those epochs."""
    same_code = {name: json.loads((folder / "environment.json").read_text())[name] for name in ("revision",)}
    monkeypatch.setattr(reproduce, "environment", lambda: {**environment(), **same_code, "diff_sha256": None})

    def replayed(lines, data=DATA):
        def main(config):
            assert config.resume is None
            assert Path(config.run) != folder
            write_lines(config.run, lines)
            write(Path(config.run) / "data.json", data)

        monkeypatch.setattr(reproduce.train, "main", main)
        same = reproduce.reproduce(folder)
        return same, capsys.readouterr().out

    return replayed


def test_the_same_parameters_are_identical_whatever_the_time(replay):
    same, out = replay([{**line, "seconds": 1e9, "images_per_second": 0.1} for line in LINES])
    assert same
    assert out == f"identical: 3 epochs, parameters {'3' * 64}\n"


def test_the_first_epoch_that_differs_is_named_with_its_figures(replay):
    other = {**LINES[1], "params_sha256": "0" * 64, "train_loss": 0.25, "seconds": 9.0}
    same, out = replay([LINES[0], other, {**LINES[2], "params_sha256": "0" * 64}])
    assert not same
    assert (
        out
        == f"differs from epoch 2 on: {{'train_loss': (0.5, 0.25), 'params_sha256': ({'2' * 64!r}, {'0' * 64!r})}}\n"
    )


@pytest.mark.parametrize(
    ("now", "said"), [(LINES[:2], "3 epochs then, 2 now"), ([*LINES, {**LINES[2]}], "3 epochs then, 4 now")]
)
def test_another_number_of_epochs_differs(replay, now, said):
    same, out = replay(now)
    assert not same
    assert out == f"differs: {said}, equal as far as both go\n"


def test_a_run_that_is_not_finished_is_compared_as_far_as_it_goes(replay, folder):
    (folder / "figures.json").unlink()
    write_lines(folder, LINES[:2])
    same, out = replay(LINES)
    assert same
    assert out == (
        f"identical: 2 epochs, parameters {'2' * 64}, as far as the run goes: it is not finished (3 epochs now)\n"
    )
    same, out = replay([LINES[0], {**LINES[1], "params_sha256": "0" * 64}, LINES[2]])
    assert not same
    assert "differs from epoch 2 on" in out


def test_what_differs_between_the_environments_is_listed(replay, folder):
    there = json.loads((folder / "environment.json").read_text())
    diff = b"diff --git a/x b/x\n"
    (folder / "diff.patch").write_bytes(diff)
    there |= {"xla_flags": "--xla_old", "revision": "a" * 40 + "+", "diff_sha256": hashlib.sha256(diff).hexdigest()}
    there["packages"]["jax"] = "0.0.1"
    write(folder / "environment.json", there)
    starts = [{**there, "step": 0}, {**there, "step": 40, "devices": 8}]
    (folder / "starts.jsonl").write_text("".join(json.dumps(start) + "\n" for start in starts))
    data = {**DATA, "test": {**DATA["test"], "size": 10}}
    same, out = replay([{**line, "params_sha256": "0" * 64} for line in LINES], data)
    assert not same
    for line in (
        f"  packages.jax: 0.0.1 then, {jax.__version__} now",
        f"  xla_flags: --xla_old then, {environment()['xla_flags']} now",
        "  data.test.size: 9 then, 10 now",
        f"  devices: 8 then, {jax.device_count()} now (gone on with from step 40)",
        f"The code of then: `git checkout {'a' * 40}` and `git apply {folder}/diff.patch`",
    ):
        assert out.splitlines().count(line) == 1, line


def broken(folder, file, change):
    path = folder / file
    record = json.loads(path.read_text())
    change(record)
    write(path, record)


@pytest.mark.parametrize("name", sorted(typing.get_type_hints(run_record.Environment)))
def test_each_field_of_the_environment_is_needed(folder, name):
    broken(folder, "environment.json", lambda record: record.pop(name))
    with pytest.raises(ValueError, match=rf"^reproduce: expected .*environment\.json with the field '{name}', got"):
        reproduce.read_record(folder)


def test_the_environment_is_recorded_whole(folder):
    record = json.loads((folder / "environment.json").read_text())
    assert record.keys() == typing.get_type_hints(run_record.Environment).keys()
    config, there, data = reproduce.read_record(folder)
    assert (there, data) == (record, DATA)
    assert config == train.resolve(train.Config(run=str(folder), resume="runs/x", convolutions=(1, 2)))


@pytest.mark.parametrize(
    ("file", "change", "field"),
    [
        ("config.json", lambda record: record["config"].pop("momentum"), "momentum"),
        ("config.json", lambda record: record["config"].update(extra=1), "extra"),
        ("config.json", lambda record: record["config"].update(epochs="ten"), "epochs"),
        ("config.json", lambda record: record["config"].update(device="abacus"), "device"),
        ("config.json", lambda record: record["config"].update(convolutions=[1, "two"]), "convolutions"),
        ("environment.json", lambda record: record.update(weather="fine"), "weather"),
        ("environment.json", lambda record: record.update(devices="one"), "devices"),
        ("environment.json", lambda record: record.update(devices=True), "devices"),
        ("environment.json", lambda record: record["packages"].update(jax=12), "packages"),
        ("environment.json", lambda record: record.update(lock_sha256="12"), "lock_sha256"),
        ("environment.json", lambda record: record.update(diff_sha256="0" * 64), "diff_sha256"),
        ("data.json", lambda record: record.pop("test"), "test"),
        ("data.json", lambda record: record["train"].pop("size"), "size"),
        ("data.json", lambda record: record["train"].update(sha256=None), "sha256"),
        ("data.json", lambda record: record.update(train="digits"), "data.json"),
    ],
)
def test_a_record_with_a_missing_or_strange_field_is_refused(folder, file, change, field):
    broken(folder, file, change)
    with pytest.raises(ValueError, match=r"^reproduce: expected .*, got .*\. [A-Z].*\.$") as refused:
        reproduce.read_record(folder)
    assert field in str(refused.value)


@pytest.mark.parametrize("file", ["config.json", "environment.json", "data.json", "metrics.jsonl"])
@pytest.mark.parametrize("content", [None, "[", "[]"])
def test_a_file_that_is_missing_or_no_record_is_refused(folder, file, content):
    (folder / file).unlink() if content is None else (folder / file).write_text(content)
    with pytest.raises(ValueError, match=r"^reproduce: expected .*, got .*\."):
        reproduce.read_record(folder)


@pytest.mark.parametrize("lines", [[], LINES[1:], [LINES[0], {"epoch": 2}]])
def test_epochs_that_are_not_whole_are_refused(folder, lines):
    write_lines(folder, lines)
    with pytest.raises(ValueError, match=r"^reproduce: expected .*epoch"):
        reproduce.read_record(folder)


@pytest.mark.parametrize("options", [{"seeds": 2}, {"find_lr": True}])
def test_what_is_not_one_training_is_refused(folder, options):
    broken(folder, "config.json", lambda record: record["config"].update(options))
    with pytest.raises(ValueError, match=r"^reproduce: expected the run of one seed, got"):
        reproduce.read_record(folder)


def test_the_diff_is_written_once_and_another_beside_it(folder, monkeypatch):
    change = [b""]
    monkeypatch.setattr(run_record, "uncommitted", lambda: change[0])
    run_record.write_diff(folder, first=True)
    assert not list(folder.glob("*.patch"))
    for number, change[0] in enumerate((b"one", b"one", b"two", b"one")):
        run_record.write_diff(folder, first=number == 0)
    assert {path.name: path.read_bytes() for path in folder.glob("*.patch")} == {
        "diff.patch": b"one",
        "diff-2.patch": b"two",
    }
    one = hashlib.sha256(b"one").hexdigest()
    broken(folder, "environment.json", lambda record: record.update(diff_sha256=one))
    reproduce.read_record(folder)
    (folder / "diff.patch").write_bytes(b"on")
    with pytest.raises(ValueError, match=r"^reproduce: expected .*diff\.patch with the SHA-256 of 'diff_sha256', got"):
        reproduce.read_record(folder)


def test_a_diff_that_came_later_is_not_that_of_the_first_start(folder, monkeypatch):
    monkeypatch.setattr(run_record, "uncommitted", lambda: b"later")
    run_record.write_diff(folder, first=False)
    assert [path.name for path in folder.glob("*.patch")] == ["diff-2.patch"]


def test_a_long_diff_is_cut_and_says_so(folder, monkeypatch):
    monkeypatch.setattr(run_record, "LONGEST", 10)
    monkeypatch.setattr(run_record, "uncommitted", lambda: b"0123456789abc")
    run_record.write_diff(folder, first=True)
    assert (folder / "diff.patch").read_bytes() == b"0123456789\n# Cut: 13 bytes in all. No patch to apply.\n"
    whole = hashlib.sha256(b"0123456789abc").hexdigest()
    broken(folder, "environment.json", lambda record: record.update(diff_sha256=whole))
    reproduce.read_record(folder)


def test_a_run_goes_on_with_its_own_data_alone(tmp_path):
    def part(name, sha256):
        return SimpleNamespace(size=3, info=SimpleNamespace(name=name, fingerprint=sha256))

    first, second = part("digits", "1" * 64), part("digits", "2" * 64)
    run_record.write_data(tmp_path, first, second)
    assert json.loads((tmp_path / "data.json").read_text())["test"] == {"name": "digits", "size": 3, "sha256": "2" * 64}
    run_record.write_data(tmp_path, first, second)
    with pytest.raises(ValueError, match=r"^data: expected the test set that .* was begun with, got .*1111"):
        run_record.write_data(tmp_path, first, first)


@pytest.mark.slow
def test_a_run_that_was_interrupted_is_replayed_without_a_stop(tmp_path, monkeypatch, capsys):
    still = {"rotation": 0.0, "zoom": 0.0, "shift": 0.0}
    config = train.resolve(train.Config(run=str(tmp_path), epochs=2, batch_size=256, **still))
    monkeypatch.setattr(train.report, "classifier_sections", lambda *_, **__: [report.Section("Training", ["curves"])])

    class Interrupted(train.ProgressBar):
        def __call__(self, event):
            if event.kind == "step" and event.step == 7:
                raise KeyboardInterrupt

    bar = train.ProgressBar
    monkeypatch.setattr(train, "ProgressBar", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.record("train", train.main, config, tmp_path)
    monkeypatch.setattr(train, "ProgressBar", bar)
    assert not (tmp_path / "figures.json").exists()
    assert (tmp_path / "data.json").exists()
    runner.record("train", train.main, dataclasses.replace(config, resume=str(tmp_path)), tmp_path)
    starts = [json.loads(line) for line in (tmp_path / "starts.jsonl").read_text().splitlines()]
    assert [start["step"] for start in starts] == [0, 7]
    assert reproduce.reproduce(tmp_path)
    assert "identical: 2 epochs" in capsys.readouterr().out
