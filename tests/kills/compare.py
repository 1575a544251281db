"""Compares two folders of results, byte for byte but for what is measured."""

import json
from pathlib import Path
from typing import Any

# Times, and what the benchmark measures: no two runs have the same.
MEASURED = {
    "created", "started", "seconds", "peak_memory_bytes", "cold_start_ms", "median_ms", "p90_ms",
    "p99_ms", "throughput", "batched_throughput", "ratio", "latency_ratio", "seal",
    "attempts", "test_reads",  # how often a job was started, and a sweep was called
}  # fmt: skip


def differences(found: Path, expected: Path) -> list[str]:
    """Lists what differs between two folders.

    JSON files are compared without what is measured. A page and a card must be what their own
    record gives.
    """
    names = {_name(path, found) for path in found.rglob("*")}
    wanted = {_name(path, expected) for path in expected.rglob("*")}
    wrong = [f"{name}: missing" for name in sorted(wanted - names)]
    wrong += [f"{name}: more than expected" for name in sorted(names - wanted)]
    for name in sorted(names & wanted):
        if (found / name).is_file() and not _same(found / name, expected / name):
            wrong.append(f"{name}: differs")
    return wrong


def _name(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder))


def _same(found: Path, expected: Path) -> bool:
    if found.read_bytes() == expected.read_bytes():
        return True
    if found.suffix == ".json":
        return _lasting(json.loads(found.read_text())) == _lasting(json.loads(expected.read_text()))
    if found.name == "report.html":
        from keras_distill import records, report

        text, sweep = found.read_text(encoding="utf-8"), found.with_name("sweep.json")
        if sweep.exists():
            return text == report.render_sweep(records.SweepRecord.load(sweep))
        return text == report.render(*_of_run(found))
    if found.name == "card.md":
        from keras_distill import report

        return found.read_text(encoding="utf-8") == report.card(*_of_run(found))
    return False


def _of_run(path: Path) -> tuple[Any, Any]:
    """Reads the record of the run that wrote `path`, and what its models said, or None."""
    from keras_distill import records

    told = path.with_name("explore.json")
    explored = records.ExploreRecord.load(told) if told.exists() else None
    return records.RunRecord.load(path.with_name("record.json")), explored


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _lasting(v) for k, v in value.items() if k not in MEASURED}
    return [_lasting(part) for part in value] if isinstance(value, list) else value
