"""`python -m experiments.train` as a user runs it: in processes of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from experiments import train
from experiments.framework import runner
from tests.browser import browser, visit  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[2]


def command(module, *options, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-m", f"experiments.{module}", *options],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two processes at once: seed 0 alone, and seeds 0 and 1; (folder, output) of each."""
    places = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    options = ["--epochs", "2"], ["--epochs", "2", "--seeds", "2"]
    processes = [command("train", *more, cwd=place) for place, more in zip(places, options, strict=True)]
    outputs = [finish(process) for process in processes]
    assert [code for code, _, _ in outputs] == [0, 0], outputs
    return [(next((place / "runs").iterdir()), out) for place, (_, out, _) in zip(places, outputs, strict=True)]


def figures(folder):
    return json.loads((folder / "figures.json").read_text())


def test_ends_with_the_page_and_the_accuracy(runs):
    folder, out = runs[0]
    page, verdict = out.strip().splitlines()[-2:]
    assert page == f"page: runs/{folder.name}/report.html"
    accuracy = figures(folder)["figures"]["test_accuracy"]
    assert verdict == f"test accuracy {100 * accuracy:.2f} % (lenet5 on digits, seed 0)."
    assert out.startswith("jaxcnn ")
    assert "compiled in" in out


def test_several_seeds_end_with_mean_and_deviation(runs):
    folder, out = runs[1]
    form = r"test accuracy mean=0\.\d{4} sd=0\.\d{4} n=2 95% interval=0\.\d{4}\.\.\d\.\d{4}"
    assert re.fullmatch(form, out.strip().splitlines()[-1])
    assert "SVC(gamma=0.001) on the same splits: mean=" in out
    found = figures(folder)["figures"]
    assert found["test_accuracy"]["values"] == [
        figures(folder / f"seed{seed}")["figures"]["test_accuracy"] for seed in (0, 1)
    ]
    # The support vector machine sees the same splits: about 99 % whatever the seed.
    assert 0.97 < found["support_vector_accuracy"]["mean"] <= 1
    for seed in (0, 1):
        config = json.loads((folder / f"seed{seed}" / "config.json").read_text())["config"]
        assert (config["seed"], config["seeds"]) == (seed, 1)
        assert (folder / f"seed{seed}" / "report.html").exists()


def test_the_folder_holds_the_record(runs):
    folder = runs[0][0]
    names = {path.name for path in folder.iterdir() if not path.name.startswith(("events.out.tfevents", "diff"))}
    assert names == {
        "augmented.png",
        "checkpoints",
        "config.json",
        "data.json",
        "environment.json",
        "figures.json",
        "labels.png",
        "lock",
        "metrics.jsonl",
        "model.safetensors",
        "net.json",
        "report.html",
        "starts.jsonl",
    }
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["jax"] == jax.__version__
    assert environment["device"].startswith(jax.default_backend())
    assert json.loads((folder / "config.json").read_text())["config"]["epochs"] == 2
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]


def test_one_seed_gives_the_same_bits_in_two_processes_and_another_seed_others(runs):
    alone, among, other = (
        figures(folder)["figures"]["params_sha256"]
        for folder in (runs[0][0], runs[1][0] / "seed0", runs[1][0] / "seed1")
    )
    assert alone == among
    assert alone != other


def test_the_page_opens_without_errors_and_shows_its_figures(browser, runs):  # noqa: F811
    with visit(browser, runs[0][0] / "report.html") as seen:
        assert "test accuracy" in seen.page.inner_text("body")
        images = seen.page.locator("img")
        assert images.count() >= 7
        assert all(images.nth(i).evaluate("image => image.naturalWidth > 0") for i in range(images.count()))
        seen.expect_quiet()


def test_reproduce_says_identical(runs):
    folder = runs[0][0]
    code, out, err = finish(command("reproduce", str(folder), cwd=folder.parent))
    assert code == 0, err
    assert re.search(r"^identical: 2 epochs, parameters [0-9a-f]{64}$", out, re.MULTILINE)


def bad(monkeypatch, capsys, folder, *options):
    """Run in this process; return exit code and error output."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["train", *options])
    with pytest.raises(SystemExit) as stopped:
        runner.run(train.main, train.Config, name=train.run_name, resolve=train.resolve)
    return stopped.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "digit"], r"load: expected one of \['digits', .*, got 'digit'. Did you mean 'digits'\?"),
        (["--model", "lenet"], r"create: expected the name of a model, got 'lenet'. Did you mean 'lenet5'"),
        (["--batch-size", "5000"], r"fit: expected a batch_size of at most the 1293 training examples, got 5000"),
        (["--learning-rate", "-1"], r"warmup_cosine: expected a peak > 0, got -1.0"),
        (["--run", "file/below"], r"run: expected a folder that can be written, got runs/file/below"),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, capsys, options, message):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "file").write_text("mine")
    code, err = bad(monkeypatch, capsys, tmp_path, *options)
    assert code == 2
    assert re.match(message, err)
    assert "Traceback" not in err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["file"]
    assert (tmp_path / "runs" / "file").read_text() == "mine"


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="a GPU is here")
def test_device_gpu_fails_where_there_is_none(tmp_path, monkeypatch, capsys):
    code, err = bad(monkeypatch, capsys, tmp_path, "--device", "gpu")
    assert code == 2
    assert err.startswith("device: expected a gpu, got a JAX that finds none, but cpu.")
    assert not (tmp_path / "runs").exists()


def test_interrupting_keeps_the_checkpoint_and_exits_with_130(tmp_path):
    process = command("train", "--epochs", "10000", cwd=tmp_path)
    metrics = tmp_path / "runs" / "digits-lenet5-seed0" / "metrics.jsonl"
    for _ in range(1200):
        if metrics.exists() and metrics.read_text().count("\n") >= 2:
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    code, out, _ = finish(process)
    assert code == 130
    assert "Interrupted" in out
    assert list((metrics.parent / "checkpoints").glob("*.json"))
