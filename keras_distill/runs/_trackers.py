"""Logs trainings to TensorBoard and MLflow with the callbacks that they provide."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from typing_extensions import Self

from keras_distill._internal import require_extra
from keras_distill.records import Recipe

# The settings that are logged with every training, besides those that a sweep varies.
_KEYS = (
    "student.model", "training.epochs", "training.learning_rate", "distillation.alpha",
    "distillation.temperature",
)  # fmt: skip


@dataclass(frozen=True)
class Trackers:
    """The trackers that log trainings while they run, in addition to the record.

    Trackers do not affect results: changing them does not repeat a training. A training that was
    already completed is not logged.

    Attributes:
        tensorboard: The folder for TensorBoard; None to log nothing there. Each training has a
            folder in it, with its scalars, and its settings for the HParams tab.
        mlflow: The name of an MLflow experiment; None to log nothing there. Each training is a run
            of the experiment. The environment variable MLFLOW_TRACKING_URI sets the server or
            folder.
        group: The name of the run, or of the point of a sweep, to which the trainings belong.
        keys: Dotted keys of the recipe whose values are logged with a training.
    """

    tensorboard: str | None = None
    mlflow: str | None = None
    group: str = ""
    keys: tuple[str, ...] = ()

    @classmethod
    def of(cls, tensorboard: str | os.PathLike[str] | None, mlflow: str | None) -> Self:
        """Creates trackers after checking that their packages are installed.

        Raises:
            MissingExtraError: If a package is not installed. The message has the pip command.
        """
        if tensorboard is not None:
            require_extra("tensorboard", "tensorboard")
        if mlflow is not None:
            require_extra("mlflow", "mlflow")
        return cls(None if tensorboard is None else str(Path(tensorboard).resolve()), mlflow)

    def values(self) -> dict[str, Any]:
        """Returns the fields as JSON values, for `from_values`."""
        return asdict(self)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Creates trackers from the result of `values`."""
        return cls(**{**values, "keys": tuple(values["keys"])})

    def within(self, group: str, keys: Sequence[str] = ()) -> Self:
        """Returns the trackers for a run, or for a point of a sweep that varies the given keys."""
        return replace(self, group=group, keys=tuple(keys))

    @contextlib.contextmanager
    def training(self, recipe: Recipe, variant: str, seed: int) -> Iterator[list[Any]]:
        """Yields the callbacks of one training.

        Args:
            recipe: The recipe of the training.
            variant: The name of the trained variant.
            seed: The seed of the training.
        """
        name = f"{self.group}/{variant}-{seed}"
        shown = {"variant": variant, "seed": seed}
        for key in dict.fromkeys([*_KEYS, *self.keys]):
            if (value := setting(recipe, key)) is not None:
                shown[key] = value if isinstance(value, int | float | str) else json.dumps(value)
        callbacks: list[Any] = []
        with contextlib.ExitStack() as stack:
            if self.tensorboard is not None:
                callbacks += _tensorboard(Path(self.tensorboard, name), name, shown)
            if self.mlflow is not None:
                callbacks.append(stack.enter_context(_mlflow(self.mlflow, name, shown)))
            yield callbacks


NO_TRACKERS = Trackers()


def setting(recipe: Recipe, key: str) -> Any:
    """Returns the value of a dotted key of a recipe as JSON; None if there is no such key.

    Example:
        >>> recipe = Recipe.parse(
        ...     {
        ...         "name": "small",
        ...         "data": {"source": "digits"},
        ...         "teacher": {"model": "mlp:8"},
        ...         "student": {"model": "mlp:4"},
        ...     },
        ...     source="example",
        ... )
        >>> setting(recipe, "student.model"), setting(recipe, "student.size")
        ('mlp:4', None)
    """
    value: Any = recipe.model_dump(mode="json")
    for step in key.split("."):
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _tensorboard(folder: Path, name: str, shown: Mapping[str, Any]) -> list[Any]:
    import keras
    from tensorboard.plugins.hparams import api

    return [
        keras.callbacks.TensorBoard(str(folder), write_graph=False),
        api.KerasCallback(str(folder), dict(shown), trial_id=name),
    ]


@contextlib.contextmanager
def _mlflow(experiment: str, name: str, shown: Mapping[str, Any]) -> Iterator[Any]:
    """Yields MLflow's callback within a run with the given name; resumes an interrupted run."""
    import mlflow  # pyright: ignore[reportMissingImports]
    import mlflow.keras  # pyright: ignore[reportMissingImports]

    mlflow.set_experiment(experiment)
    interrupted = mlflow.search_runs(
        experiment_names=[experiment],
        filter_string=f"attributes.run_name = '{name}' and attributes.status != 'FINISHED'",
        output_format="list",
        max_results=1,
    )
    run_id = interrupted[0].info.run_id if interrupted else None
    with mlflow.start_run(run_id=run_id, run_name=name):
        mlflow.log_params(shown)
        yield mlflow.keras.MlflowCallback()
