"""One process with eight devices, four with two, one with one: the same order, and the same figures to rounding."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxcnn

pytestmark = pytest.mark.newest

STEPS = 20
PROGRAM = """
import json, sys
import jax

if len(sys.argv) > 3:
    jax.distributed.initialize(sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
jax.config.update("jax_disable_most_optimizations", True)
import jax.numpy as jnp
import numpy as np
from jaxcnn import data, functional as F, training
from jaxcnn.layers import BatchNorm, Conv, Dense, Dropout, GlobalAvgPool, Sequential

folder, options = sys.argv[1], json.loads(sys.argv[2])
random = np.random.default_rng(0)
whole = data.from_arrays(random.integers(0, 256, (100, 8, 8, 3), np.uint8), np.arange(100) % 3, number=np.arange(100))
net = Sequential(
    conv1=Conv(8), norm1=BatchNorm(), act1=F.relu, conv2=Conv(8, stride=2), norm2=BatchNorm(), act2=F.relu,
    pool=GlobalAvgPool(), drop=Dropout(0.2), head=Dense(3)
)

def order(outputs, batch):  # of the rows: another order, another sum
    return batch["number"] * jnp.arange(1, len(outputs) + 1)

steps = []
class Stop(Exception): ...

def note(event):
    if event.kind == "step":
        steps.append({n: float(v) for n, v in event.metrics.items()} | {"step": event.step})
        if event.step == options.get("stop_after"):
            print("waiting", flush=True)
            import time; time.sleep(options.get("sleep", 0))

mesh = training.device_mesh(model=options.get("model", 1))
result = training.fit(
    net, whole.take(range(84)), validation=whole.take(range(84, 97)), optimizer=training.sgd(0.05), epochs=4,
    batch_size=16, key=jax.random.key(0), metrics={"order": order}, mesh=mesh, run_dir=folder, resume=True,
    save_every=options.get("save_every"), callbacks=[note],
)
if jax.process_index() == 0:
    held = [{n: v for n, v in line.items() if "second" not in n} for line in result.history]
    kernel = result.state.params["conv2"]["kernel"]
    cut = [s.data.shape for s in kernel.addressable_shards]
    print(json.dumps({"steps": steps, "history": held, "devices": jax.device_count(), "shards": cut}))
"""

STREAMED = """
import json, sys
import jax

if len(sys.argv) > 3:
    jax.distributed.initialize(sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
jax.config.update("jax_disable_most_optimizations", True)
import jax.numpy as jnp
import numpy as np
from jaxcnn import losses, training
from tests.data.test_stream import NET, Squares, stream

result = training.fit(NET, stream(60), epochs=2, batch_size=8, key=jax.random.key(0))
params, state = result.state.params, result.state.model_state
held, decoded = stream(123).take(range(100, 123)), []
parts = Squares.parts
Squares.parts = lambda self, *args: decoded.extend(self.numbers[args[0]].tolist()) or parts(self, *args)
measured = training.evaluate(NET, params, state, held, batch_size=8)
seen = sorted(number - 100 for number in decoded if number >= 100)
outputs = training.predict(NET, params, state, held, batch_size=8)

def bad(outputs, batch):
    return losses.classification()(outputs, batch) + jnp.where(batch["index"] == 50, jnp.nan, 0.0)

try:
    training.fit(NET, stream(60), loss=bad, epochs=2, batch_size=56, key=jax.random.key(0), accumulate=2, skip_limit=1)
    failure = None
except FloatingPointError as error:
    failure = str(error)
if jax.process_index() == 0:
    print(json.dumps({
        "loss": result.history[-1]["train_loss"], "measured": measured, "outputs": outputs.tolist(),
        "decoded": seen, "failure": failure,
    }))
"""


def start(folder: Path, processes: int, devices: int, program: str = PROGRAM, **options) -> list[subprocess.Popen]:
    """Start a training in so many processes, each with so many devices."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = os.environ | {
        "PYTHONPATH": str(Path(jaxcnn.__file__).parents[1]),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    command = [sys.executable, "-c", program, str(folder), json.dumps(options)]
    return [
        subprocess.Popen(
            command + ([address, str(processes), str(number)] if processes > 1 else []),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]


def finish(started: list[subprocess.Popen]) -> dict:
    """Return what the first process has found."""
    found = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0] * len(started), found
    return json.loads(found[0][0].splitlines()[-1])


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return finish(start(tmp_path_factory.mktemp("one"), 1, 1))


def same(found: dict, expected: dict) -> None:
    steps, others = found["steps"], expected["steps"]
    assert [step["step"] for step in steps] == list(range(1, STEPS + 1))
    assert [step["order"] for step in steps] == [step["order"] for step in others]
    np.testing.assert_allclose([s["loss"] for s in steps], [s["loss"] for s in others], rtol=1e-3)
    for line, other in zip(found["history"], expected["history"], strict=True):
        assert line.keys() == other.keys()
        np.testing.assert_allclose([*line.values()], [*other.values()], rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("processes", "devices"), [(2, 1), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((1, 8), (4, 2)))]
)
def test_devices_and_processes_change_nothing(processes, devices, alone, tmp_path):
    found = finish(start(tmp_path, processes, devices))
    assert found["devices"] == processes * devices
    same(found, alone)


def test_parameters_cut_along_a_second_axis(alone, tmp_path):
    found = finish(start(tmp_path, 1, 4, model=2))
    assert found["shards"] == [[3, 3, 8, 4]] * 4
    same(found, alone)


@pytest.mark.slow
def test_a_run_goes_on_in_another_number_of_processes(alone, tmp_path):
    """1 -> 2 -> 4 -> 1, told to stop by SIGTERM in between, to one of the processes alone."""
    seen = []
    for processes, stop_after in ((1, 4), (2, 9), (4, 15)):
        started = start(tmp_path, processes, 1, stop_after=stop_after, sleep=1.5)
        assert "waiting\n" in iter(started[-1].stdout.readline, "")
        started[-1].send_signal(signal.SIGTERM)
        ended = [process.communicate(timeout=300) for process in started]
        assert [process.returncode for process in started] == [75] * processes, ended
        seen.append(max(int(path.stem) for path in (tmp_path / "checkpoints").glob("*.json")))
        assert seen[-1] >= stop_after
    found = finish(start(tmp_path, 1, 1))
    history = found["history"]
    for line, other in zip(history, alone["history"], strict=True):
        assert line["train_order"] == other["train_order"]
        np.testing.assert_allclose(line["train_loss"], other["train_loss"], rtol=2e-3)


@pytest.mark.slow
def test_streams_and_failures_in_two_processes(tmp_path):
    pytest.importorskip("grain")
    alone, found = (finish(start(tmp_path, processes, 2, STREAMED)) for processes in (1, 2))
    np.testing.assert_allclose(found["loss"], alone["loss"], rtol=1e-3)
    np.testing.assert_allclose(found["outputs"], alone["outputs"], rtol=1e-3, atol=1e-3)
    assert found["measured"] == pytest.approx(alone["measured"], rel=1e-3)
    assert sorted(set(alone["decoded"])) == list(range(23))
    assert found["decoded"] == [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19]  # half of each batch of eight
    assert "step 1 (epoch 1), first in the loss, and in 1 steps" in alone["failure"]
    assert found["failure"] == alone["failure"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="Open MPI is not installed")
def test_open_mpi_says_which_process_is_which(alone, tmp_path):
    command = ["mpirun", "-n", "2", "--oversubscribe", sys.executable, "-c"]
    environment = os.environ | {
        "PYTHONPATH": str(Path(jaxcnn.__file__).parents[1]),
        "JAX_PLATFORMS": "cpu",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",  # in a container
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    program = PROGRAM.replace("jax.distributed.initialize(sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))", "pass")
    program = program.replace("import jax\n", "import jax\njax.distributed.initialize()\n", 1)
    options = {"env": environment, "capture_output": True, "text": True, "timeout": 300}
    found = subprocess.run([*command, program, str(tmp_path), "{}"], check=False, **options)
    assert found.returncode == 0, found.stderr
    same(json.loads(next(line for line in found.stdout.splitlines() if line.startswith("{"))), alone)
