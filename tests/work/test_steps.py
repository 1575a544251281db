import keras
import numpy as np

from keras_distill._internal._progress import Reporter
from keras_distill.work import ReportSteps


class _Told(Reporter):
    def __init__(self):
        self.told = []

    def track(self, name, total=None):
        return lambda done, total=None, /, note="": self.told.append((done, total, note))


def test_every_step_of_a_training_is_told_with_the_accuracy():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    reporter = _Told()
    x, y = np.zeros((8, 2)), np.zeros(8, int)
    model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=[ReportSteps(reporter)])
    assert [told[:2] for told in reporter.told] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(note.startswith("accuracy ") for _, _, note in reporter.told)
