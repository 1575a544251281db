"""The networks of the study for MNIST: the teacher, half of it, and another of as many bytes."""

import keras

L = keras.layers


def teacher(input_shape, num_classes):
    """Two convolutions and a hidden layer: 221,000 parameters."""
    return _network(input_shape, num_classes, convolutions=(32, 64), units=64)


def half(input_shape, num_classes):
    """The same network of half the width, with random weights."""
    return _network(input_shape, num_classes, convolutions=(16, 32), units=32)


def other(input_shape, num_classes):
    """A third convolution in the place of the hidden layer; as many parameters as `half`."""
    return _network(input_shape, num_classes, convolutions=(16, 64, 78), units=0)


def _network(input_shape, num_classes, convolutions, units):
    inputs = keras.Input(input_shape)
    x = L.Rescaling(1 / 255)(inputs)
    for filters in convolutions:
        x = L.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = L.ReLU()(L.BatchNormalization(momentum=0.9)(x))
    x = L.Dense(units, "relu")(L.Flatten()(x)) if units else L.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, L.Dense(num_classes)(x))
