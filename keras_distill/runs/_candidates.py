"""Creates the candidates for a budget: narrower copies of the teacher, and specs of the recipe."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from typing_extensions import Self

from keras_distill import models
from keras_distill._internal import InputError, bad
from keras_distill.benchmarks import measure_latency
from keras_distill.export import KerasSource, random_samples
from keras_distill.precision import AUTO
from keras_distill.records import BudgetPart, Candidate, ShrinkRecord
from keras_distill.runs._arena import arena_failure, arena_of
from keras_distill.runs._context import RunContext
from keras_distill.shrink import Settings, export_candidate, find_blocks, shrunk, smallest_file

_ROWS = 64
_SMALLEST_FIRST = ("weight-only-int4", "int8", "weight-only-int8", "dynamic", "int16x8", "float16")
_NARROWER = (0.7, 0.5)  # fractions of the widest candidate's parameters
_FILLED = 0.9  # fraction of the budget that the widest candidate should use
_SHALLOWER = (0.75, 0.5)  # fractions of the teacher's residual blocks


@dataclass(frozen=True)
class CandidateFiles:
    """The paths of the candidates' files: `NAME.keras`, its records, and its `.tflite` file.

    Attributes:
        folder: The folder.
    """

    folder: Path

    @classmethod
    def of(cls, context: RunContext) -> Self:
        """Returns the paths for a run.

        Args:
            context: The run.
        """
        return cls(context.folder.scratch / "candidates")

    def file(self, name: str, precision: str) -> Path:
        """Returns the path of the `.tflite` file that is measured."""
        return self.folder / f"{name}-{precision}.tflite"

    def model(self, name: str) -> Path:
        """Returns the path of the untrained model."""
        return self.folder / f"{name}.keras"

    def record(self, name: str) -> Path:
        """Returns the path of the `Candidate` record."""
        return self.folder / f"{name}.json"

    def shrunk(self, name: str) -> Path:
        """Returns the path of the `ShrinkRecord`, for a narrower teacher."""
        return self.folder / f"{name}-shrink.json"


def precision_of(context: RunContext) -> str:
    """Returns the precision of the recipe with the smallest files; `auto` counts as int8."""
    wanted = ["int8" if name == AUTO else name for name in context.recipe.quantizations]
    return next((name for name in _SMALLEST_FIRST if name in wanted), wanted[0])


def count_candidates(budget: BudgetPart, teacher: keras.Model | None) -> int:
    """Returns the maximum number of candidates that `make_candidates` creates.

    Args:
        budget: The budget.
        teacher: The teacher, trained or not, if it is a Keras model; otherwise None.
    """
    if teacher is None:
        return len(budget.candidates)
    shallower = len(_SHALLOWER) if find_blocks(teacher) else 0
    # 4: widest, fine, taylor, scratch
    return 4 + len(_NARROWER) + shallower + len(budget.candidates)


def check_reachable(context: RunContext, budget: BudgetPart, teacher: keras.Model | None) -> None:
    """Checks that the narrowest teacher is within the budget, before the teacher is trained.

    A recipe with candidates of its own is not checked.

    Args:
        context: The run.
        budget: The budget.
        teacher: The teacher, trained or not, if it is a Keras model; otherwise None.

    Raises:
        InputError: If no candidate can be within the budget.
    """
    if teacher is None or budget.candidates:
        return
    precision = precision_of(context)
    smallest = smallest_file(teacher, precision, context.file_options)
    if smallest > budget.max_bytes:
        raise bad(
            "budget.max_bytes",
            f"be >= {smallest}, the bytes of the narrowest {context.recipe.teacher} as {precision},"
            " or `candidates` must be given",
            budget.max_bytes,
        )


def make_candidates(
    context: RunContext, budget: BudgetPart, teacher: keras.Model | None
) -> tuple[CandidateFiles, list[Candidate]]:
    """Creates and measures the candidates. Candidates of an earlier session are reused.

    Args:
        context: The run.
        budget: The budget.
        teacher: The teacher, if it is a Keras model; otherwise None.

    Returns:
        The paths of the candidates' files, and their records.

    Raises:
        InputError: If no candidate is within the budget.
    """
    files = CandidateFiles.of(context)
    files.folder.mkdir(exist_ok=True)
    makers = _Makers(context, budget, files)
    found = [*makers.narrower(teacher), *makers.given()]
    found = _with_latency(context, found, budget, files, teacher)
    found = _with_arena(context, found, budget, files)
    if all(one.outcome == "over the budget" for one in found):
        smallest = min(found, key=lambda one: one.bytes)
        raise InputError(
            f"`budget` cannot be met by any of {len(found)} candidates. The smallest,"
            f" {smallest.title}, has {smallest.reason}. Raise the budget, or give `candidates`."
        )
    return files, found


class _Makers:
    """Creates candidates one by one; loads those of an earlier session."""

    def __init__(self, context: RunContext, budget: BudgetPart, files: CandidateFiles) -> None:
        self._context, self._budget, self._files = context, budget, files
        self._precision = precision_of(context)

    def given(self) -> Iterator[Candidate]:
        """Yields the candidates that the recipe names."""
        for number, spec in enumerate(self._budget.candidates, start=1):
            seed = self._context.recipe.seeds[0]
            yield self._make(
                f"given-{number}",
                spec,
                lambda s=spec, i=seed: (self._context.build(s, seed=i), None),
            )

    def narrower(self, teacher: keras.Model | None) -> Iterator[Candidate]:
        """Yields the widest teacher within the budget, and variations of it.

        The variations are another ranking of the units, fewer units, fewer blocks, and the same
        network with random weights. Which of them is best depends on the data.
        """
        if teacher is None:
            return
        limit = f"bytes={self._budget.max_bytes}:{self._precision}"
        try:
            widest = self._shrink("widest", teacher, budget=limit)
        except InputError as error:
            if not self._budget.candidates:
                raise InputError(f"The teacher cannot be made so small: {error}") from error
            return
        yield widest
        steps: dict[str, Any] = {}
        if widest.bytes < _FILLED * self._budget.max_bytes:  # multiples of 8 channels: too coarse
            steps = {"multiple": 1}
            widest = self._shrink("fine", teacher, budget=limit, **steps)
            yield widest
        size = widest.parameters
        for name, settings in _variations(size, shallower=bool(find_blocks(teacher))):
            try:
                candidate = self._shrink(name, teacher, **settings, **steps)
            except InputError:  # the teacher cannot be made this narrow
                continue
            yield candidate
        yield self._make(
            "scratch",
            f"as {widest.title}, with random weights",
            lambda: (_with_random_weights(self._files.model(widest.name)), None),
        )

    def _shrink(self, name: str, teacher: keras.Model, **settings: Any) -> Candidate:
        options = [f"{key}={value}" for key, value in settings.items() if key != "budget"]
        title = f"shrink:{settings['budget']}" + ("?" + "&".join(options) if options else "")

        def make() -> tuple[keras.Model, ShrinkRecord]:
            return shrunk(
                teacher,
                Settings.of(**settings),
                self._context.splits,
                export=self._context.file_options,
            )

        return self._make(name, title, make)

    def _make(self, name: str, title: str, make: Any) -> Candidate:
        path = self._files.record(name)
        if path.exists():
            return Candidate.load(path)
        self._context.reporter.stage("candidate", title)
        model, record = make()
        models.save_uncompiled(model, self._files.model(name))
        _vary(model)
        samples = random_samples(model, KerasSource(model).inputs, _ROWS)
        file = export_candidate(
            model, self._precision, samples, self._files.folder, name, self._context.file_options
        )
        size, most = file.stat().st_size, self._budget.max_bytes
        candidate = Candidate(
            name=name,
            title=title,
            parameters=model.count_params(),
            bytes=size,
            outcome="ranked" if size <= most else "over the budget",
            reason=None if size <= most else f"{size:,} bytes, more than {most:,}",
        )
        if record is not None:
            record.save(self._files.shrunk(name), overwrite=True)
        candidate.save(path)
        return candidate


def _variations(size: int, *, shallower: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields names and settings of narrower teachers with at most `size` parameters."""
    yield "taylor", {"budget": f"params={size}", "importance": "taylor"}
    for share in _NARROWER:
        yield f"narrow-{100 * share:.0f}", {"budget": f"params={round(share * size)}"}
    for depth in _SHALLOWER if shallower else ():
        yield f"depth-{100 * depth:.0f}", {"budget": f"params={size}", "depth": depth}


