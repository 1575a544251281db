"""Lists the attempts at a step that loses too much accuracy."""

from typing import NamedTuple

from keras_distill._internal._compression_steps import Step
from keras_distill.records import TrainingSettings

_LONGER = 3  # times the epochs
_GENTLER = 3  # times lower learning rate, for a step without a milder setting


class Attempt(NamedTuple):
    """One attempt at a step.

    Attributes:
        step: The step.
        settings: Its training settings.
    """

    step: Step
    settings: TrainingSettings


def attempts(step: Step, settings: TrainingSettings, *, recover: bool) -> list[Attempt]:
    """Returns the attempts at a step. Each is made only if the previous one loses too much.

    1. With the given settings.
    2. With 3 times the epochs.
    3. With a milder setting and 3 times the epochs: see `Step.milder`. A step without one
       (`quantize`, `prune:2:4`) is trained with a third of the learning rate.
    4. With an even milder setting.

    Args:
        step: The step as given.
        settings: Its training settings.
        recover: Whether to make more attempts than the first.

    Example:
        >>> settings = TrainingSettings(epochs=10, learning_rate=0.003)
        >>> made = attempts(Step.parse("prune:0.9"), settings, recover=True)
        >>> [(a.step.text, a.settings.epochs) for a in made]
        [('prune:0.9', 10), ('prune:0.9', 30), ('prune:0.85', 30), ('prune:0.775', 30)]
        >>> made = attempts(Step.parse("quantize"), settings, recover=True)
        >>> [a.settings.learning_rate for a in made]
        [0.003, 0.003, 0.001, 0.0003333333333333333]
    """
    made = [Attempt(step, settings)]
    if not recover:
        return made
    made.append(Attempt(step, settings.model_copy(update={"epochs": _LONGER * settings.epochs})))
    for _ in range(2):
        made.append(_milder(made[-1]))
    return made


def _milder(attempt: Attempt) -> Attempt:
    step = attempt.step.milder()
    if step is not None:
        return attempt._replace(step=step)
    rate = attempt.settings.learning_rate / _GENTLER
    return attempt._replace(settings=attempt.settings.model_copy(update={"learning_rate": rate}))
