"""`python -m experiments.compare` on folders as `experiments.train` leaves them."""

import json
import math

import pytest

from experiments import compare
from experiments.framework import run_folder, runner
from tests.browser import browser, visit  # noqa: F401 - a fixture

SETTINGS = {"seed": 0, "dataset": "digits", "learning_rate": 0.05, "convolutions": None, "seeds": 1}
ENVIRONMENT = {"python": "3.13.0", "packages": {"jax": "0.12.0"}, "started": "2026-11-01", "command": "python"}


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


def epochs(count, loss=1.0, **more):
    return [
        {"epoch": n, "step": 10 * n, "train_loss": loss / n, "validation_loss": 1.1 * loss / n}
        | {"validation_accuracy": 1 - 0.5 / n, "seconds": 2.0, "images_per_second": 100.0, **more}
        for n in range(1, count + 1)
    ]


def write(folder, history, *, accuracy=None, starts=1, experiment="train", environment=ENVIRONMENT, **settings):
    folder.mkdir(parents=True)
    config = {"experiment": experiment, "config": SETTINGS | {"run": str(folder)} | settings}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "environment.json").write_text(json.dumps(environment))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history))
    (folder / "starts.jsonl").write_text("{}\n" * starts)
    if accuracy is not None:
        end = {"test_accuracy": accuracy, "best_epoch": len(history), "parameters": 1234}
        (folder / "figures.json").write_text(json.dumps({"figures": end}))
    return str(folder)


def write_seeds(folder, accuracies):
    name = write(folder, [], seeds=len(accuracies), accuracy=0.0)
    (folder / "metrics.jsonl").unlink()
    for seed, accuracy in enumerate(accuracies):
        write(folder / f"seed{seed}", epochs(3, loss=1.0 + seed), accuracy=accuracy, seed=seed)
    return name


def compared(*folders):
    return compare.main(compare.Config(runs=folders))


def block(result, title, kind=compare.report.Table):
    (section,) = [section for section in result.pictures if section.title == title]
    return next(part for part in section.blocks if isinstance(part, kind))


def test_the_page_has_results_and_only_what_differs(runs):
    environment = ENVIRONMENT | {"packages": {"jax": "0.11.0"}, "started": "2026-11-02", "command": "python -O"}
    result = compared(
        write(runs / "a", epochs(3), accuracy=0.99),
        write(runs / "b", epochs(5), accuracy=0.97, starts=3, learning_rate=0.1, environment=environment),
    )
    assert block(result, "Results").rows == [
        {"run": "1 a", "test accuracy": 0.99, "sd of seeds": None, "best epoch": 3, "epochs": 3, "parameters": 1234}
        | {"training, s": 6.0, "seeds": 1, "finished": True, "resumed": 0},
        {"run": "2 b", "test accuracy": 0.97, "sd of seeds": None, "best epoch": 5, "epochs": 5, "parameters": 1234}
        | {"training, s": 10.0, "seeds": 1, "finished": True, "resumed": 2},
    ]
    assert list(block(result, "Results").rows[0])[:4] == ["run", "test accuracy", "sd of seeds", "best epoch"]
    assert block(result, "Settings that differ").rows == [
        {"run": "1 a", "learning_rate": 0.05},
        {"run": "2 b", "learning_rate": 0.1},
    ]
    assert block(result, "Environment that differs").rows == [
        {"run": "1 a", "jax": "0.12.0"},
        {"run": "2 b", "jax": "0.11.0"},
    ]
    assert result.verdict == "2 runs, 1 setting differs; highest test accuracy 99.00 % (1 a)."


def test_the_curves_are_those_of_all_runs(runs):
    result = compared(write(runs / "a", epochs(3)), write(runs / "b", epochs(5)))
    pictures = [part for part in result.pictures[0].blocks if not isinstance(part, str)]
    titles = [picture.figure.axes[0].get_title("left") for picture in pictures]
    assert titles == ["validation accuracy", "validation loss", "train loss"]
    for picture in pictures:
        drawn = [line for line in picture.figure.axes[0].lines if line.get_label() == "mean"]
        assert [len(line.get_xdata()) for line in drawn] == [3, 5]


def test_what_is_the_same_is_said_to_be(runs):
    result = compared(write(runs / "a", epochs(1), accuracy=0.9), write(runs / "b", epochs(1), accuracy=0.9))
    assert block(result, "Settings that differ", str) == "Nothing differs."
    assert block(result, "Environment that differs", str) == "Nothing differs."
    assert result.verdict == "2 runs, 0 settings differ; highest test accuracy 90.00 % (1 a, 2 b)."


def test_a_setting_that_a_run_lacks_differs_unless_it_is_none(runs):
    first = write(runs / "a", epochs(1))
    config = json.loads((runs / "a" / "config.json").read_text())
    del config["config"]["convolutions"], config["config"]["dataset"]
    (runs / "a" / "config.json").write_text(json.dumps(config))
    result = compared(write(runs / "b", epochs(1)), first)
    assert block(result, "Settings that differ").rows == [
        {"run": "1 b", "dataset": "digits"},
        {"run": "2 a", "dataset": None},
    ]


