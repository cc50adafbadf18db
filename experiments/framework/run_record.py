"""What a run's folder says of its code, data and place, beside its options: written as it begins, checked when read.

`environment.json` (see `jaxcnn.training.environment`), `diff.patch` (what the code differs in from its revision), and
`data.json` (fingerprints). What is missing or not of its kind is refused: half a record repeats nothing.
"""

import hashlib
import itertools
import json
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from jaxcnn.checking import expect
from jaxcnn.training.environment import uncommitted
from jaxcnn.training.processes import from_first, largest
from jaxcnn.whole_file import write_whole

LONGEST = 4_000_000  # bytes of a diff.patch


class Environment(TypedDict):
    python: str
    platform: str
    cores: int | None
    packages: dict[str, str | None]
    device: str
    devices: int
    processes: int
    prng: str
    matmul_precision: str | None
    xla_flags: str
    revision: str | None
    diff_sha256: str | None
    lock_sha256: str | None
    started: str
    command: str


class Part(TypedDict):
    name: str
    size: int
    sha256: str


class Data(TypedDict):
    train: Part
    test: Part


def write_diff(folder: Path, *, first: bool) -> None:
    """Write what the code differs in from its revision, where it does: `diff.patch` for the first start of a run.

    A run that goes on with code that differs gets `diff-2.patch` and so on. The hash in the record is that of the
    whole, also where the file, being long, was cut and ends with a line that says so.
    """

    def write() -> None:
        diff = uncommitted()
        if not diff:
            return
        if len(diff) > LONGEST:
            diff = diff[:LONGEST] + f"\n# Cut: {len(diff)} bytes in all. No patch to apply.\n".encode()
        for number in itertools.count(1):
            path = folder / ("diff.patch" if number == 1 else f"diff-{number}.patch")
            if not path.exists() and number == 1 and not first:
                continue
            if not path.exists():
                write_whole("record", path, diff)
            if path.read_bytes() == diff:
                return

    from_first(write)


def write_data(folder: Path, train: Any, test: Any) -> None:
    """Write the fingerprints of a run's data as `data.json`; a run that goes on has to have the same.

    Raises:
        ValueError: the folder is of a run with other data.
    """
    found: dict[str, Any] = {
        name: {"name": part.info.name, "size": part.size, "sha256": part.info.fingerprint}
        for name, part in (("train", train), ("test", test))
    }
    path = folder / "data.json"
    there = read_json("data", path) if path.exists() else found
    differ = next((name for name, part in found.items() if there.get(name) != part), None)
    # All processes have to know before one raises: the others would wait for it.
    if largest(int(differ is not None))[0]:
        fix = "Choose another folder, or bring the data back."
        what = f"the {differ or 'same'} set that {folder} was begun with"
        expect(False, "data", what, found.get(differ or "", "another one in another process"), fix)
    from_first(lambda: write_whole("record", path, (json.dumps(found, indent=1) + "\n").encode()))


def read_record(where: str, config: Any, folder: Path) -> tuple[Environment, Data]:
    """Return environment and data of the run that had these options, each field there and of its kind.

    Raises:
        ValueError: it is not so, of one of the options perhaps; the message names the field.
    """
    check(where, folder / "config.json", vars(config), typing.get_type_hints(type(config)))
    environment = read_json(where, folder / "environment.json")
    check(where, folder / "environment.json", environment, typing.get_type_hints(Environment))
    data = read_json(where, folder / "data.json")
    check(where, folder / "data.json", data, typing.get_type_hints(Data))
    if environment["diff_sha256"] is not None:
        check_diff(where, folder / "diff.patch", environment["diff_sha256"])
    return environment, data


def read_json(where: str, path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{where}: expected the record of a run, got {path} ({error}). Pass runs/NAME.") from error


def check(where: str, path: Path, record: Any, hints: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless the record has exactly these fields, each of its type, and what are hashes are."""
    fix = "Use the code that made the run, or restore the file."
    expect(isinstance(record, dict), where, f"fields in {path}", record, fix)
    for name in sorted(hints.keys() ^ record.keys()):
        what = f"{path} with the field {name!r}" if name in hints else f"no field {name!r} in {path}"
        expect(False, where, what, "one without" if name in hints else "one", fix)
    for name, hint in hints.items():
        value = record[name]
        if typing.is_typeddict(hint):
            check(where, path, value, typing.get_type_hints(hint))
            continue
        sound = fits(value, hint)
        if name.endswith("sha256") and value is not None:
            sound = sound and re.fullmatch("[0-9a-f]{64}", value) is not None
        expect(sound, where, f"the field {name!r} of {path} as {shown(name, hint)}", value, fix)


def shown(name: str, hint: Any) -> str:
    return "a SHA-256" if name.endswith("sha256") else hint.__name__ if isinstance(hint, type) else str(hint)


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value is of the type that an annotation names."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in args)
    if origin is typing.Literal:
        return value in args
    if origin is tuple:
        return isinstance(value, tuple) and all(fits(one, args[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(k, args[0]) and fits(v, args[1]) for k, v in value.items())
    if hint is float:
        return type(value) in (int, float)
    return type(value) is hint


def check_diff(where: str, path: Path, sha256: str) -> None:
    """Raise `ValueError` unless the file is the diff of that hash, or the beginning of one that was cut."""
    there = path.read_bytes() if path.is_file() else b""
    whole = len(there) <= LONGEST
    sound = bool(there) and (not whole or hashlib.sha256(there).hexdigest() == sha256)
    fix = "Restore the file."
    expect(sound, where, f"{path} with the SHA-256 of 'diff_sha256'", "another" if there else "none", fix)