def _vary(model: keras.Model) -> None:
    """Adds noise to variables whose values are all equal before training, such as biases of 0.

    The converter omits such constants, so the file of the trained model would be larger.
    """
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        value = variable.numpy()
        if value.size and np.all(value == value.flat[0]):
            variable.assign(value + 0.01 * random.normal(size=value.shape))


def _with_random_weights(path: Path) -> keras.Model:
    """Returns a copy of the network in a file with new random weights."""
    with models.seeded(0):
        return keras.models.clone_model(models.load(path))


def _with_latency(
    context: RunContext,
    found: list[Candidate],
    budget: BudgetPart,
    files: CandidateFiles,
    teacher: keras.Model | None,
) -> list[Candidate]:
    """Measures the latency of candidates and teacher with interleaved calls.

    Candidates over the limit are marked. Without a Keras teacher, nothing is measured.
    """
    most, precision = budget.max_latency_ratio, precision_of(context)
    if teacher is None or all(one.latency_ratio is not None for one in found):
        return found
    context.reporter.stage("candidate", f"latency of {len(found)} candidates and the teacher")
    samples = random_samples(teacher, KerasSource(teacher).inputs, _ROWS)
    paths = {one.name: files.file(one.name, precision) for one in found}
    paths = {
        "teacher": export_candidate(teacher, "float32", samples, files.folder, "teacher", {}),
        **paths,
    }
    row = {name: rows[:1] for name, rows in samples.x.items()}
    timings = measure_latency(paths, row, runs=context.recipe.benchmark.runs, batch_size=1)
    measured: list[Candidate] = []
    for one in found:
        if one.latency_ratio is not None:  # measured in an earlier session
            measured.append(one)
            continue
        ratio = timings[one.name].records[0].ratio
        assert ratio is not None  # only the first, the teacher, has no ratio
        update: dict[str, Any] = {"latency_ratio": ratio.value}
        if most is not None and ratio.value > most:
            update |= _over(
                one, f"{ratio.value:.2f} times the teacher's latency, more than {most:g}"
            )
        measured.append(one.model_copy(update=update))
        measured[-1].save(files.record(one.name), overwrite=True)
    return measured


def _with_arena(
    context: RunContext, found: list[Candidate], budget: BudgetPart, files: CandidateFiles
) -> list[Candidate]:
    """Runs the candidates in TensorFlow Lite for Microcontrollers, if the budget has an arena."""
    pending = [one for one in found if one.outcome == "ranked" and one.arena_bytes is None]
    if budget.max_arena is None or not pending:
        return found
    context.reporter.stage("candidate", f"memory of {len(pending)} candidates")
    precision, measured = precision_of(context), []
    for one in found:
        if one in pending:
            arena = arena_of(files.file(one.name, precision))
            failure = arena_failure(arena, budget.max_arena)
            update = {
                "arena_bytes": arena.bytes,
                **({} if failure is None else _over(one, failure)),
            }
            one = one.model_copy(update=update)
            one.save(files.record(one.name), overwrite=True)
        measured.append(one)
    return measured


def _over(one: Candidate, reason: str) -> dict[str, Any]:
    """Returns the fields of a candidate that change if it exceeds another limit of the budget."""
    reasons = [reason] if one.reason is None else [one.reason, reason]
    return {"outcome": "over the budget", "reason": "; ".join(reasons)}
