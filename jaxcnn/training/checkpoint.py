"""The state of a training on disk: written by Orbax, known whole before it is read.

A checkpoint is `<step>/`, Orbax's files, and `<step>.json`, written last: the net, the names and shapes of the state,
and the SHA-256 of each file. A folder without its JSON is unfinished and is passed over; files that have changed since
are refused before anything interprets them.
"""

import hashlib
import itertools
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import jax

from jaxcnn.checking import expect
from jaxcnn.layers.layer import Layer
from jaxcnn.layers.serialization import to_json
from jaxcnn.training.state import TrainState

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(directory: Path | str, net: Layer, state: TrainState) -> None:
    """Write the state into `directory`, then delete the checkpoints that were there before.

    Args:
        directory: of one run's checkpoints; made if need be.
        net: whose state it is; its description is stored.
        state: what is stored.

    Raises:
        OSError: the directory cannot be written, or the disk is full; what it held is kept.
    """
    from orbax.checkpoint import v1 as orbax

    directory = Path(directory).absolute()
    files = directory / str(int(state.step))
    manifest = files.with_suffix(".json")
    if manifest.exists():
        return
    unfinished = manifest.with_suffix(".unfinished")
    tree: Any = state
    try:
        directory.mkdir(parents=True, exist_ok=True)
        unfinished.touch()  # where Orbax cannot write it waits for minutes
        for left in (files, files.with_name(f"{files.name}.orbax-checkpoint-tmp")):  # by a save that was interrupted
            shutil.rmtree(left, ignore_errors=True)
        orbax.save(str(files), tree)
        record = {"net": _describe(net), "state": _shapes(state), "sha256": _hashes(files)}
        unfinished.write_text(json.dumps(record, indent=1))
        os.replace(unfinished, manifest)
    except (OSError, ValueError) as error:  # a full disk is a ValueError of TensorStore's
        raise OSError(
            f"save_checkpoint: expected a folder that can be written, got {directory} ({error}). Make room there, or "
            "choose another."
        ) from error
    for old in directory.glob("*.json"):
        if old != manifest:
            old.unlink()
            shutil.rmtree(old.with_suffix(""), ignore_errors=True)


def load_checkpoint(directory: Path | str, net: Layer, template: TrainState) -> TrainState:
    """Return the latest state that `save_checkpoint` wrote, having checked that it is whole and of this net.

    Args:
        directory: a run's folder, or the one of its checkpoints.
        net: the net that the caller wants to use it with.
        template: a `TrainState` of that net and optimizer, or its `jax.eval_shape`: only shapes and dtypes count.

    Raises:
        ValueError: no checkpoint there, one of another net or optimizer, or one that is damaged.
    """
    from orbax.checkpoint import v1 as orbax

    where, other = "load_checkpoint", "Use another checkpoint, or train again."
    directory = Path(directory).absolute()
    if (directory / "checkpoints").is_dir():
        directory = directory / "checkpoints"
    found = sorted(directory.glob("*.json"), key=lambda path: int(path.stem) if path.stem.isdecimal() else -1)
    expect(bool(found), where, "a folder with a checkpoint", str(directory), "Give run_dir to fit to have one.")
    files = found[-1].with_suffix("")
    try:
        record = json.loads(found[-1].read_text())
        stored_net, stored_state, hashes = record["net"], record["state"], record["sha256"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(f"{where}: expected the record of a checkpoint, got {found[-1]} ({error}). {other}") from error
    present = _hashes(files)
    changed = sorted(name for name in hashes.keys() | present.keys() if hashes.get(name) != present.get(name))
    expect(not changed, where, "the files that were written", f"missing or changed ones in {files}: {changed}", other)
    expect(
        stored_net == _describe(net),
        where,
        "a checkpoint of this net",
        f"one of another net (first difference: {_difference(stored_net, _describe(net))})",
        "Build the net as it was when the checkpoint was written.",
    )
    wanted = _shapes(template)
    expect(
        stored_state == wanted,
        where,
        "a checkpoint of this optimizer and input",
        f"another state (first difference: {_difference(_lines(stored_state), _lines(wanted))})",
        "Make the template with the optimizer and the image size of that training.",
    )
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device), template)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Orbax warns of its own deprecations
        restored: Any = orbax.load(str(files), abstract)
    return restored


def _describe(net: Layer) -> str:
    try:
        return to_json(net)
    except ValueError:  # a net with functions of the user's own cannot be rebuilt, but still be told from others
        return repr(net)


def _shapes(state: Any) -> dict[str, str]:
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    return {jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in leaves}


def _lines(shapes: dict[str, str]) -> str:
    return "\n".join(f"{path} {shape}" for path, shape in shapes.items())


def _hashes(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _difference(stored: str, wanted: str) -> str:
    pairs = itertools.zip_longest(stored.splitlines(), wanted.splitlines(), fillvalue="nothing")
    return next((f"{there.strip()} there, {here.strip()} here" for there, here in pairs if there != here), "none")
