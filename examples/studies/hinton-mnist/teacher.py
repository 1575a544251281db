"""Trains an image classifier on one accelerator, within a time limit, with Keras on JAX.

    python teacher.py untrained.keras data.npz --augment cifar --minutes 8 -o teacher.keras

`prepare.py` makes the untrained `.keras` file and the arrays (`train_x`, `train_y`, …) with
keras_distill; this script needs Keras and JAX only. SGD with Nesterov momentum 0.9, an L2 penalty
on weights of rank 2 and more, the constraints of the model, batches of 128, and a cosine schedule
of the learning rate that reaches 0 at the end of the time allowed. The validation split is not
trained on, and the test split is read once, at the end.
"""

import argparse
import json
import os
import time

os.environ["KERAS_BACKEND"] = "jax"
import jax
import jax.numpy as jnp
import keras
import numpy as np

BATCH, MOMENTUM = 128, 0.9


def jitter(key, x):
    """Shifts each image by up to 2 pixels along each axis."""
    return shifted(key, x, 2)


def cifar(key, x):
    """Pads by 4, crops at random to the size before, and flips half of the images."""
    crop, flip = jax.random.split(key)
    x = shifted(crop, x, 4)
    flipped = jax.random.bernoulli(flip, shape=(len(x), 1, 1, 1))
    return jnp.where(flipped, x[:, :, ::-1], x)


def mnist(key, x):
    """Shifts by up to 2 pixels, rotates by up to 15 degrees, and zooms and shears by up to 15 %."""
    crop, key = jax.random.split(key)
    x = shifted(crop, x, 2)
    angle, zoom, shear = jax.random.uniform(key, (3, len(x)), minval=-1.0, maxval=1.0)
    angle, zoom, shear = angle * jnp.pi / 12, 1 + 0.15 * zoom, 0.15 * shear
    middle = (x.shape[1] - 1) / 2
    rows, columns = jnp.meshgrid(*(jnp.arange(n) - middle for n in x.shape[1:3]), indexing="ij")

    def warped(image, angle, zoom, shear):
        c, s = jnp.cos(angle) * zoom, jnp.sin(angle) * zoom
        at = [c * rows + (s + shear) * columns + middle, -s * rows + c * columns + middle]
        return jax.scipy.ndimage.map_coordinates(image[..., 0], at, order=1)[..., None]

    return jax.vmap(warped)(x.astype("float32"), angle, zoom, shear)


def shifted(key, x, most):
    """Pads with zeros by `most` pixels, and crops each image at random to the size before."""
    padded = jnp.pad(x, ((0, 0), (most, most), (most, most), (0, 0)))
    offsets = jax.random.randint(key, (len(x), 2), 0, 2 * most + 1)
    size = x.shape[1:]
    cut = jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), size))
    return cut(padded, offsets)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--augment", choices=["cifar", "jitter", "mnist"], required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--decay", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", required=True)
    given = parser.parse_args()
    augmented = {"cifar": cifar, "jitter": jitter, "mnist": mnist}[given.augment]
    keras.utils.set_random_seed(given.seed)
    model = keras.models.clone_model(keras.saving.load_model(given.model, compile=False))
    arrays = {name: jnp.asarray(value) for name, value in np.load(given.data).items()}
    x, y = arrays["train_x"], arrays["train_y"].astype("int32")
    steps = len(x) // BATCH
    trained = [v.value for v in model.trainable_variables]
    state = [v.value for v in model.non_trainable_variables]
    limits = [v.constraint or (lambda value: value) for v in model.trainable_variables]
    momenta = [jnp.zeros_like(v) for v in trained]

    def loss(trained, state, x, y):
        logits, state = model.stateless_call(trained, state, x, training=True)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], -1)
        penalty = sum(jnp.sum(v * v) for v in trained if v.ndim > 1)
        return -chosen.mean() + given.decay / 2 * penalty, state

    @jax.jit
    def epoch(trained, state, momenta, key, first, last):
        order_key, key = jax.random.split(key)
        order = jax.random.permutation(order_key, len(x))[: steps * BATCH].reshape(steps, BATCH)

        def step(carry, item):
            trained, state, momenta = carry
            rows, key, share = item
            images = augmented(key, x[rows]).astype("float32")
            (value, state), gradients = jax.value_and_grad(loss, has_aux=True)(
                trained, state, images, y[rows]
            )
            progress = first + (last - first) * share
            rate = given.rate * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(progress, 1.0)))
            momenta = [MOMENTUM * m + g for m, g in zip(momenta, gradients, strict=True)]
            trained = [
                limit(v - rate * (g + MOMENTUM * m))
                for limit, v, g, m in zip(limits, trained, gradients, momenta, strict=True)
            ]
            return (trained, state, momenta), value

        items = order, jax.random.split(key, steps), jnp.arange(steps) / steps
        carry, values = jax.lax.scan(step, (trained, state, momenta), items)
        return *carry, values.mean()

    @jax.jit
    def hits(trained, state, x, y):
        logits, _ = model.stateless_call(trained, state, x.astype("float32"), training=False)
        return jnp.sum(jnp.argmax(logits, -1) == y.astype("int32"))

    def accuracy(split):
        images, labels = arrays[f"{split}_x"], arrays[f"{split}_y"]
        parts = range(0, len(images), 500)
        found = sum(
            int(hits(trained, state, images[i : i + 500], labels[i : i + 500])) for i in parts
        )
        return 100 * found / len(images)

    key = jax.random.key(given.seed)
    limit, start, curve, progress, pace = given.minutes * 60, time.monotonic(), [], 0.0, None
    while progress < 1:
        before = time.monotonic()
        ahead = 0.0 if pace is None else pace / limit
        last = min(1.0, progress + ahead)
        if 1 - last < ahead / 2:
            last = 1.0
        trained, state, momenta, value = epoch(
            trained, state, momenta, jax.random.fold_in(key, len(curve)), progress, last
        )
        value = float(value)
        now = time.monotonic()
        if curve:  # the first epoch contains the compilation
            pace = now - before
        progress = last if curve else (now - start) / limit / 4
        curve.append([round(now - start, 2), round(value, 4)])
        if len(curve) % 10 == 1:
            curve[-1].append(accuracy("validation"))
            print(given.model, len(curve), f"{progress:.3f}", curve[-1], flush=True)
    for variable, value in zip(model.trainable_variables, trained, strict=True):
        variable.assign(value)
    for variable, value in zip(model.non_trainable_variables, state, strict=True):
        variable.assign(value)
    model.save(given.output)
    record = {
        "model": given.model,
        "device": str(jax.devices()[0].device_kind),
        "epochs": len(curve),
        "seconds": time.monotonic() - start,
        "validation_accuracy": accuracy("validation"),
        "test_accuracy": accuracy("test"),
        "curve": curve,
        "keras": keras.__version__,
        "jax": jax.__version__,
    }
    with open(given.output + ".json", "w") as file:
        json.dump(record, file, indent=1)
    print(record["model"], record["epochs"], record["validation_accuracy"], record["test_accuracy"])


main()
