"""A data set whose elements are in memory, so that whole batches can be gathered from it."""

from typing import Any

import tensorflow as tf

from keras_distill._internal._types import Dataset, Tensor


class MemoryDataset(tf.data.Dataset):  # pyright: ignore[reportMissingTypeArgument]
    """A `tf.data.Dataset` of the rows of tensors, with a method that gathers rows by index.

    You can iterate over it or transform it, like any other data set. `batches` and soft-target
    stores shuffle the indices of its elements and gather whole batches, which takes a third of the
    time of shuffling single elements. The order is the same.

    Args:
        tensors: A structure of arrays or tensors of equal length. A Python list counts as a
            structure, not as an array.

    Attributes:
        tensors: The structure, with its arrays as tensors on the CPU.

    Example:
        >>> ds = MemoryDataset((tf.constant([[1.0], [2.0]]), tf.constant([0, 1])))
        >>> [(x.numpy().tolist(), int(y)) for x, y in ds]
        [([1.0], 0), ([2.0], 1)]
        >>> ds.gather([1, 0])[1].numpy().tolist()
        [1, 0]
    """

    def __init__(self, tensors: Any) -> None:
        # If the tensor is created on the CPU first, it is not copied into the graph of every
        # dataset made from this one.
        with tf.device("cpu"):
            self.tensors = tf.nest.map_structure(tf.convert_to_tensor, tensors)
            self._dataset = tf.data.Dataset.from_tensor_slices(self.tensors)
        initialize: Any = super().__init__  # its annotation lacks the argument
        initialize(tf.data.experimental.to_variant(self._dataset))

    def _inputs(self) -> list[Dataset]:
        return [self._dataset]

    @property
    def element_spec(self) -> Any:
        """The structure, dtypes, and shapes of an element."""
        return self._dataset.element_spec

    def gather(self, indices: Any) -> Any:
        """Returns the elements at the given indices as a batch.

        Args:
            indices: int64 `(B,)`.
        """

        def rows(tensor: Tensor) -> Tensor:
            return tf.gather(tensor, indices)

        return tf.nest.map_structure(rows, self.tensors)
