"""Compares runs: their settings and paired differences in results. Needs no TensorFlow."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_distill._internal import InputError, bad
from keras_distill._internal._stats import (
    Interval,
    holm,
    mean_interval,
    paired_difference,
    paired_p_value,
)
from keras_distill._internal._types import PathLike
from keras_distill.records import (
    ComparedResult,
    ComparedSetting,
    CompareRecord,
    IntervalRecord,
    RunRecord,
)

_RECORD = "record.json"
# Parts of a recipe that do not affect the accuracy of a student.
_NO_RESULT = {"name", "summary", "sweep", "benchmark"}


def compare(paths: Sequence[PathLike]) -> CompareRecord:
    """Compares runs with the first run.

    Test accuracies are paired by seed. Two runs with the same seed share the initial weights (for
    equal students), the order of the data, and the selection of the labels that are kept.

    Args:
        paths: Two or more folders of runs, or their `record.json` files.

    Returns:
        The settings that differ, and the accuracies and differences of every variant.

    Raises:
        InputError: If a path has no record of a run, or the runs do not use the same data.
    """
    if len(paths) < 2:
        raise bad("runs", "be two or more runs", [str(path) for path in paths])
    files = [_file(Path(path)) for path in paths]
    if len({file.resolve() for file in files}) < len(files):
        raise bad("runs", "be different runs", [str(path) for path in paths])
    records = [RunRecord.load(file) for file in files]
    sources = {record.recipe.data.source for record in records}
    if len(sources) > 1:
        raise InputError(
            "Runs can be compared if their students are tested on the same data. Received:"
            f" {', '.join(sorted(sources))}."
        )
    return CompareRecord(
        runs=tuple(_names(files)),
        started=tuple(record.started for record in records),
        settings=tuple(_settings(records)),
        results=tuple(_results(records)),
        notes=tuple(_notes(records)),
    )


def _file(path: Path) -> Path:
    file = path / _RECORD if path.is_dir() else path
    if not file.exists():
        raise InputError(f"{path} has no {_RECORD}: it is not the folder of a finished run.")
    return file


def _names(files: Sequence[Path]) -> list[str]:
    """Returns the shortest ends of the folders' paths that distinguish the runs."""
    parts = [file.resolve().parent.parts for file in files]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-count:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(file) for file in files]


def _settings(records: Sequence[RunRecord]) -> list[ComparedSetting]:
    tables = [
        _flat({"scale": r.scale, **r.recipe.model_dump(mode="json", exclude=_NO_RESULT)})
        for r in records
    ]
    found: list[ComparedSetting] = []
    for key in dict.fromkeys(key for table in tables for key in table):
        values = [table.get(key) for table in tables]
        if len({json.dumps(value, sort_keys=True) for value in values}) > 1:
            found.append(ComparedSetting(key=key, values=tuple(values)))
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Converts nested tables to one table with dotted keys; a list is a value."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _results(records: Sequence[RunRecord]) -> list[ComparedResult]:
    """Returns the results of the teacher, then of each variant."""
    teachers = [_one(record.teacher.test_accuracy) for record in records]
    rows: list[tuple[str, list[dict[int, float]]]] = []
    for name in dict.fromkeys(v.name for record in records for v in record.variants):
        rows.append((name, [_by_seed(record, name) for record in records]))
    pairs = [_paired(by_seed[0], other) for _, by_seed in rows for other in [{}, *by_seed[1:]]]
    p_values = [float("nan") if pair is None else paired_p_value(*pair) for pair in pairs]
    adjusted, count = holm(p_values), len(records)
    found = [
        ComparedResult(
            name="teacher",
            accuracies=tuple(teachers),
            differences=(None,) * count,
            p=(None,) * count,
            p_adjusted=(None,) * count,
        )
    ]
    for number, (name, by_seed) in enumerate(rows):
        part = slice(number * count, (number + 1) * count)
        found.append(
            ComparedResult(
                name=name,
                accuracies=tuple(
                    IntervalRecord.of(mean_interval(list(seeds.values()))) if seeds else None
                    for seeds in by_seed
                ),
                differences=tuple(
                    None if pair is None else IntervalRecord.of(paired_difference(*pair))
                    for pair in pairs[part]
                ),
                p=tuple(p_values[part]),
                p_adjusted=tuple(adjusted[part]),
            )
        )
    return found


def _one(accuracy: float | None) -> IntervalRecord | None:
    nothing = float("nan")
    if accuracy is None:
        return None
    return IntervalRecord.of(Interval(accuracy, nothing, nothing, 1))


def _by_seed(record: RunRecord, name: str) -> dict[int, float]:
    variants = [variant for variant in record.variants if variant.name == name]
    return {s.seed: s.test_accuracy for variant in variants for s in variant.seeds}


def _paired(
    first: Mapping[int, float], other: Mapping[int, float]
) -> tuple[list[float], list[float]] | None:
    """Returns the accuracies for the common seeds: those of `other`, then those of `first`."""
    seeds = [seed for seed in first if seed in other]
    return ([other[s] for s in seeds], [first[s] for s in seeds]) if seeds else None


def _notes(records: Sequence[RunRecord]) -> list[str]:
    notes: list[str] = []
    if any(record.scale == "smoke" for record in records):
        notes.append("A smoke run is among them: its numbers mean nothing.")
    if len({record.data.test for record in records}) > 1:
        notes.append("The test splits have different sizes.")
    versions = [record.versions for record in records]
    names = dict.fromkeys(name for found in versions for name in found)
    differ = [name for name in names if len({found.get(name) for found in versions}) > 1]
    if differ:
        notes.append(f"Other versions of: {', '.join(differ)}.")
    if len({record.teacher.fingerprint for record in records}) > 1:
        notes.append("The teachers are not the same, so intervals leave out how much they vary.")
    return notes
