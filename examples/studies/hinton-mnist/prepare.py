"""Writes the arrays of a data set and an untrained model, for `teacher.py`.

python prepare.py tfds:cifar100 resnet:56 cifar100.npz untrained.keras [DATA_DIR]
"""

import sys

import numpy as np

import keras_distill as kd  # before TensorFlow

source, spec, arrays, model, *folder = sys.argv[1:]
splits = kd.data.load(source, data_dir=folder[0] if folder else None)
found = {}
for name in ("train", "validation", "test"):
    elements = list(getattr(splits, name).as_numpy_iterator())
    found[f"{name}_x"] = np.stack([x for x, _ in elements])
    found[f"{name}_y"] = np.asarray([y for _, y in elements])
np.savez(arrays, **found)
kd.models.build(
    spec,
    input_shape=splits.input_shape,
    num_classes=splits.num_classes,
    rescale=kd.data.statistics(splits.train),
).save(model)
print(source, splits.sizes, found["train_x"].dtype, found["train_x"].shape)
