"""Defines a callback that reports the steps of `fit`."""

import keras

from keras_distill._internal._progress import Reporter, silent


class ReportSteps(keras.callbacks.Callback):
    """Reports the steps of each training in which it is a callback, and the accuracy so far.

    Args:
        reporter: Receives the progress of each training.
        stage: The name and the detail of a stage that starts with the first training, or None.

    Example:
        >>> from keras_distill._internal._progress import Reporter
        >>> callback = ReportSteps(Reporter())
        >>> callback.set_params({"epochs": 2, "steps": 3})
        >>> callback.on_train_begin()
        >>> callback.on_train_batch_end(0, {"accuracy": 0.5})
    """

    def __init__(self, reporter: Reporter, stage: tuple[str, str] | None = None) -> None:
        super().__init__()
        self._reporter, self._task, self._epoch, self._stage = reporter, silent, 0, stage

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Starts the stage, if any, and the progress of this training."""
        if self._stage is not None:
            self._reporter.stage(*self._stage)
            self._stage = None
        self._task = self._reporter.track("training")

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Stores the number of the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Reports the number of steps done, and the accuracy."""
        params = self.params or {}
        steps, epochs = params.get("steps"), params.get("epochs")
        accuracy = (logs or {}).get("accuracy")
        note = "" if accuracy is None else f"accuracy {accuracy:.1%}"
        total = steps * epochs if steps and epochs else None
        self._task(self._epoch * (steps or 0) + batch + 1, total, note)
