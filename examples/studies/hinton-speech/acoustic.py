"""Trains the acoustic models of the speech studies, alone or on stored soft targets."""

import math
from pathlib import Path
from typing import Any

import numpy as np

import keras_distill as kd  # before TensorFlow, so that oneDNN is on

# isort: split
import keras
from speech import CLASSES, Logits

BATCH, RATE = 512, 1e-3


def network(spec: str, inputs: int, seed: int) -> keras.Model:
    """Returns an untrained network; equal seeds have equal initial weights."""
    return kd.models.build(spec, input_shape=(inputs,), num_classes=CLASSES, seed=seed)


def trained_alone(
    spec: str,
    x: np.ndarray,
    y: np.ndarray,
    *,
    seed: int,
    epochs: int,
    batch: int = BATCH,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
) -> keras.Model:
    """Returns a network trained on labels alone.

    Args:
        spec: The network.
        x: Windows, `(n, inputs)`.
        y: States, `(n,)`.
        seed: Of initial weights and order.
        epochs: How many.
        batch: Frames per step.
        validation: Windows and states on which the best epoch is chosen; None: the last epoch.
    """
    model = network(spec, x.shape[1], seed)
    batches = kd.data.batches(kd.data.MemoryDataset((x, y)), batch, shuffle_seed=seed, epochs=None)
    return _fit(model, model, batches, epochs, math.ceil(len(x) / batch), validation)


def distilled(
    spec: str,
    x: np.ndarray,
    y: np.ndarray,
    logits: np.ndarray,
    store: Path,
    *,
    seed: int,
    epochs: int,
    alpha: float,
    temperature: float,
    batch: int = BATCH,
) -> keras.Model:
    """Returns a network trained on soft targets, which are stored once for all seeds.

    Args:
        spec: The network.
        x: Windows, `(n, inputs)`.
        y: States, `(n,)`; -1 where there is no label.
        logits: Of the teacher, `(n, 81)`.
        store: Where to keep them.
        seed: Of initial weights and order.
        epochs: How many.
        alpha: Weight of the soft targets.
        temperature: Of the soft targets.
        batch: Frames per step.
    """
    examples = kd.data.MemoryDataset((x, y))
    targets = kd.SoftTargetStore.build(logits, examples, store, reuse=True, progress=False)
    student = network(spec, x.shape[1], seed)
    trainer = kd.Distiller(None, student, alpha=alpha, temperature=temperature)
    batches = targets.batches(examples, batch, seed=seed).repeat()
    return _fit(trainer, student, batches, epochs, math.ceil(len(x) / batch))


def _fit(
    trainer: Any,
    model: keras.Model,
    batches: Any,
    epochs: int,
    steps: int,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
) -> keras.Model:
    rate = keras.optimizers.schedules.CosineDecay(RATE, epochs * steps)
    if validation is None:  # nothing happens between epochs, and more steps run in one call
        epochs, steps = 1, epochs * steps
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    together = max(n for n in range(1, 33) if steps % n == 0)
    trainer.compile(
        keras.optimizers.Adam(rate), loss, metrics=["accuracy"], steps_per_execution=together
    )
    best = keras.callbacks.EarlyStopping(
        "val_accuracy", patience=epochs, mode="max", restore_best_weights=True
    )
    trainer.fit(
        batches,
        epochs=epochs,
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
        validation_data=validation,
        validation_batch_size=4096,
        callbacks=[] if validation is None else [best],
    )
    return model


def logits_of(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Returns the logits of all windows."""
    parts = (model(x[i : i + 4096], training=False) for i in range(0, len(x), 4096))
    return np.concatenate([np.asarray(part) for part in parts])  # `predict` would trace it anew


def aligner(x: np.ndarray, y: np.ndarray, seed: int) -> Logits:
    """Trains the network that `speech.align` needs in each round."""
    model = trained_alone("mlp:128?dropout=0.2", x, y, seed=1000 + seed, epochs=6)
    return lambda windows: logits_of(model, windows)
