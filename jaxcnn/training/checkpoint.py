"""The state of a training on disk: written by Orbax, known whole before it is read.

A checkpoint is `<step>/`, with Orbax's files in `state/`, and in `best/` where the best state is another, and
`<step>.json`, written last: the net, the names and shapes of the state, what the caller adds, the SHA-256 of each file,
and its own. A folder without its JSON is unfinished and is passed over; files that have changed since are refused
before anything interprets them.
"""

import hashlib
import itertools
import json
import os
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from jaxcnn.checking import expect, expect_count
from jaxcnn.layers.layer import Layer
from jaxcnn.layers.serialization import to_json
from jaxcnn.training.mesh import mesh_of, replicated
from jaxcnn.training.processes import together
from jaxcnn.training.state import TrainState

__all__ = ["Checkpoint", "latest_checkpoint", "load_checkpoint", "save_checkpoint"]

OTHER = "Use another checkpoint, or train again."
FORMAT = 1
"""Counts the ways in which checkpoints were written: another one is not read."""


@dataclass(frozen=True)
class Checkpoint:
    """`state`: the latest; `best`: the best, perhaps the same; `record`: what was saved with them."""

    state: TrainState
    best: TrainState
    record: dict[str, Any]


def save_checkpoint(
    directory: Path | str,
    net: Layer,
    state: TrainState,
    *,
    best: TrainState | None = None,
    record: Mapping[str, Any] | None = None,
    keep: int = 2,
) -> None:
    """Write the state into `directory`, whole or not at all, then delete the oldest checkpoints there.

    Where several processes train together all of them call this, and the folder is one that all of them see.

    Args:
        directory: of one run's checkpoints; made if need be.
        net: whose state it is; its description is stored.
        state: what is stored, under its step.
        best: the best state so far, which is what `load_checkpoint` returns; `state` unless given.
        record: what else is stored, ready for JSON.
        keep: how many checkpoints stay, this one included.

    Raises:
        ValueError: keep not a positive int.
        OSError: the directory cannot be written, or the disk is full; what it held is kept.
    """
    keep = expect_count("save_checkpoint", "keep", keep)
    directory = Path(directory).absolute()
    step = int(state.step)
    files = directory / str(step)
    manifest = files.with_suffix(".json")
    if together(manifest.exists()):
        return
    parts: dict[str, Any] = {"state": state}
    if best is not None and int(best.step) != step:
        parts["best"] = best
    try:
        together(lambda: _prepare(directory, files))
        for name, part in parts.items():
            _write(files / name, part)
        body = {
            "format": FORMAT,
            "step": step,
            "net": _describe(net),
            "state": _shapes(state),
            "parts": list(parts),
            "record": dict(record or {}),
        }
        together(lambda: _finish(manifest, body | {"sha256": _hashes(files)}, keep))
    except (OSError, ValueError) as error:  # a full disk is a ValueError of TensorStore's
        raise OSError(
            f"save_checkpoint: expected a folder that can be written, got {directory} ({error}). Make room there, or "
            "choose another."
        ) from error


def _prepare(directory: Path, files: Path) -> None:
    """Make room for a checkpoint, and remove what saves that were cut short have left."""
    directory.mkdir(parents=True, exist_ok=True)
    files.with_suffix(".unfinished").touch()  # where Orbax cannot write it waits for minutes
    for left in directory.iterdir():
        if left.is_dir() and not left.with_name(f"{left.name.split('.')[0]}.json").exists():
            shutil.rmtree(left)
    files.mkdir()


def _write(folder: Path, state: Any) -> None:
    from orbax.checkpoint import v1 as orbax

    orbax.save(str(folder), state)


def _finish(manifest: Path, body: dict[str, Any], keep: int) -> None:
    """Write the record that makes a checkpoint whole, and delete what is older than the `keep` last ones."""
    unfinished = manifest.with_suffix(".unfinished")
    with unfinished.open("w") as file:
        file.write(json.dumps({"sha256": _digest(body), "checkpoint": body}))
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, manifest)
    for old in _manifests(manifest.parent)[keep:]:
        old.unlink()  # first, as a folder without it is no checkpoint
        shutil.rmtree(old.with_suffix(""), ignore_errors=True)
    for left in manifest.parent.glob("*.unfinished"):
        left.unlink()


