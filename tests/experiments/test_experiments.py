"""The experiments as functions, and what they share."""

import dataclasses
import functools
import importlib.util
import io
import json

import numpy as np
import pytest
from rich.console import Console

from experiments import data, doctor, train
from experiments.__main__ import experiments
from experiments.apparatus import statistics
from experiments.framework import book, run_folder, runner
from experiments.framework.progress import LanesBar, ProgressBar
from jaxcnn.training import Event


def test_the_list_has_a_line_for_each():
    found = experiments()
    assert {"train", "data", "doctor", "reproduce"} <= set(found)
    assert all(found.values())


def test_what_stands_in_the_folder_can_be_run_and_what_it_is_made_with_stands_in_folders():
    beside = {path.stem for path in book.EXPERIMENTS.glob("*.py")} - {"__init__", "__main__"}
    assert beside <= set(experiments())
    assert not [name for name in experiments() if name.startswith(("framework.", "apparatus."))]


def test_the_framework_stands_alone():
    """The book shows all code that made a page, but for the framework."""
    for path in (book.EXPERIMENTS / "framework").glob("*.py"):
        assert not [name for name in book.imported(path.read_text()) if not name.startswith("framework")]


def test_data_describes_the_set(tmp_path, capsys):
    result = data.main(data.Config(run=str(tmp_path)))
    assert result.verdict == "digits: 1,438 training and 359 test images of 10 classes."
    assert "Alpaydin" in capsys.readouterr().out


@pytest.mark.slow
def test_one_batch_is_learned_by_heart_and_too_few_steps_do_not_do(tmp_path, monkeypatch):
    for name in ("sound", "broken"):
        (tmp_path / name).mkdir()
    config = train.resolve(train.Config(run=str(tmp_path / "sound"), overfit_batch=True, batch_size=16))
    result = train.main(config)
    assert result.holds
    assert result.figures["accuracy"] == 1.0
    monkeypatch.setattr(train, "STEPS_BY_HEART", 2)
    assert not train.main(dataclasses.replace(config, run=str(tmp_path / "broken"))).holds


@pytest.mark.parametrize("option", ["find_lr", "overfit_batch"])
def test_what_is_of_one_seed_takes_no_more(option):
    config = train.resolve(train.Config(seeds=5, **{option: True}))
    with pytest.raises(ValueError, match=r"^train: expected --find-lr and --overfit-batch with one seed, got"):
        train.main(config)


@pytest.mark.slow
def test_find_lr_suggests_a_rate(tmp_path):
    result = train.main(train.resolve(train.Config(run=str(tmp_path), find_lr=True, quick=True)))
    assert 1e-3 < result.figures["suggestion"] < 3
    assert "--learning-rate" in result.verdict


def test_augmentation_is_none_when_every_option_is_zero():
    still = {"rotation": 0.0, "zoom": 0.0, "shift": 0.0}
    assert train.augmentation(train.Config(**still)) is None
    assert (
        train.augmentation(train.Config(**still, flip="alternating", crop=2, cutout=4, brightness=0.1, contrast=0.1))
        is not None
    )


def test_a_run_gets_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "RUNS", tmp_path)
    new = functools.partial(run_folder.make_folder, resumable=True)
    assert [new("a").name for _ in range(3)] == ["a", "a-2", "a-3"]
    assert new(f"{run_folder.RUNS}/b") == run_folder.RUNS / "b"  # as --resume is given it


@pytest.mark.parametrize("resumable", [True, False])
def test_a_way_to_go_on_is_named_where_there_is_one(tmp_path, monkeypatch, resumable):
    """Most experiments begin anew, though a training inside of them leaves checkpoints."""
    monkeypatch.setattr(run_folder, "RUNS", tmp_path)
    (tmp_path / "a" / "training" / "checkpoints").mkdir(parents=True)
    (tmp_path / "a" / "training" / "checkpoints" / "1.json").write_text("{}")
    config = train.Config() if resumable else runner.Common()
    with runner.console.capture() as said:
        run_folder.make_folder("a", resumable=resumable)
    assert ("goes on with it" in said.get()) is resumable
    assert ("--resume" in runner.go_on("train", config, tmp_path / "a")) is resumable


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ((), None),
        (("--momentum", "0.8", "--seed", "3", "--device", "cpu"), None),
        (("--momentum", "0.9"), "momentum"),  # the default, which is another than the run's
        (("--seed", "0"), "seed"),
        (("--no-quick",), "quick"),
        (("--save-every", "7"), None),
    ],
)
def test_a_run_goes_on_with_its_own_options(tmp_path, monkeypatch, capsys, options, refused):
    own = train.Config(seed=3, quick=True, momentum=0.8, epochs=2, run=str(tmp_path))
    run_folder.write_json(tmp_path / "config.json", {"experiment": "train", "config": dataclasses.asdict(own)})
    met = []

    def main(config):
        met.append(config)
        return runner.Result({}, [], "It is so.")

    main.__module__ = train.__name__
    monkeypatch.setattr("sys.argv", ["train", "--resume", str(tmp_path), *options])
    with pytest.raises(SystemExit) as ended:
        runner.run(main, train.Config, free=("save_every",))
    if refused:
        assert ended.value.code == runner.BAD_INPUT
        assert (
            f"resume: expected the options of the run that goes on, got ['{refused}'] too." in capsys.readouterr().err
        )
    else:
        assert ended.value.code == 0
        saved, device = 7 if "7" in options else None, "cpu" if "cpu" in options else own.device
        assert met == [dataclasses.replace(own, resume=str(tmp_path), save_every=saved, device=device)]


