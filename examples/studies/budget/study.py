"""The tables of the study of budgets, from the records of its runs.

for seed in 0 1 2; do
    for name in digits digits-int4 mnist; do
        keras-distill run $name.toml --data-dir DIR --set seeds=[$seed] -o runs/$name-$seed
        cp runs/$name-$seed/record.json records/$name-$seed.json
    done
done
keras-distill run digits.toml --set seeds=3 -o runs/digits-best-of-3
cp runs/digits-best-of-3/record.json records/digits-best-of-3.json
python ../tables.py        # writes the tables of README.md
"""

from pathlib import Path

from keras_distill.records import RunRecord
from keras_distill.report import CANDIDATE_COLUMNS, candidate_rows


def readme_tables(records):
    """The tables of README.md: the runs; of the first of each recipe, candidates and files."""
    found = [RunRecord.load(path) for path in sorted(Path(records).glob("*-?.json"))]
    tables = [runs_table(found)]
    for name in ("budget-digits", "budget-digits-int4", "budget-mnist"):
        record = next(one for one in found if one.recipe.name == name)
        tables.append(candidates_table(record))
        if name != "budget-digits-int4":
            tables.append(files_table(record.exports.exports["auto"].precision))
    return tables


def runs_table(found):
    """A row for each run."""
    lines = [
        "| data | seeds | sized for | budget | file | precision | drop, validation | drop, test"
        " | winner | epochs of the search | time of the search, s | run, s |",
        "|---|---|---|---:|---:|---|---:|---:|---|---:|---:|---:|",
    ]
    for record in found:
        search, kept = record.search, record.budget
        entry = next((one for one in record.benchmark.entries if one.file == kept.file), None)
        exports = {one.file: one for one in record.exports.exports.values()}
        drops = ["", ""]
        if entry is not None:
            test = 100 * (record.teacher.test_accuracy - entry.quality.accuracy)
            drops = [f"{kept.drop:+.2f}", f"{test:+.2f}"]
        lines.append(
            f"| {record.recipe.data.source} | {', '.join(map(str, record.recipe.seeds))}"
            f" | {search.precision}"
            f" | {record.recipe.budget.max_bytes:,} | {kept.bytes:,}"
            f" | {precision_of(exports[kept.file]) if kept.file else 'none'} | {' | '.join(drops)}"
            f" | `{search.chosen.title}` | {share(search.epochs, search.epochs_in_full)}"
            f" | {share(search.seconds, seconds_in_full(record))} | {record.seconds:.0f} |"
        )
    return "\n".join(lines) + "\n"


def precision_of(export):
    """The precision of a file; that which `auto` chose."""
    return export.recipe.quantization if export.precision is None else export.precision.chosen


def seconds_in_full(record):
    """The time of training all ranked candidates in full, if each takes as long as the chosen."""
    ranked = sum(one.outcome != "over the budget" for one in record.search.candidates)
    return ranked * record.variants[-1].seeds[0].seconds


def share(part, whole):
    """A part of a whole, and its share."""
    return f"{part:.0f} of {whole:.0f} ({100 * part / whole:.0f} %)"


def candidates_table(record):
    """A row for each candidate of a run."""
    lines = [
        "| candidate | parameters | bytes | latency ratio | accuracy by round, % | outcome |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for one in record.search.candidates:
        rounds = ", ".join(f"{100 * part.validation_accuracy:.2f}" for part in one.rounds)
        ratio = "" if one.latency_ratio is None else f"{one.latency_ratio:.2f}"
        reason = f": {one.reason}" if one.reason else ""
        lines.append(
            f"| `{one.title}` | {one.parameters:,} | {one.bytes:,} | {ratio} | {rounds} |"
            f" {one.outcome}{reason} |"
        )
    return "\n".join(lines) + "\n"


def files_table(tried):
    """A row for each precision that was tried."""
    rows = [CANDIDATE_COLUMNS, ("---",) * len(CANDIDATE_COLUMNS)]
    rows += candidate_rows(tried)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
