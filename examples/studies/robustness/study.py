"""Prints the tables of README.md, made from the records of the trials."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")


def _table(columns: list[str], rows: list[list[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def inputs(found: list[dict[str, Any]]) -> str:
    """Returns the table of hostile inputs: a row for each way of running them."""
    rows = []
    for alone in (True, False):
        parts = [part for part in found if part["process_for_each"] is alone]
        if not parts:
            continue
        answers: Counter[str] = Counter()
        for part in parts:
            answers.update(part["answers"])
        faults = Counter(fault.partition(": ")[2] for part in parts for fault in part["faults"])
        rows.append(
            [
                "a process for each" if alone else "in children",
                f"{sum(part['inputs'] for part in parts):,}",
                parts[0]["kinds"],
                *(answers[code] for code in "012"),
                max(part["slowest_seconds"] for part in parts),
                max(part["most_memory_mib"] for part in parts),
                sum(faults.values()),
            ]
        )
    columns = ["inputs run", "inputs", "kinds", "exit 0", "exit 1", "exit 2", "slowest, CPU s",
               "most memory, MiB", "faults"]  # fmt: skip
    return _table(columns, rows)


def kills(found: list[dict[str, Any]]) -> str:
    """Returns the table of commands that were ended and resumed: a row for each command."""
    totals: dict[str, Counter[str]] = {}
    for part in found:
        total = totals.setdefault(part["verb"], Counter())
        total.update(part["ended"])
        total["pairs"] += sum(part["two_at_once"].values())
        total["faults"] += len(part["faults"])
    columns = (*SIGNALS, "finished", "pairs", "faults")
    rows = [[f"`{verb}`", *(total[name] for name in columns)] for verb, total in totals.items()]
    return _table(["command", *SIGNALS, "folders compared", "two at once", "faults"], rows)


def load(found: list[dict[str, Any]]) -> str:
    """Returns the table of what work in one process costs and leaves."""
    rows = []
    for part in found:
        slope = "" if part["slope"] is None else f"{part['slope']:+.3f}"
        row = [part["name"], f"{part['seconds']:.0f}", slope, f"{part['peak']:+.0f}"]
        rows.append([*row, f"{part['descriptors']:+d}", f"{part['files']:+d}"])
    columns = ["work", "CPU s", "memory, MB each", "peak, MB", "descriptors", "temporary files"]
    return _table(columns, rows)


def readme_tables(records: Path) -> list[str]:
    """Returns the tables of README.md, made from a folder of records."""
    made = {"inputs": inputs, "kills": kills, "load": load}
    files = {name: records / f"{name}.json" for name in made}
    there = [name for name, file in files.items() if file.exists()]
    return [made[name](json.loads(files[name].read_text(encoding="utf-8"))) for name in there]


def main() -> None:
    """Prints the tables."""
    print(*readme_tables(Path(__file__).parent / "records"), sep="\n\n")


if __name__ == "__main__":
    main()