def test_the_doctor_says_what_is_missing(monkeypatch, capsys):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "skimage" else there(name))
    assert doctor.main() == 1
    assert capsys.readouterr().out.endswith("\nskimage is not installed\n")


def test_a_mean_without_an_interval_is_refused_and_nothing_is_lost(tmp_path):
    sure = statistics.summary([0.24, 0.26])
    for figures in ({"a": sure}, {"mean": [0.5], "rows": [{"mean": 1}]}):
        runner.record("pooling", lambda config: runner.Result(figures, [], "So."), runner.Common(), tmp_path)  # noqa: B023
    del sure["interval"]
    unsure = runner.Result({"a": [{"b": sure}]}, [], "Hardly.")
    with pytest.raises(ValueError, match=r"^record: expected figures\.a\.0\.b with .*, got it without interval\. "):
        runner.record("pooling", lambda config: unsure, runner.Common(), tmp_path)
    assert json.loads((tmp_path / "figures.json").read_text())["verdict"] == "Hardly."
    assert (tmp_path / "report.html").exists()


def test_a_small_run_has_another_name():
    names = [runner.Common(quick=quick, seed=3).ending for quick in (False, True)]
    assert names == ["-seed3", "-quick-seed3"]
    config = train.Config(model="lenet5", quick=True)
    assert train.run_name(config) == "digits-lenet5-quick-seed0"
    assert train.run_name(dataclasses.replace(config, seeds=5, seed=1)) == "digits-lenet5-quick-seeds1-5"
    assert train.run_name(dataclasses.replace(config, quick=False, find_lr=True)) == "find-lr-digits-lenet5-seed0"


def test_the_exit_code_says_whether_it_holds(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run_folder, "RUNS", tmp_path)
    monkeypatch.setattr("sys.argv", ["x", "--seed", "7"])
    for holds, code in ((True, 0), (False, 1)):
        result = runner.Result({"a": 1.5}, [], "It is so.", holds)
        with pytest.raises(SystemExit) as stopped:
            runner.run(lambda config, result=result: result, runner.Common, name=lambda config: f"x{config.seed}")
        assert stopped.value.code == code
    record = json.loads((tmp_path / "x7-2" / "figures.json").read_text())
    assert record["figures"] == {"a": 1.5}
    assert record["holds"] is False
    assert (tmp_path / "x7" / "report.html").exists()
    assert capsys.readouterr().out.endswith("It is so.\n")


def test_the_progress_shows_loss_accuracy_and_speed():
    for terminal in (True, False):
        text = io.StringIO()
        console = Console(file=text, force_terminal=terminal, width=160, color_system=None, highlight=False)
        with ProgressBar(console) as bar:
            bar(Event("start", 0, 0, 2, 3, 8, 0.0))
            bar(Event("compiled", 1, 1, 2, 3, 8, 1.5))
            bar(Event("step", 1, 3, 2, 3, 8, 1.6, {"loss": 0.25, "accuracy": 0.5}))
            entry = {"epoch": 1, "train_loss": 0.25, "train_accuracy": 0.5, "images_per_second": 1234.0}
            bar(Event("epoch", 1, 3, 2, 3, 8, 1.6, entry))
            bar.bar.refresh()
        shown = text.getvalue()
        assert "compiled in 1.5 s" in shown
        assert "train loss 0.2500  train accuracy 0.5000" in shown
        assert "1,234 images/s" in shown


def test_the_progress_of_lanes_shows_how_many_go_on_and_the_best():
    for terminal in (True, False):
        text = io.StringIO()
        console = Console(file=text, force_terminal=terminal, width=160, color_system=None, highlight=False)
        with LanesBar(console) as bar:
            lanes = {"lanes": np.arange(4, 7)}
            bar(Event("start", 1, 0, 2, 3, 8, 0.0, lanes))
            line = {"validation_loss": np.array([0.5, np.nan, 0.25]), "going": np.array([True, False, True])}
            bar(Event("epoch", 1, 3, 2, 3, 8, 1.6, lanes | line))
            bar.bar.refresh()
        assert "lanes 4-6" in text.getvalue()
        assert "epoch 1/2  2 of 3 going  best validation loss 0.2500" in text.getvalue()


def test_the_doctor_finds_this_installation_sound(capsys):
    assert doctor.main() == 0
    assert "All is well." in capsys.readouterr().out


def test_a_start_is_noted_once_its_checkpoint_is_loaded(tmp_path, capsys):
    run_folder.note_start(tmp_path, run_folder.begun("train"))
    note = run_folder.notes_resumption(tmp_path, "train")
    begins = Event("start", 3, 50, 6, 20, 64, 0.0)
    note(begins)
    note(dataclasses.replace(begins, kind="step"))
    assert [start["step"] for start in run_folder.read_starts(tmp_path)] == [0, 50]
    assert capsys.readouterr().out == "goes on from step 50, in epoch 3\n"
    note(dataclasses.replace(begins, step=0, epoch=1))
    assert capsys.readouterr().out == "no checkpoint yet: begins again\n"


def test_damaged_options_are_not_taken_for_none(tmp_path):
    stored = lambda: run_folder.stored_options("resume", "train", runner.Common, tmp_path)  # noqa: E731
    with pytest.raises(ValueError, match=r"^resume: expected the folder of a run, got .*\. Pass runs/NAME\.$"):
        stored()
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"^resume: expected .*config\.json as the run wrote it, got a damaged file"):
        stored()
