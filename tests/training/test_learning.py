"""Distilling teaches: digits in two lines, and text by sequence and by token."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from keras_distill import Distiller
from keras_distill.metrics import agreement

layers = keras.layers
CE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _accuracy(model, x, y):
    return float((model.predict(x, verbose=0).argmax(-1) == y).mean())


def _trained(model, x, y, epochs):
    """Trains as one long epoch: what Keras does between epochs takes longer than these do."""
    ds = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=0).batch(32)
    model.compile(keras.optimizers.Adam(3e-3), CE, steps_per_execution=10)
    model.fit(ds.repeat(epochs), shuffle=False, verbose=0)  # shuffled already
    return model


def test_digits_in_one_line():
    """`Distiller(teacher, student).fit(data)`, uncompiled; 100 images have a label."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    x, x_test, y, y_test = x[:1200], x[1200:], y[:1200], y[1200:]

    def mlp(*units):
        keras.utils.set_random_seed(0)
        hidden = [layers.Dense(u, "relu") for u in units]
        return keras.Sequential([keras.Input((64,)), *hidden, layers.Dense(10)])

    teacher = _trained(mlp(128), x, y, 15)
    alone = _trained(mlp(16), x[:100], y[:100], 100)
    few = np.where(np.arange(1200) < 100, y, -1)
    train_ds = tf.data.Dataset.from_tensor_slices((x, few)).shuffle(1200, seed=0).batch(16)

    student = mlp(16)
    Distiller(teacher, student).fit(train_ds, epochs=15, verbose=0)

    assert _accuracy(teacher, x_test, y_test) > 0.9
    assert _accuracy(student, x_test, y_test) > _accuracy(alone, x_test, y_test) + 0.05


def _sentences(count, seed, length=10, words=18):
    """Padded sentences of words 1..words; which third of the vocabulary is most frequent."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, length + 1, count)
    topics = rng.integers(0, 3, count)
    likely = rng.uniform(size=(count, length)) < 0.5
    of_topic = topics[:, None] * (words // 3) + rng.integers(1, words // 3 + 1, (count, length))
    tokens = np.where(likely, of_topic, rng.integers(1, words + 1, (count, length)))
    tokens *= np.arange(length) < lengths[:, None]
    return tokens, topics


class Attend(layers.Layer):
    """x + attention(x); unlike Keras's Add, it hands the mask on."""

    def __init__(self, width):
        super().__init__()
        self.supports_masking = True
        self.attention = layers.MultiHeadAttention(2, width // 2)

    def call(self, x):
        return x + self.attention(x, x)


def _reader(width, by_token, seed=0, words=18):
    """Embedding, attention over the words that are there, and a label per sentence or per word."""
    keras.utils.set_random_seed(seed)
    tokens = keras.Input((None,), dtype="int32")
    x = layers.Embedding(words + 1, width, mask_zero=True)(tokens)
    x = Attend(width)(x)
    if not by_token:
        x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(tokens, layers.Dense(3, name="logits")(x))


def test_text_by_sentence():
    tokens, topics = _sentences(600, 0)
    test_tokens, test_topics = _sentences(600, 1)
    teacher = _trained(_reader(32, False), tokens, topics, 8)
    alone = _trained(_reader(4, False), tokens[:30], topics[:30], 100)
    few = np.where(np.arange(600) < 30, topics, -1)
    student = _reader(4, False)
    distiller = Distiller(teacher, student, temperature=2.0)
    distiller.compile(keras.optimizers.Adam(3e-3), CE, metrics=["accuracy"])
    history = distiller.fit(tokens, few, epochs=8, verbose=0).history
    assert _accuracy(student, test_tokens, test_topics) > 0.05 + _accuracy(
        alone, test_tokens, test_topics
    )
    assert history["soft_loss"][-1] < 0.5 * history["soft_loss"][0]


@pytest.fixture(scope="module")
def tagging():
    """Words tagged by their third of the vocabulary, moved on by the sentence's topic."""
    tokens, topics = _sentences(800, 0)
    tags = ((tokens - 1) // 6 + topics[:, None]) % 3
    return tokens, np.where(tokens > 0, tags, 0)


@pytest.mark.slow
def test_text_by_token(tagging):
    tokens, tags = tagging
    teacher = _trained(_reader(32, True), tokens, tags, 15)
    student = _reader(8, True)
    distiller = Distiller(teacher, student, alpha=1.0, temperature=2.0, agreement=True)
    distiller.compile(keras.optimizers.Adam(1e-2), CE)
    before = distiller.fit(tokens, tags, epochs=1, verbose=0).history["agreement"][0]
    history = distiller.fit(tokens, tags, epochs=14, verbose=0).history
    assert student(tokens[:1])._keras_mask is not None
    there = tokens > 0
    t, s = (m.predict(tokens, verbose=0)[there] for m in (teacher, student))
    assert (t.argmax(-1) == tags[there]).mean() > 0.7
    assert agreement(t, s) > 0.85 > before
    # The log counts the words that are there, as the function does.
    distiller.compile(keras.optimizers.SGD(0.0), CE)
    logged = distiller.fit(tokens, tags, verbose=0).history["agreement"][0]
    assert logged == pytest.approx(float(agreement(t, s)), abs=1e-4)
    assert history["soft_loss"][-1] < history["soft_loss"][0]


def test_padding_teaches_nothing(tagging):
    """The same words with more padding after them give the same update."""
    tokens, tags = (part[:40] for part in tagging)
    teacher = _reader(16, True, seed=1)
    updates = []
    for extra in (0, 7):
        longer = [np.pad(part, ((0, 0), (0, extra))) for part in (tokens, tags)]
        student = _reader(8, True)
        distiller = Distiller(teacher, student)
        distiller.compile(keras.optimizers.SGD(1.0), CE)
        before = student.get_weights()
        logs = distiller.train_on_batch(*longer, return_dict=True)
        after = student.get_weights()
        updates.append((logs, [a - b for a, b in zip(before, after, strict=True)]))
    (short_logs, short), (long_logs, long) = updates
    assert short_logs == pytest.approx(long_logs, rel=1e-4)
    for a, b in zip(short, long, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
