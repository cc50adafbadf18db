"""Fuzzed command lines: each runs, or ends with code 2 and one sentence or a usage message, without a traceback."""

import dataclasses
import importlib
import re

import hypothesis
import pytest
from hypothesis import strategies as st

from experiments import data, train
from experiments.__main__ import experiments
from experiments.framework import device, run_folder, runner
from jaxcnn import report, training

pytestmark = pytest.mark.usefixtures("quick_compilation")

SENTENCE = re.compile(r"\w[\w.]*: expected .+, got .+\. .+", re.DOTALL)
# Switches of the whole process, and options that wait for other processes or another device.
APART = {"debug", "distributed", "coordinator", "processes", "process", "device", "resume"}
NUMBERS = ["0", "1", "2", "-1", "-0.5", "0.5", "1.5", "100", "10000000000000", "1e400", "-inf", "nan"]
WHOLE = ["0", "1", "2", "3", "7", "-1", "1000", "10000000000000", "9" * 30, "9" * 400]
NAMES = ["digits", "folder", "lenet5", "cifar_vgg", "cifar_resnet8", "nosuch", "../up", "/", "a/b", "", "\N{SNOWMAN}"]
OTHERS = [
    " ",
    "None",
    "True",
    "relu",
    "random",
    "alternating",
    "--",
    "-",
    "--seed",
    "1,2",
    "[1]",
    "{}",
    "'",
    '"',
    "%s",
    "1_0",
]


class ReachedError(Exception):
    """The command line was right: the work would begin."""


def reached(*args, **options):
    raise ReachedError


def command_lines(config_class) -> st.SearchStrategy[list[str]]:
    fields = [field for field in dataclasses.fields(config_class) if field.name not in APART]
    right = st.sampled_from(fields).flatmap(_plausible)
    odd = st.sampled_from(["--nosuch", "--no-quick", "stray", "-x", "--help", "--epochs", "--seed"]).map(lambda w: [w])
    stray = st.sampled_from(OTHERS).map(lambda w: ["--seed", w])
    options = st.lists(st.one_of(right, right, right, right, odd, stray), min_size=1, max_size=3)
    return options.map(lambda options: [word for words in options for word in words])


def _plausible(field: dataclasses.Field) -> st.SearchStrategy[list[str]]:
    """Return words for an option of the right kind, if not always of the right value."""
    kind, flag = str(field.type), f"--{field.name.replace('_', '-')}"
    if "bool" in kind:
        return st.just([flag])
    values = WHOLE if "int" in kind else NUMBERS if "float" in kind else NAMES + OTHERS
    most = 3 if "tuple" in kind else 1
    return st.lists(st.sampled_from(values), min_size=1, max_size=most).map(lambda given: [flag, *given])


def check(main, config_class, words, monkeypatch, capsys, **options) -> None:
    monkeypatch.setattr("sys.argv", ["x", *words])
    capsys.readouterr()
    with pytest.raises((ReachedError, SystemExit)) as ended:
        runner.run(main, config_class, **options)
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    if ended.type is SystemExit:
        assert ended.value.code in (0, 2)
        assert ended.value.code == 0 or SENTENCE.match(err) or "For full helptext" in err, err


def some(config_class, examples, body) -> None:
    hypothesis.settings(max_examples=examples, suppress_health_check=list(hypothesis.HealthCheck))(
        hypothesis.given(command_lines(config_class))(body)
    )()


@pytest.fixture
def quiet(tmp_path, monkeypatch):
    """Runs go into a folder of the test, and end where the work would begin."""
    monkeypatch.setattr(run_folder, "RUNS", tmp_path)
    monkeypatch.setattr(device, "keep_compiled", lambda: None)
    monkeypatch.setattr(importlib.import_module("jaxcnn.training.fit"), "RunFiles", reached)
    monkeypatch.setattr(training, "find_learning_rate", reached)
    monkeypatch.setattr(report, "image_grid", lambda *args: report.Facts({}))
    monkeypatch.setattr(report.Facts, "savefig", lambda *args, **options: None, raising=False)
    monkeypatch.setattr(data, "describe", reached)


@pytest.mark.parametrize("name", [name for name in experiments() if name not in ("doctor", "reproduce")])
def test_options_of_every_experiment(name, quiet, monkeypatch, capsys):
    module = importlib.import_module(f"experiments.{name}")
    config_class = getattr(module, "Config", None)
    if not (isinstance(config_class, type) and issubclass(config_class, runner.Common)):
        pytest.skip("has a command line of its own")
    reached.__module__ = module.__name__
    some(config_class, 5, lambda words: check(reached, config_class, words, monkeypatch, capsys))


@pytest.mark.parametrize("module", [train, data], ids=["train", "data"])
def test_what_is_asked_of_the_work(module, quiet, monkeypatch, capsys):
    resolve = {"resolve": module.resolve} if hasattr(module, "resolve") else {}
    some(module.Config, 10, lambda words: check(module.main, module.Config, words, monkeypatch, capsys, **resolve))


@pytest.mark.slow
@pytest.mark.parametrize("module", [train, data], ids=["train", "data"])
def test_what_is_asked_of_the_work_at_length(module, quiet, monkeypatch, capsys):
    resolve = {"resolve": module.resolve} if hasattr(module, "resolve") else {}
    some(module.Config, 300, lambda words: check(module.main, module.Config, words, monkeypatch, capsys, **resolve))