def load_checkpoint(directory: Path | str, net: Layer, template: TrainState, *, last: bool = False) -> TrainState:
    """Return the state that `save_checkpoint` wrote latest, having checked that it is whole and of this net.

    A damaged checkpoint is passed over, with a warning, for the one before it.

    Args:
        directory: a run's folder, or the one of its checkpoints.
        net: the net that the caller wants to use it with.
        template: a `TrainState` of that net and optimizer, or its `jax.eval_shape`: only shapes, dtypes and, where
            it has any, shardings count.
        last: the last state instead of the best.

    Raises:
        ValueError: no checkpoint there, one of another net or optimizer, or none that is whole.
    """
    found = latest_checkpoint(directory, net, template, parts=("state",) if last else ("best",))
    where = "load_checkpoint"
    expect(found is not None, where, "a folder with a checkpoint", str(directory), "Give run_dir to fit to have one.")
    assert found is not None
    return found.state if last else found.best


def latest_checkpoint(
    directory: Path | str, net: Layer, template: TrainState, *, parts: tuple[str, ...] = ("state", "best")
) -> Checkpoint | None:
    """Return the latest whole checkpoint with its record, as `load_checkpoint` does, or None where there is none."""
    directory = Path(directory).absolute()
    if (directory / "checkpoints").is_dir():
        directory = directory / "checkpoints"
    damage: list[ValueError] = []
    for manifest in _manifests(directory):
        try:
            body = _read(manifest)
        except ValueError as error:
            damage.append(error)
            continue
        _expect_same(body, net, template)
        for error in damage:
            warnings.warn(f"{error} The one of step {body['step']} is taken.", stacklevel=3)
        files = manifest.with_suffix("")
        states = {name: _load(files / (name if name in body["parts"] else "state"), template) for name in parts}
        one = next(iter(states.values()))
        return Checkpoint(states.get("state", one), states.get("best", one), body["record"])
    if damage:
        raise damage[0]
    return None


def _manifests(directory: Path) -> list[Path]:
    """Return the records of the checkpoints in a folder, the latest first."""
    found = (path for path in directory.glob("*.json") if path.stem.isdecimal())
    return sorted(found, key=lambda path: int(path.stem), reverse=True)


def _read(manifest: Path) -> dict[str, Any]:
    """Return what the record of a checkpoint says, having checked every file."""
    where, files = "load_checkpoint", manifest.with_suffix("")
    try:
        record = json.loads(manifest.read_text())
        body, digest = record["checkpoint"], record["sha256"]
        whole = digest == _digest(body) and str(body["step"]) == manifest.stem
        expect(whole, where, "the record that was written", "another", "")
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise ValueError(f"{where}: expected the record of a checkpoint, got {manifest} ({error}). {OTHER}") from error
    present = _hashes(files)
    changed = sorted(name for name in body["sha256"].keys() | present if body["sha256"].get(name) != present.get(name))
    expect(not changed, where, "the files that were written", f"missing or changed ones in {files}: {changed}", OTHER)
    return body


def _expect_same(body: dict[str, Any], net: Layer, template: TrainState) -> None:
    where = "load_checkpoint"
    fix = "Read it with the version of jaxcnn that wrote it."
    expect(body["format"] == FORMAT, where, f"a checkpoint of format {FORMAT}", f"format {body['format']}", fix)
    expect(
        body["net"] == _describe(net),
        where,
        "a checkpoint of this net",
        f"one of another net (first difference: {_difference(body['net'], _describe(net))})",
        "Build the net as it was when the checkpoint was written.",
    )
    wanted = _shapes(template)
    expect(
        body["state"] == wanted,
        where,
        "a checkpoint of this optimizer and input",
        f"another state (first difference: {_difference(_lines(body['state']), _lines(wanted))})",
        "Make the template with the optimizer and the image size of that training.",
    )


def _load(folder: Path, template: TrainState) -> Any:
    from orbax.checkpoint import v1 as orbax

    otherwise = replicated(mesh_of(template))

    def abstract(leaf: Any) -> jax.ShapeDtypeStruct:
        sharding = getattr(leaf, "sharding", None)
        on_mesh = isinstance(sharding, jax.sharding.NamedSharding)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding if on_mesh else otherwise)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Orbax warns of its own deprecations
        return orbax.load(str(folder), jax.tree.map(abstract, template))


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


def _digest(body: Any) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _hashes(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _difference(stored: str, wanted: str) -> str:
    pairs = itertools.zip_longest(stored.splitlines(), wanted.splitlines(), fillvalue="nothing")
    return next((f"{there.strip()} there, {here.strip()} here" for there, here in pairs if there != here), "none")
