"""Creates the candidates of a choice and measures each on the rows for the choice."""

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_distill._internal import InputError
from keras_distill.benchmarks import measure_latency
from keras_distill.export import Prepared, Rule, Session
from keras_distill.litert import Probe, Quantizer, probe_on
from keras_distill.precision import _recipes
from keras_distill.precision._recipes import CONVERTED, INT4, INT8, WEIGHTS, Recipe
from keras_distill.precision._rows import first_look
from keras_distill.precision._sensitivity import Measured, measure_sensitivity
from keras_distill.records import LatencyRecord, VerificationRecord

_RUNS = 20  # timed calls of each file
_SOURCE = "source.tflite"  # the file in which single operators are quantized
_MORE = (INT4, WEIGHTS, INT8)  # families that are mixed, smallest first
_HOPELESS = 15.0  # points beyond the limit on a few rows; at least three standard errors

Report = Callable[[str], None]


class Tried(NamedTuple):
    """A candidate and its measurements.

    Attributes:
        recipe: How the file is made.
        file: The file; None if it could not be made.
        seconds: Duration of the conversion.
        error: Why there is no file, or why it cannot be run.
        probe: The properties of the file.
        verification: The verification on the rows for the choice.
        latency: The latency of one row; None if not measured.
        unrolled: Whether recurrent layers were unrolled.
    """

    recipe: Recipe
    file: Path | None = None
    seconds: float = 0.0
    error: str = ""
    probe: Probe | None = None
    verification: VerificationRecord | None = None
    latency: LatencyRecord | None = None
    unrolled: bool = False

    @property
    def bytes(self) -> int:
        """Size of the file, which must exist."""
        assert self.file is not None
        return self.file.stat().st_size

    @property
    def drop(self) -> float | None:
        """Loss of the output that loses most, in percentage points."""
        worst = None if self.verification is None else self.verification.worst
        return None if worst is None else worst.drop

    @property
    def disagreement(self) -> float:
        """By how many percentage points the agreement is below the requested minimum."""
        found = self.verification
        if found is None or found.min_agreement is None:
            return 0.0
        shares = [one.agreement for one in found.outputs if one.agreement is not None]
        return max(0.0, 100 * (found.min_agreement - min(shares, default=0.0)))

    @property
    def ratio(self) -> float | None:
        """Latency relative to the float32 file."""
        if self.latency is None:
            return None
        return 1.0 if self.latency.ratio is None else self.latency.ratio.value


