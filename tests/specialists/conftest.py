import keras
import numpy as np
import pytest

from keras_distill import data, models


@pytest.fixture(scope="session")
def digits():
    return data.load("digits")


@pytest.fixture(scope="session")
def generalist_file(digits, tmp_path_factory):
    """A generalist with room for improvement: 2 epochs of a small MLP on digits."""
    model = models.build(
        "mlp:24",
        input_shape=digits.input_shape,
        num_classes=10,
        rescale=data.statistics(digits.train),
        seed=0,
    )
    model.compile(
        keras.optimizers.Adam(5e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.fit(data.batches(digits.train, 64, shuffle_seed=0, epochs=2), verbose=0)
    path = tmp_path_factory.mktemp("generalist") / "generalist.keras"
    model.save(path)
    return path


@pytest.fixture(scope="session")
def test_arrays(digits):
    parts = list(digits.test.batch(1000).as_numpy_iterator())
    return parts[0][0], np.asarray(parts[0][1])
