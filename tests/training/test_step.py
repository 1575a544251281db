import gc
import weakref

import keras
import pytest
import tensorflow as tf

from keras_distill import Distiller


def _fit(mlp, data, optimizer):
    distiller = Distiller(mlp(8), mlp(4))
    distiller.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    distiller.fit(*data, epochs=1, verbose=0)
    return weakref.ref(distiller)


def _graphs():
    gc.collect()
    return sum(isinstance(part, tf.Graph) for part in gc.get_objects())


@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.AdamW,
        lambda: keras.optimizers.SGD(gradient_accumulation_steps=2, use_ema=True),
    ],
)
def test_no_graph_outlives_a_distiller(mlp, batch, optimizer):
    """Keras's optimizers keep the graphs of each model that they train, about 4 MB of memory."""
    references = [_fit(mlp, batch[:2], optimizer())]
    before = _graphs()
    references += [_fit(mlp, batch[:2], optimizer()) for _ in range(2)]
    assert _graphs() == before
    assert [reference() for reference in references] == [None] * 3
