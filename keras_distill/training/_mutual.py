"""Mutual learning: two students that teach each other."""

from typing import Any

import keras
import tensorflow as tf

from keras_distill._internal import InputError, bad
from keras_distill._internal._types import Schedule, Tensor
from keras_distill.losses import PACKAGE, deserialized
from keras_distill.training import _batch, _config
from keras_distill.training._distiller import Distiller
from keras_distill.training._terms import View, check_finite
from keras_distill.training._views import Pair, TeacherSource, read_student, student_view


@keras.saving.register_keras_serializable(PACKAGE)
class MutualDistiller(Distiller):
    """Trains a student and a peer, each on labels and on the other's logits from the same step.

    The sum of (1 - alpha) · hard + alpha · Σ w_i · L_i over both models is minimized, where the
    logits of the other model are treated as constants. Metrics, `predict`, and the saved student
    are those of `student`.

    Source: Zhang, Xiang, Hospedales, Lu 2018 (deep mutual learning, arXiv:1706.00384), section 2.
    Here both networks are updated in the same step, by one optimizer.

    Args:
        student: The Keras model to train.
        peer: The second Keras model to train. It must have the same outputs as the student. Use
            different initial weights.
        distillation_losses: Losses on logits, as for `Distiller`; None means `SoftTargetLoss`.
        distillation_loss_weights: The weights of these losses, as for `Distiller`.
        alpha: Weight of the soft terms, 0..1.
        temperature: Temperature of the default loss; None means 4.0.
        agreement: Whether to log how often both models have the same largest logit.
        name: The name of the model.

    Raises:
        InputError: If the two models do not match, or a loss reads inner layers.

    Example:
        >>> import numpy as np
        >>> def mlp():
        ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> x, y = np.random.rand(64, 4).astype("float32"), np.random.randint(0, 3, 64)
        >>> mutual = MutualDistiller(mlp(), mlp())
        >>> sorted(mutual.fit(x, y, epochs=1, verbose=0).history)
        ['accuracy', 'hard_loss', 'loss', 'soft_loss']
    """

    def __init__(
        self,
        student: keras.Model,
        peer: keras.Model,
        distillation_losses: Any = None,
        distillation_loss_weights: Any = None,
        *,
        alpha: Schedule = 0.5,
        temperature: Schedule | None = None,
        agreement: bool = False,
        name: str = "mutual_distiller",
    ) -> None:
        if not isinstance(peer, keras.Model) or peer is student:
            raise bad("peer", "be a Keras 3 model, another than the student", peer)
        super().__init__(
            None,
            student,
            distillation_losses,
            distillation_loss_weights,
            alpha=alpha,
            temperature=temperature,
            agreement=agreement,
            name=name,
        )
        soft = self.soft_terms
        if soft.layer_names("teacher") or soft.layer_names("student"):
            raise InputError(
                "Mutual learning compares logits only: a loss that reads inner layers needs a"
                " teacher. Leave it out of `distillation_losses`."
            )
        self.peer = peer
        reader = read_student(peer, soft)
        ends = [(h.kind for h in r.heads.values()) for r in (reader, self._pair.reader)]
        if sorted(ends[0]) != sorted(ends[1]):
            raise InputError(
                "Student and peer must both end in logits, or both in the same activation, because"
                " one hard loss reads both."
            )
        self._peer_pair = Pair(reader, TeacherSource(student), soft, self.alpha)
        self.set_teacher(peer)

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Runs one step of `fit`, which runs each of the two models once."""
        element = _batch.unpack(data)
        pairs = (self._pair, self._peer_pair)
        with tf.GradientTape() as tape:
            outputs = [pair.reader.call(element.x, training=True)[0] for pair in pairs]
            views = [_constant(p, output) for p, output in zip(pairs, outputs, strict=True)]
            found = [
                self._losses_of(pair, output, {}, element, other, training=True)
                for pair, output, other in zip(pairs, outputs, reversed(views), strict=True)
            ]
            total = self._with_regularization(found[0].total + found[1].total)
            loss = self.optimizer.scale_loss(total)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return self._logs(element, found[0])

    def get_config(self) -> dict[str, Any]:
        """Returns student, peer, losses, and settings."""
        config = super().get_config()
        config.pop("evaluate_teacher")
        return {**config, "peer": keras.saving.serialize_keras_object(self.peer)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "MutualDistiller":
        """Creates the MutualDistiller from the settings that `get_config` returned."""
        settings = dict(config)
        with keras.saving.custom_object_scope(custom_objects or {}):
            peer = deserialized(settings.pop("peer"))
        arguments, _ = _config.from_config(settings, custom_objects)
        return cls(peer=peer, **arguments)


def _constant(pair: Pair, outputs: Any) -> View:
    """Returns the logits of one of the two models as constants, in the form of a teacher's view."""
    logits = student_view(pair.reader, pair.reader.by_name(outputs), {}).logits
    return View(check_finite({name: tf.stop_gradient(value) for name, value in logits.items()}))
