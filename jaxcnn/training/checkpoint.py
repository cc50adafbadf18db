"""The state of a training on disk: written by Orbax, known whole before it is read.

A checkpoint is a folder `<step>.<n>/`, with Orbax's files in `state/`, and in `best/` where the best state is another,
and `<step>.json`, written last, which names it: the net, the names and shapes of the state, what the caller adds, the
SHA-256 of each file, and its own. A folder that no JSON names is unfinished and is passed over; files that have changed
since are refused before anything interprets them.
"""

import hashlib
import itertools
import json
import os
import re
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
from jaxcnn.training.processes import from_first
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
        keep: how many checkpoints stay, this one included. Another one of the same step is replaced.

    Raises:
        ValueError: keep not a positive int.
        OSError: the directory cannot be written, or the disk is full; what it held is kept.
    """
    keep = expect_count("save_checkpoint", "keep", keep)
    directory = Path(directory).absolute()
    step = int(state.step)
    parts: dict[str, Any] = {"state": state}
    if best is not None and int(best.step) != step:
        parts["best"] = best
    try:
        files = directory / f"{step}.{from_first(lambda: _prepare(directory, step))}"
        for name, part in parts.items():
            _write(files / name, part)
        body = {
            "format": FORMAT,
            "step": step,
            "files": files.name,
            "net": _describe(net),
            "state": _shapes(state),
            "parts": list(parts),
            "record": dict(record or {}),
        }
        from_first(lambda: _finish(directory / f"{step}.json", body | {"sha256": _hashes(files)}, keep))
    except (OSError, ValueError) as error:  # a full disk is a ValueError of TensorStore's
        raise OSError(
            f"save_checkpoint: expected a folder that can be written, got {directory} ({error}). Make room there, or "
            "choose another."
        ) from error


def _prepare(directory: Path, step: int) -> int:
    """Make a folder for a checkpoint of `step`, its number returned, and remove what was left by saves cut short."""
    directory.mkdir(parents=True, exist_ok=True)
    _clean(directory)
    (directory / f"{step}.unfinished").touch()  # where Orbax cannot write it waits for minutes
    number = next(n for n in itertools.count() if not (directory / f"{step}.{n}").exists())
    (directory / f"{step}.{number}").mkdir()
    return number


def _clean(directory: Path) -> None:
    """Remove what saves that were cut short have left, and nothing that is not a checkpoint's."""
    named = {path.name for manifest in _manifests(directory) if (path := _files(manifest)) is not None}
    for folder in sorted(directory.glob("*.*")):
        if re.fullmatch(r"\d+\.\d+", folder.name) and folder.is_dir() and folder.name not in named:
            shutil.rmtree(folder)
        if re.fullmatch(r"\d+\.unfinished", folder.name):
            folder.unlink()


def _write(folder: Path, state: Any) -> None:
    from orbax.checkpoint import v1 as orbax

    orbax.save(str(folder), state)


def _finish(manifest: Path, body: dict[str, Any], keep: int) -> None:
    """Write the record that makes a checkpoint whole, and delete all but the `keep - 1` last ones beside it."""
    unfinished = manifest.with_suffix(".unfinished")
    with unfinished.open("w") as file:
        file.write(json.dumps({"sha256": _digest(body), "checkpoint": body}))
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, manifest)
    others = [path for path in _manifests(manifest.parent) if path != manifest]
    for old in others[keep - 1 :]:
        old.unlink()  # first, as a folder that no record names is no checkpoint
    _clean(manifest.parent)


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
    step = from_first(lambda: _latest_whole(directory))
    if step < 0:
        return None
    manifest = directory / f"{step}.json"
    body = _record(manifest)
    _expect_same(body, net, template)
    files = directory / body["files"]
    states = {name: _load(files / (name if name in body["parts"] else "state"), template) for name in parts}
    one = next(iter(states.values()))
    return Checkpoint(states.get("state", one), states.get("best", one), body["record"])


def _latest_whole(directory: Path) -> int:
    """Return the step of the latest checkpoint of which every file is as it was written; -1 where there is none."""
    damage: list[ValueError] = []
    for manifest in _manifests(directory):
        try:
            step = _read(manifest)["step"]
        except ValueError as error:
            damage.append(error)
            continue
        for error in damage:
            warnings.warn(f"{error} The one of step {step} is taken.", stacklevel=4)
        return step
    if damage:
        raise ValueError(f"{damage[0]} None in {directory} is whole.")
    return -1


def _manifests(directory: Path) -> list[Path]:
    """Return the records of the checkpoints in a folder, the latest first."""
    found = (path for path in directory.glob("*.json") if path.stem.isdecimal())
    return sorted(found, key=lambda path: int(path.stem), reverse=True)


def _files(manifest: Path) -> Path | None:
    """Return the folder that the record of a checkpoint names; None of a damaged one."""
    try:
        return manifest.parent / _record(manifest)["files"]
    except ValueError:
        return None


def _record(manifest: Path) -> dict[str, Any]:
    """Return what the record of a checkpoint says, having checked the record."""
    where = "load_checkpoint"
    try:
        record = json.loads(manifest.read_text())
        body = record["checkpoint"]
        whole = record["sha256"] == _digest(body) and str(body["step"]) == manifest.stem
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise ValueError(f"{where}: expected the record of a checkpoint, got {manifest} ({error}). {OTHER}") from error
    expect(whole, where, "the record of a checkpoint", f"{manifest}, which is not as it was written", OTHER)
    return body


def _read(manifest: Path) -> dict[str, Any]:
    """Return what the record of a checkpoint says, having checked every file."""
    body, where = _record(manifest), "load_checkpoint"
    files = manifest.parent / body["files"]
    try:
        present = _hashes(files)
    except OSError as error:
        raise ValueError(f"{where}: expected files that can be read, got {files} ({error}). {OTHER}") from error
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
        return re.sub(r" at 0x[0-9a-f]+", "", repr(net))  # where they lie in the memory says nothing


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