class Search:
    """The candidates of one choice.

    Args:
        session: The model, its calibration rows, and the rows for the choice.
        max_drop: Maximum loss, in percentage points.
        report: Receives lines of progress. If None, progress is not reported.

    Attributes:
        tried: The candidates by name.
        sensitivity: The measured sensitivities on which the mixtures are based.
        conversions: Number of files that were made.
        notes: What was not tried, and why.
    """

    def __init__(self, session: Session, max_drop: float, report: Report | None) -> None:
        self._session, self._max_drop, self._report = session, max_drop, report
        self._look = first_look(session.prepared)
        self.tried: dict[str, Tried] = {}
        self.sensitivity: list[Measured] = []
        self.conversions = 0
        self.notes: list[str] = []

    @property
    def prepared(self) -> Prepared:
        """The model and the rows for the choice."""
        return self._session.prepared

    def run(self) -> None:
        """Tries plain precisions, then mixtures of small precisions that lose too much."""
        self.convert(CONVERTED)
        source = self._session.folder / _SOURCE
        if not source.exists():
            self.notes.append("mixed precision needs a float32 file, which cannot be made")
            return
        with self._session.quantizer(source) as quantizer:
            for recipe in _recipes.plain(quantizer.operators):
                self._quantize(quantizer, recipe)
            for family in _MORE:
                self._mix(quantizer, family)

    def convert(self, recipes: Sequence[Recipe], session: Session | None = None) -> None:
        """Tries recipes for the TFLite converter."""
        made = (session or self._session).convert([recipe.family for recipe in recipes])
        for recipe in recipes:
            found = made[recipe.family]
            self.conversions += 1
            file = found.path
            if session is not None and file is not None:  # its folder is removed before
                file = Path(shutil.copy(file, self._session.folder / "unrolled.tflite"))
            if recipe.family == "float32" and file is not None:
                # Keep this file, because the candidate may lose the names that identify operators.
                shutil.copy(file, self._session.folder / _SOURCE)
            tried = Tried(recipe, file, found.seconds, found.error or "")
            self.add(tried._replace(unrolled=session is not None))

    def add(self, tried: Tried) -> None:
        """Measures a candidate if its file exists."""
        if tried.file is not None:
            try:
                probe, verification = self._measured(tried.file, self.rule(tried.recipe))
                tried = tried._replace(probe=probe, verification=verification)
            except InputError as error:
                text = str(error).replace(str(tried.file), "the file")
                tried = tried._replace(file=None, error=text)
        self.tried[tried.recipe.name] = tried
        if self._report is not None:
            self._report(_line(tried))

    def rule(self, recipe: Recipe) -> Rule:
        """Returns the rule by which a candidate is judged."""
        options = self._session.prepared.options
        return Rule.of_precision(
            recipe.family,
            limit=(options.limits or {}).get(recipe.family),
            max_drop=self._max_drop,
            min_agreement=options.min_agreement,
        )

    def judge(self, tried: Tried, judging: Prepared) -> VerificationRecord:
        """Verifies a candidate on the given rows, which were not used for the choice."""
        assert tried.file is not None
        return self._verified(tried.file, self.rule(tried.recipe), judging)

    def _measured(self, file: Path, rule: Rule) -> tuple[Probe, VerificationRecord]:
        """Verifies a new file on the rows for the choice, or on a few if it loses far too much."""
        probe, produced = self._session.run(file, self._look)
        found = self._session.verify(produced, rule, self._look)
        lost = None if found.worst is None else found.worst.drop
        if self._look is None or (lost is not None and lost > self._max_drop + _HOPELESS):
            return probe, found
        return probe, self._verified(file, rule, self.prepared)

    def _verified(self, file: Path, rule: Rule, prepared: Prepared) -> VerificationRecord:
        _, produced = probe_on(file, prepared.samples.x, threads=os.cpu_count() or 1)
        return self._session.verify(produced, rule, prepared)

    def passing(self) -> list[Tried]:
        """Returns the candidates within the limits of accuracy, smallest first."""
        kept = [t for t in self.tried.values() if t.verification and t.verification.passed]
        return sorted(kept, key=lambda one: one.bytes)

    def is_worth(self, families: Iterable[str]) -> bool:
        """Returns whether a file of these families would be smaller than the best so far.

        This requires that they exist and that all of them lose too much.
        """
        wanted = set(families)
        own = [t for t in self.tried.values() if t.file and t.recipe.family in wanted]
        best = self.passing()[:1]
        return bool(own) and not any(t.bytes <= min(one.bytes for one in own) for t in best)

    def time(self) -> None:
        """Measures the latency of all files, which run alternately."""
        files = {t.recipe.name: t.file for t in self.tried.values() if t.file is not None}
        x = self._session.prepared.samples.x
        first = {name: a[:1] for name, a in x.items()}
        try:
            timings = measure_latency(files, first, runs=_RUNS, batch_size=1)
        except InputError as error:
            self.notes.append(f"the latency was not measured: {error}")
            return
        for name, timing in timings.items():
            self.tried[name] = self.tried[name]._replace(latency=timing.records[0])

    def _quantize(self, quantizer: Quantizer, recipe: Recipe) -> Tried:
        file = self._session.folder / f"{len(self.tried)}.tflite"
        float_io = self._session.prepared.options.io == "float32" or not recipe.integer
        self.conversions += 1
        try:
            quantizer.quantize(file, recipe.rules, ranges=recipe.ranges, float_io=float_io)
            tried = Tried(recipe, file)
        except InputError as error:
            tried = Tried(recipe, error=str(error))
        self.add(tried)
        return self.tried[recipe.name]

    def _mix(self, quantizer: Quantizer, family: str) -> None:
        if not self.is_worth([family]):
            return
        before = quantizer.calls
        ranked = measure_sensitivity(quantizer, family, report=self._report)
        self.conversions += quantizer.calls - before
        self.sensitivity += ranked
        groups = [one.group for one in ranked]
        by_other: dict[str, bool] = {}
        for recipe in _recipes.mixtures(family, groups):
            other = recipe.rules[-1].kind
            if by_other.get(other):  # fewer groups were enough
                continue
            tried = self._quantize(quantizer, recipe)
            found = tried.verification
            by_other[other] = found is not None and found.passed


def _line(tried: Tried) -> str:
    name = tried.recipe.name
    if tried.file is None:
        return f"{name}: not supported"
    lost = "" if tried.drop is None else f", {tried.drop:.2f} points lost"
    return f"{name}: {tried.bytes:,} bytes{lost}"