def test_several_seeds_are_one_run_with_mean_and_deviation(runs):
    result = compared(write_seeds(runs / "many", [0.98, 0.96, 1.0]), write(runs / "one", epochs(3), accuracy=0.97))
    first = block(result, "Results").rows[0]
    assert (first["test accuracy"], first["sd of seeds"]) == (pytest.approx(0.98), pytest.approx(0.02))
    assert (first["best epoch"], first["seeds"]) == (3, 3)
    figure = block(result, "Curves", compare.report.Picture).figure
    assert len(figure.axes[0].collections) == 1
    assert result.figures["results"]["1 many"]["test accuracy"] == [0.98, 0.96, 1.0]
    assert result.verdict == "2 runs, 1 setting differs; highest test accuracy 98.00 % (1 many)."


def test_a_run_that_is_not_finished_says_so(runs):
    result = compared(write(runs / "a", epochs(3), accuracy=0.9), write(runs / "b", epochs(2)))
    assert block(result, "Curves", str) == "2 b is not finished; epochs so far: 2."
    row = block(result, "Results").rows[1]
    assert (row["test accuracy"], row["epochs"], row["finished"]) == (None, 2, False)
    assert "highest test accuracy 90.00 % (1 a)" in result.verdict
    both = compared(str(runs / "b"), write(runs / "c", epochs(1)))
    assert both.verdict == "2 runs, 0 settings differ; none has a test accuracy yet."


def test_a_run_without_validation_is_compared_by_what_it_has(runs):
    alone = [{"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5}, {"epoch": 2, "train_loss": 0.5}]
    result = compared(write(runs / "a", epochs(3)), write(runs / "b", alone))
    captions = [part.caption for part in result.pictures[0].blocks if not isinstance(part, str)]
    assert [caption.endswith("Without it: 2 b.") for caption in captions] == [True, True, False]


def test_long_values_are_shortened_and_still_told_apart(runs):
    diffs = [ENVIRONMENT | {"diff": "+ line\n" * 100 + end} for end in ("a", "b")]
    result = compared(*(write(runs / d["diff"][-1], epochs(1), environment=d) for d in diffs))
    shown = [row["diff"] for row in block(result, "Environment that differs").rows]
    assert max(map(len, shown)) < 120
    assert shown[0] != shown[1]


@pytest.mark.parametrize("case", ["none", "one", "twice", "no folder", "no record", "other", "empty", "nothing common"])
def test_bad_input_gets_one_sentence_and_leaves_nothing(case, runs, monkeypatch, capsys):
    sound = write(runs / "sound", epochs(2), accuracy=0.9)
    (runs / "bare").mkdir()
    (runs / "bare" / "config.json").write_text('{"experiment": "tr')
    given, message = {
        "none": ([], "compare: expected at least two runs, got 0. Pass their folders, such as runs/NAME."),
        "one": ([sound], "compare: expected at least two runs, got 1. Pass their folders, such as runs/NAME."),
        "twice": ([sound, f"{sound}/../sound"], "compare: expected each run once, got ["),
        "no folder": ([sound, "lost"], "compare: expected the folder of a run, got lost ("),
        "no record": ([sound, str(runs / "bare")], f"compare: expected the folder of a run, got {runs / 'bare'} ("),
        "other": (
            [sound, write(runs / "o", epochs(1), experiment="data")],
            f"compare: expected runs of experiments.train, got {runs / 'o'}, one of data. Pass trainings.",
        ),
        "empty": (
            [sound, write(runs / "e", [])],
            "compare: expected a run with the metrics of one epoch at least",
        ),
        "nothing common": (
            [sound, write(runs / "n", [{"epoch": 1, "validation_boxes": 1.0}])],
            "compare: expected a metric that all runs hold, got {'1 sound': ['train_loss', ",
        ),
    }[case]
    before = sorted(runs.iterdir())
    code, _, err = command(given, monkeypatch, capsys)
    assert code == 2
    assert err.startswith(message)
    assert err.count("\n") == 1
    assert sorted(runs.iterdir()) == before


def command(given, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["compare", *given])
    with pytest.raises(SystemExit) as stopped:
        runner.run(compare.main, compare.Config, name=compare.run_name)
    out, err = capsys.readouterr()
    return stopped.value.code, out, err


@pytest.mark.slow
def test_the_command_writes_a_page_that_opens_quietly(browser, runs, monkeypatch, capsys):  # noqa: F811
    long = "fashion_mnist-cifar_vgg-" + "x" * 120 + "-seed"
    given = [
        write(runs / f"{long}0", epochs(30, loss=2.0), accuracy=0.9, learning_rate=0.1),
        write(runs / f"{long}1", epochs(1, loss=math.nan)),
        write_seeds(runs / "seeds", [0.9, 0.8]),
    ]
    code, out, _ = command(given, monkeypatch, capsys)
    assert code == 0
    (folder,) = runs.glob("compare-*")
    assert out.splitlines()[-1] == json.loads((folder / "figures.json").read_text())["verdict"]
    for width in (375, 1280):
        with visit(browser, folder / "report.html", width=width, scripts=True) as seen:
            assert seen.page.locator("img").count() == 3
            assert seen.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            seen.expect_quiet()
