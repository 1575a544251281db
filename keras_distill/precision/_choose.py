"""Chooses the smallest file that keeps the accuracy of a model, by trying several."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_distill._internal import (
    InputError,
    VerificationError,
    check_count,
    check_number,
)
from keras_distill._internal._checks import MAX_INT
from keras_distill._internal._types import PathLike
from keras_distill.export import (
    MAX_DROP,
    ExportOptions,
    Prepared,
    Session,
    check_paths,
    make_record,
    prepare,
    resolve,
    write_export,
)
from keras_distill.precision._rows import Rows, choose_rows
from keras_distill.precision._search import Search, Tried
from keras_distill.precision._train import Training, add_trained
from keras_distill.precision._unrolled import add_unrolled
from keras_distill.records import (
    ExportRecord,
    PrecisionCandidate,
    PrecisionRecord,
    VerificationRecord,
)


class Limits(NamedTuple):
    """The limits for a file.

    Attributes:
        max_drop: Maximum loss of the metric, in percentage points.
        max_bytes: Maximum size. If None, no limit.
        max_latency_ratio: Maximum latency relative to the float32 file. If None, no limit.
    """

    max_drop: float
    max_bytes: int | None = None
    max_latency_ratio: float | None = None

    def misses(self, tried: Tried) -> list[str]:
        """Returns which limits of size and latency a candidate exceeds, and by how much."""
        found = []
        if self.max_bytes is not None and tried.bytes > self.max_bytes:
            found.append(f"{tried.bytes:,} bytes, more than {self.max_bytes:,}")
        ratio, most = tried.ratio, self.max_latency_ratio
        if most is not None and (ratio is None or ratio > most):
            shown = "was not measured" if ratio is None else f"{ratio:.2f} times that of float32"
            found.append(f"latency {shown}; at most {most:g} times is allowed")
        return found

    def excess(self, tried: Tried) -> float:
        """Returns by how much a candidate exceeds the limits: the sum of the relative excesses."""
        drop = math.inf if tried.drop is None else tried.drop
        over = (max(0.0, drop - self.max_drop) + tried.disagreement) / max(self.max_drop, 0.1)
        if self.max_bytes is not None:
            over += max(0.0, tried.bytes / self.max_bytes - 1)
        if self.max_latency_ratio is not None:
            over += max(0.0, (tried.ratio or math.inf) / self.max_latency_ratio - 1)
        return over


def choose_tflite(
    model: Any,
    path: PathLike,
    *,
    max_bytes: int | None = None,
    max_latency_ratio: float | None = None,
    also: Callable[[Path], Sequence[str]] | None = None,
    training: Training | None = None,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> ExportRecord:
    """Writes the smallest `.tflite` file that keeps the accuracy of a model, and its record.

    It tries the plain precisions, int4 weights in blocks and rotated, and then mixed precision, in
    which the operators that affect the outputs most on the calibration rows are more precise. With
    `training`, a model that loses too much in int8 is also trained for int8.

    The file is chosen on one part of `data` and then verified on the other part. For a data spec,
    these parts are the validation and the test split; for other data, they are random halves.

    Args:
        model: See `export_tflite`.
        path: The file to write.
        max_bytes: Maximum size. If None, no limit.
        max_latency_ratio: Maximum latency of one row relative to the float32 file, on this machine.
            If None, no limit.
        also: Function that takes the path of a file and returns further reasons to reject the file.
            It is called for files that pass, smallest first, until one is chosen.
        training: How to train the model for int8. If None, the model is not trained.
        progress: Function that receives a line of text for each file that was tried.
        **options: Arguments of `export_tflite`. `data` is required; `max_drop` is the allowed loss.
            Without `calibration`, the calibration rows are the training split of a data spec;
            for other data, they are the rows on which the file is chosen.

    Returns:
        The record; its `precision` lists all files that were tried.

    Raises:
        InputError: If an argument is not valid, or `data` has no labels.
        VerificationError: If no file passes. Nothing is written; the error has the
            `PrecisionRecord`.

    Example:
        >>> import keras, tempfile, numpy as np
        >>> model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(3)])
        >>> x = np.random.default_rng(0).normal(size=(200, 16)).astype("float32")
        >>> y = model.predict(x, verbose=0).argmax(axis=1)
        >>> file = Path(tempfile.mkdtemp(), "small.tflite")
        >>> record = choose_tflite(model, file, data=(x, y), max_drop=5)
        >>> record.precision.chosen_on, record.precision.judged_on
        ('data given, one half', 'data given, the other half')
        >>> record.bytes == min(c.bytes for c in record.precision.candidates
        ...                     if c.outcome in ("passed", "chosen"))
        True
    """
    path, given = Path(path), ExportOptions(**options)
    if given.keep_failed or given.sparse:
        raise InputError("quantization='auto' takes neither `keep_failed` nor `sparse`.")
    if max_bytes is not None:
        check_count("max_bytes", max_bytes, at_most=MAX_INT)
    if max_latency_ratio is not None:
        check_number("max_latency_ratio", max_latency_ratio, above=0)
    check_paths(path, given)
    source = resolve(model, imports=given.imports)
    rows = choose_rows(source, given)
    choosing, judging = _prepared(source, given, rows)
    drop = given.max_drop
    limits = Limits(
        MAX_DROP if drop is None else drop,
        max_bytes,
        max_latency_ratio,
    )
    with Session(choosing) as session:
        search = Search(session, limits.max_drop, progress)
        search.run()
        add_unrolled(search, session)
        if training is not None:
            add_trained(search, session, training)
        search.time()
        outcome = _decide(search, limits, judging, also)
        table = _table(search, limits, judging, outcome)
        if outcome.chosen is None or outcome.verification is None:
            raise VerificationError(_nothing(table, path), record=table)
        record = _record(outcome.chosen, outcome.verification, table, judging, path)
        assert outcome.chosen.file is not None
        write_export(path, outcome.chosen.file, record, overwrite=given.overwrite)
        return record


def _prepared(source: Any, given: ExportOptions, rows: Rows) -> tuple[Prepared, Prepared]:
    """Runs the model on the rows for the choice and on the rows for the verification."""
    calibration = given.calibration
    if calibration is None:
        calibration = rows.choosing if rows.splits is None else rows.splits
        if calibration is rows.choosing:
            calibration = rows.choosing._replace(y=None)
    first = dataclasses.replace(given, data=rows.choosing, calibration=calibration)
    choosing = prepare(source, first, integer=True)
    if not choosing.truths:
        raise InputError(
            "quantization='auto' measures accuracy, so `data` must have labels of the outputs:"
            " (x, y)."
        )
    second = dataclasses.replace(first, data=rows.judging, calibration=None, report=None)
    judging = prepare(source, second, integer=False)
    kinds = [{name: t.metric for name, t in rows.truths.items()} for rows in (choosing, judging)]
    if kinds[0] != kinds[1]:
        raise InputError(
            f"The rows that choose and those that judge must have labels of one kind. Received:"
            f" {kinds[0]} ({choosing.samples.source}) and {kinds[1]} ({judging.samples.source})."
        )
    return choosing, judging._replace(calibration=choosing.calibration)


class _Outcome(NamedTuple):
    """The chosen candidate, its verification, and why others were rejected.

    Attributes:
        chosen: The chosen candidate; None if no file passes.
        verification: Its verification on the rows that were not used for the choice.
        judged: The results of candidates on these rows.
        refused: The reasons that `also` gives against candidates.
        nearest: The candidate that exceeds the limits least.
    """

    chosen: Tried | None
    verification: VerificationRecord | None
    judged: dict[str, VerificationRecord]
    refused: dict[str, Sequence[str]]
    nearest: Tried | None


def _decide(
    search: Search,
    limits: Limits,
    judging: Prepared,
    also: Callable[[Path], Sequence[str]] | None,
) -> _Outcome:
    judged: dict[str, VerificationRecord] = {}
    refused: dict[str, Sequence[str]] = {}
    for tried in search.passing():
        if limits.misses(tried):
            continue
        assert tried.file is not None
        refused[tried.recipe.name] = () if also is None else also(tried.file)
        if refused[tried.recipe.name]:
            continue
        found = search.judge(tried, judging)
        judged[tried.recipe.name] = found
        if found.passed:
            return _Outcome(tried, found, judged, refused, None)
    files = [tried for tried in search.tried.values() if tried.verification is not None]
    nearest = min(files, key=lambda one: (limits.excess(one), one.bytes), default=None)
    return _Outcome(None, None, judged, refused, nearest)


def _nothing(table: PrecisionRecord, path: Path) -> str:
    """Returns the message that no file passes, with the candidate that exceeds limits least."""
    nearest = next((c for c in table.candidates if c.name == table.nearest), None)
    tried = len(table.candidates)
    if nearest is None:
        reasons = [f"{c.name}: {'; '.join(c.reasons)}" for c in table.candidates]
        return f"{path.name}: none of {tried} files can be made. {' '.join(reasons)}"[:480]
    lost = "" if nearest.drop is None else f", {nearest.drop:.2f} points lost"
    return (
        f"{path.name} is not written: none of {tried} files that were tried passes. Nearest:"
        f" {nearest.name} ({nearest.bytes:,} bytes{lost}): {'; '.join(nearest.reasons)[:250]}."
    )


def _table(search: Search, limits: Limits, judging: Prepared, outcome: _Outcome) -> PrecisionRecord:
    choosing = search.prepared
    worst = next(
        (t.verification.worst for t in search.tried.values() if t.verification is not None), None
    )
    float32 = search.tried["float32"]
    size = float32.bytes if float32.file is not None else 0
    rows = choosing.samples.rows
    candidates = [_candidate(t, limits, outcome, rows) for t in search.tried.values()]
    candidates.sort(key=lambda one: (one.bytes is None, one.bytes or 0))
    return PrecisionRecord(
        metric="accuracy" if worst is None else worst.metric,
        reference=0.0 if worst is None else worst.judged.reference or 0.0,
        **limits._asdict(),
        chosen=None if outcome.chosen is None else outcome.chosen.recipe.name,
        nearest=None if outcome.nearest is None else outcome.nearest.recipe.name,
        chosen_on=choosing.samples.source,
        chosen_on_rows=choosing.samples.rows,
        judged_on=judging.samples.source,
        judged_on_rows=judging.samples.rows,
        candidates=tuple(_with_front(candidates)),
        sensitivity=tuple(one.record(size) for one in search.sensitivity),
        conversions=search.conversions,
        notes=tuple(search.notes),
    )


def _candidate(tried: Tried, limits: Limits, outcome: _Outcome, rows: int) -> PrecisionCandidate:
    recipe, found = tried.recipe, tried.verification
    common: dict[str, Any] = {
        "name": recipe.name,
        "family": recipe.family,
        "rules": recipe.recorded,
        "kept": recipe.kept,
    }
    if found is None:
        return PrecisionCandidate(outcome="not supported", reasons=(tried.error,), **common)
    judged = outcome.judged.get(recipe.name)
    few = f" (on {found.samples} rows)" if found.samples < rows else ""
    reasons = [*(f"{text}{few}" for text in _against(found)), *limits.misses(tried)]
    reasons += outcome.refused.get(recipe.name, ())
    if judged is not None:
        reasons += [f"{text} (on {judged.source})" for text in _against(judged)]
    worst = found.worst or found.outputs[0]
    verdict = "failed" if reasons else "chosen" if tried is outcome.chosen else "passed"
    return PrecisionCandidate(
        outcome=verdict,
        reasons=tuple(reasons),
        bytes=tried.bytes,
        score=worst.judged.file,
        drop=worst.drop,
        worst_class_drop=None if worst.worst_class is None else worst.worst_class.drop,
        agreement=worst.agreement,
        latency_ms=None if tried.latency is None else tried.latency.median_ms,
        latency_ratio=tried.ratio,
        judged_drop=None if judged is None or judged.worst is None else judged.worst.drop,
        **common,
    )


def _against(found: VerificationRecord) -> tuple[str, ...]:
    """Returns the reasons why a file did not pass."""
    return found.failures or (() if found.passed else (found.statement,))


def _with_front(candidates: list[PrecisionCandidate]) -> list[PrecisionCandidate]:
    """Marks the candidates on the Pareto front of bytes and drop."""
    found, best = [], math.inf
    for one in candidates:  # smallest first
        on_front = one.drop is not None and one.drop < best
        if on_front and one.drop is not None:
            best = one.drop
        found.append(one.model_copy(update={"on_front": on_front}))
    return found


def _record(
    chosen: Tried,
    verification: VerificationRecord,
    table: PrecisionRecord,
    judging: Prepared,
    path: Path,
) -> ExportRecord:
    assert chosen.file is not None and chosen.probe is not None
    recipe = chosen.recipe
    record = make_record(
        judging, recipe.family, path, chosen.file, chosen.seconds, chosen.probe, verification
    )
    changes: dict[str, Any] = {"unrolled": chosen.unrolled}
    if recipe.rules:
        changes |= {"quantization": "mixed", "rules": recipe.recorded}
    if recipe.integer and record.recipe.io != judging.options.io:
        changes["io"] = judging.options.io
    own = record.recipe.model_copy(update=changes)
    return record.model_copy(update={"recipe": own, "precision": table})
