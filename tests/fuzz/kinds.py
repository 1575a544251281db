"""Hostile inputs: one function per kind. Each makes files in a folder and says what to run."""

import dataclasses
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz import good

HUGE = [10**6, 10**8, 10**9, 10**12, 2**31, 2**63, 10**30]
VALUES = [
    *HUGE, -1, 0, -(10**9), 0.5, -0.5, 1e-320, 1e308, float("nan"), float("inf"), True, False, None,
    "", "x", "1", "../../etc/passwd", "/dev/zero", "x" * 100_000, "\x00", "é" * 300, "%s%n{0}", [],
    [[]], [None], {}, {"a": {}}, [0] * 10_000, [[1] * 3] * 3, {"": ""},
]  # fmt: skip


@dataclasses.dataclass
class Case:
    """One hostile input.

    Attributes:
        argv: Arguments of the command line.
        refused: Whether the input is bad for certain, so that exit code 0 is a fault.
        expect: A pattern that the message must match.
    """

    argv: list[str]
    refused: bool = False
    expect: str = ""


class Maker:
    """What a kind gets.

    Attributes:
        random: Its source of randomness.
        files: The folder for its inputs.
        out: The folder for outputs.
        good: The sound inputs.
    """

    def __init__(self, seed: str, folder: Path, sound: good.Good) -> None:
        self.random = random.Random(seed)
        self.files, self.out = folder / "in", folder / "out"
        self.good = sound
        for path in (self.files, self.out):
            path.mkdir(parents=True)

    @property
    def data(self) -> str:
        """A sound data spec."""
        return f"npz:{self.good.data}"

    def pick(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def write(self, name: str, content: bytes | str) -> Path:
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


Kind = Callable[[Maker], Case]
KINDS: dict[str, Kind] = {}


def kind(function: Kind) -> Kind:
    """Adds a kind."""
    KINDS[function.__name__] = function
    return function


def damaged(content: bytes, source: random.Random) -> bytes:
    """`content` with bytes changed, cut, repeated, or put in."""
    data = bytearray(content)
    while data == content and content:
        for _ in range(source.choice([1, 1, 2, 8])):
            if not data:
                break
            place = source.randrange(len(data))
            how = source.randrange(5)
            if how == 0:
                data[place] ^= 1 << source.randrange(8)
            elif how == 1:
                data[place : place + 4] = struct.pack(
                    "<I", source.choice([0, 1, 255, 2**31 - 1, 2**32 - 1, 2**24])
                )
            elif how == 2:
                del data[place:]
            elif how == 3:
                data[place:place] = bytes(
                    source.randrange(256) for _ in range(source.randrange(64))
                )
            else:
                data[place : place + 16] = bytes(16)
    return bytes(data)


def places(value: Any, at: tuple = ()) -> list[tuple]:
    """The path to everything in a JSON value."""
    found = [at] if at else []
    items = value.items() if isinstance(value, dict) else []
    items = enumerate(value) if isinstance(value, list) else items
    for key, part in items:
        found += places(part, (*at, key))
    return found


def edited(value: Any, source: random.Random) -> tuple[Any, tuple]:
    """A JSON value with one part replaced, removed, repeated, or added; and the path to it."""
    value = json.loads(json.dumps(value))
    path = source.choice(places(value))
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    how, old = source.randrange(8), parent[path[-1]]
    new = source.choice(VALUES)
    if how == 0:
        del parent[path[-1]]
    elif how == 1 and isinstance(parent, dict):
        parent[source.choice(["extra", "", "x" * 3000, "__class__"])] = new
    elif how == 2 and isinstance(old, list):
        parent[path[-1]] = old * source.choice([0, 2, 5000])
    elif how == 3 and isinstance(old, int | float):
        parent[path[-1]] = old + source.choice([1, -1, 1000, 10**12])
    else:
        parent[path[-1]] = new
    return value, path
