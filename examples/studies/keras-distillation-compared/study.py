"""Measures every known fault of keras.distillation on both libraries and prints a table.

    python examples/studies/keras-distillation-compared/study.py             # table and toy task
    python examples/studies/keras-distillation-compared/study.py --seeds 0   # table only

Each function below measures one property of both and returns (theirs, ours).
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import keras_distill as kd  # first, so that oneDNN is switched on

# isort: split
import keras
import numpy as np
import tensorflow as tf

from keras_distill.benchmarks import mean_interval

layers = keras.layers
peer = keras.distillation
CE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
CORRECT_KL = keras.losses.KLDivergence


def network(*hidden, seed=0, features=8, classes=3, first=(), **last):
    """A small classifier that ends in logits."""
    keras.utils.set_random_seed(seed)
    stack = [layers.Dense(u, "relu", name=f"hidden{i}") for i, u in enumerate(hidden)]
    end = layers.Dense(classes, **last)
    return keras.Sequential([keras.Input((features,)), *first, *stack, end])


def batch(rows=32):
    """Inputs and class ids."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 8)).astype("float32"), rng.integers(0, 3, rows)


def pair(teacher, make_student, theirs=None, ours=None, **compiled):
    """A compiled distiller of each library; the losses default to a correct KL at T = 4."""
    theirs = theirs or peer.LogitsDistillation(4.0, CORRECT_KL())
    both = (
        peer.Distiller(teacher, make_student(), theirs, student_loss_weight=0.1),
        kd.Distiller(teacher, make_student(), ours),
    )
    for distiller in both:
        distiller.compile(**{"optimizer": keras.optimizers.SGD(0.0), "loss": CE, **compiled})
    teacher.trainable = True  # their Distiller has frozen it
    return both


def outcome(function):
    """Returns what the function returns, or the start of its error."""
    try:
        return function()
    except Exception as error:  # an error is a result here
        line = str(error).splitlines()[0]
        return f"{type(error).__name__}: {line if len(line) < 70 else line[:69] + '…'}"


def first_loss(distiller, *data, **arguments):
    """The loss of one batch."""
    logs = distiller.train_on_batch(*data, return_dict=True, **arguments)
    return float(logs["loss"])


def default_divergence():
    """T² · KL at T = 4 of random logits; the true value is the third."""
    rng = np.random.default_rng(0)
    t, s = rng.normal(size=(2, 64, 10)).astype("float32") * 5
    log_p = np.log(keras.ops.softmax(t.astype("float64") / 4))
    log_q = np.log(keras.ops.softmax(s.astype("float64") / 4))
    true = 16 * (np.exp(log_p) * (log_p - log_q)).sum(-1).mean()
    theirs = float(peer.LogitsDistillation(4.0).compute_loss(t, s))
    return theirs, float(kd.SoftTargetLoss(4.0).compute_loss(t, s)), float(true)


def extreme_divergence():
    """KL at T = 1 of logits [0, 60] and [60, 0], truly 60, and the size of its gradient."""
    found = []
    for loss in (peer.LogitsDistillation(1.0, CORRECT_KL()), kd.SoftTargetLoss(1.0)):
        student = tf.Variable([[60.0, 0.0]])
        with tf.GradientTape() as tape:
            value = loss.compute_loss(tf.constant([[0.0, 60.0]]), student)
        found.append((float(value), float(tf.norm(tape.gradient(value, student)))))
    return tuple(found)


class Passes(layers.Layer):
    """Counts the forward passes through it."""

    def build(self, shape):
        self.total = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.total.assign_add(1.0)
        return x


def counted(*hidden, seed=0):
    """A network that counts its passes, and the layer that counts."""
    counter = Passes()
    return network(*hidden, seed=seed, first=[counter]), counter


def teacher_passes():
    """Passes of the teacher in 3 epochs of 4 batches, each with validation on 4."""
    x, y = batch()
    teacher, counter = counted(16, seed=1)
    stored = kd.Targets(y, teacher.predict(x, verbose=0))
    found = []
    theirs, ours = pair(teacher, network)
    for distiller, targets in ((theirs, y), (ours, stored)):
        counter.total.assign(0.0)
        data = {"batch_size": 8, "validation_data": (x, targets)}
        distiller.fit(x, targets, epochs=3, verbose=0, **data)
        found.append(int(counter.total.numpy()))
    return tuple(found)


def student_passes():
    """Passes of the student per training step with a loss on features."""
    x, y = batch()
    found = []
    for i in range(2):
        student, counter = counted(16)
        distiller = pair(
            network(16, seed=1),
            lambda student=student: student,
            peer.FeatureDistillation("mse", "hidden0", "hidden0"),
            kd.HintLoss("hidden0", "hidden0"),
        )[i]
        counter.total.assign(0.0)
        first_loss(distiller, x, y)
        found.append(int(counter.total.numpy()))
    return tuple(found)


def moving_statistics():
    """The largest change that `evaluate` makes to a BatchNorm's moving mean."""
    x, y = batch()
    found = []
    for i in range(2):
        norm = layers.BatchNormalization()
        student = keras.Sequential(
            [keras.Input((8,)), layers.Dense(16, name="hidden0"), norm, layers.Dense(3)]
        )
        distiller = pair(
            network(16, seed=1),
            lambda student=student: student,
            peer.FeatureDistillation("mse", "hidden0", "hidden0"),
            kd.HintLoss("hidden0", "hidden0"),
        )[i]
        distiller.evaluate(x, y, verbose=0)
        found.append(float(np.abs(norm.moving_mean.numpy()).max()))
    return tuple(found)


def zero_weights():
    """The loss when every sample weight is 0."""
    x, y = batch()
    both = pair(network(16, seed=1), network)
    return tuple(first_loss(d, x, y, sample_weight=np.zeros(32, "float32")) for d in both)


def regularization():
    """What an L2 penalty of the student, truly added once, adds to the loss: found / true."""
    x, y = batch()
    plain = pair(network(16, seed=1), network)
    penalized = pair(
        network(16, seed=1), lambda: network(kernel_regularizer=keras.regularizers.L2(1.0))
    )
    true = float((network().get_weights()[0] ** 2).sum())
    pairs = zip(plain, penalized, strict=True)
    return tuple((first_loss(b, x, y) - first_loss(a, x, y)) / true for a, b in pairs)


def padding():
    """How far the loss moves when only padded tokens' soft targets change."""
    tokens = np.array([[1, 2, 0, 0], [3, 0, 0, 0]])
    labels = np.zeros((2, 4), "int64")

    def tagger(seed):
        keras.utils.set_random_seed(seed)
        embedding = layers.Embedding(5, 4, mask_zero=True)
        return keras.Sequential([keras.Input((4,)), embedding, layers.Dense(3)])

    found = []
    for i in range(2):
        values = []
        for shift in (0.0, 5.0):
            teacher = tagger(1)
            of_padding = np.zeros((5, 4))
            of_padding[0] = shift
            teacher.layers[0].embeddings.assign_add(of_padding)
            values.append(first_loss(pair(teacher, lambda: tagger(0))[i], tokens, labels))
        found.append(abs(values[1] - values[0]))
    return tuple(found)


def dict_metrics():
    """Metrics by output name."""

    def named(seed):
        x = keras.Input((8,))
        return keras.Model(
            x, {"a": layers.Dense(3, name="a")(x), "b": layers.Dense(3, name="b")(x)}
        )

    x, y = batch()
    losses = [peer.LogitsDistillation(4.0, {"a": CORRECT_KL(), "b": CORRECT_KL()}), None]
    makers = (
        lambda: peer.Distiller(named(1), named(0), losses[0]),
        lambda: kd.Distiller(named(1), named(0)),
    )

    def run(make):
        distiller = make()
        distiller.compile("sgd", {"a": CE, "b": CE}, metrics={"a": ["accuracy"], "b": ["accuracy"]})
        return sorted(distiller.train_on_batch(x, {"a": y, "b": y}, return_dict=True))

    return tuple(outcome(lambda make=make: run(make)) for make in makers)


def loss_weights():
    """Whether `compile(loss_weights=...)` doubles the hard loss."""
    x, y = batch()

    def run(i):
        values = []
        for weight in (1.0, 2.0):
            logs = pair(network(16, seed=1), network, loss_weights=[weight])[i].train_on_batch(
                x, y, return_dict=True
            )
            values.append(float(logs["student_loss" if i == 0 else "hard_loss"]))
        return values[1] / values[0]

    return tuple(outcome(lambda i=i: run(i)) for i in range(2))


def teacher_frozen():
    """Whether the user's teacher can still be trained afterwards."""
    found = []
    for make in (
        lambda t: peer.Distiller(t, network(), peer.LogitsDistillation(4.0, CORRECT_KL())),
        lambda t: kd.Distiller(t, network()),
    ):
        teacher = network(16, seed=1)
        make(teacher)
        found.append(teacher.trainable)
    return tuple(found)


def saved_bytes():
    """The size of a saved distiller, of a student of 27 weights and a teacher of 120,003."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for i, distiller in enumerate(pair(network(10_000, seed=1), network)):
            path = Path(folder) / f"{i}.keras"
            distiller.save(path)
            found.append(path.stat().st_size)
    return tuple(found)


def reload_and_fit():
    """`fit` after `save` and load: the number of optimizer steps then, or the error."""
    x, y = batch()
    teacher = network(16, seed=1)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for i, load in enumerate((keras.saving.load_model, lambda path: kd.load(path, teacher))):
            path = Path(folder) / f"{i}.keras"
            distiller = pair(teacher, network, optimizer="adam")[i]
            distiller.fit(x, y, verbose=0)
            distiller.save(path)

            def again(path=path, load=load):
                reloaded = load(path)
                reloaded.fit(x, y, verbose=0)
                return int(reloaded.optimizer.iterations.numpy())

            found.append(outcome(again))
    return tuple(found)


def half_precision():
    """A student in mixed_float16 under a teacher in float32."""
    x, y = batch()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        students = [network(), network()]
    finally:
        keras.config.set_dtype_policy("float32")

    kl = peer.LogitsDistillation(4.0, CORRECT_KL())
    makers = (
        lambda: peer.Distiller(network(16, seed=1), students[0], kl),
        lambda: kd.Distiller(network(16, seed=1), students[1]),
    )
    return tuple(outcome(lambda make=make: _loss_of(make(), x, y)) for make in makers)


def features_of_other_shapes():
    """A hint from a layer of 16 units to one of 5."""
    x, y = batch()
    makers = (
        lambda: peer.Distiller(
            network(16, seed=1), network(5), peer.FeatureDistillation("mse", "hidden0", "hidden0")
        ),
        lambda: kd.Distiller(network(16, seed=1), network(5), kd.HintLoss("hidden0", "hidden0")),
    )
    return tuple(outcome(lambda make=make: _loss_of(make(), x, y)) for make in makers)


def features_of_nested_layers():
    """A hint to a layer inside a nested model."""
    x, y = batch()

    def nested():
        return keras.Sequential([keras.Input((8,)), network(16), layers.Dense(3)])

    makers = (
        lambda: peer.Distiller(
            network(16, seed=1), nested(), peer.FeatureDistillation("mse", "hidden0", "hidden0")
        ),
        lambda: kd.Distiller(network(16, seed=1), nested(), kd.HintLoss("hidden0", "hidden0")),
    )
    return tuple(outcome(lambda make=make: _loss_of(make(), x, y)) for make in makers)


def several_teachers():
    """A list of teachers."""
    x, y = batch()
    teachers = [network(16, seed=seed) for seed in (1, 2)]
    makers = (
        lambda: peer.Distiller(teachers, network(), peer.LogitsDistillation(4.0, CORRECT_KL())),
        lambda: kd.Distiller(teachers, network()),
    )
    return tuple(outcome(lambda make=make: _loss_of(make(), x, y)) for make in makers)


def schedules():
    """A schedule of the step for the weight of the soft term."""
    x, y = batch()
    schedule = kd.LinearSchedule(0.9, 0.1, steps=100)
    kl = peer.LogitsDistillation(4.0, CORRECT_KL())
    makers = (
        lambda: peer.Distiller(network(16, seed=1), network(), kl, student_loss_weight=schedule),
        lambda: kd.Distiller(network(16, seed=1), network(), alpha=schedule),
    )
    return tuple(outcome(lambda make=make: _loss_of(make(), x, y)) for make in makers)


def unlabeled_rows():
    """A batch in which half of the labels are -1 (none)."""
    x, y = batch()
    y = np.where(np.arange(32) % 2 == 0, y, -1)
    both = pair(network(16, seed=1), network)
    return tuple(outcome(lambda d=d: first_loss(d, x, y)) for d in both)


def _loss_of(distiller, x, y):
    distiller.compile("sgd", CE)
    return first_loss(distiller, x, y)


def toy(seed, epochs=15):
    """Test accuracy of three students that see soft targets only.

    x ~ N(0, I) in 16 dimensions, y = argmax of x·W over 10 classes; 3,000 training points, a
    teacher of 128 units, students of 32, Adam.

    Returns:
        Their default loss, their loss with a correct KL, our default loss; the teacher last.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(6000, 16)).astype("float32")
    y = (x @ rng.normal(size=(16, 10))).argmax(-1)
    train, test = (x[:3000], y[:3000]), (x[3000:], y[3000:])
    fit = {"epochs": epochs, "verbose": 0}
    teacher = network(128, seed=seed, features=16, classes=10)
    teacher.compile("adam", CE)
    teacher.fit(*train, **fit)

    def student():
        return network(32, seed=100 + seed, features=16, classes=10)

    distillers = [
        peer.Distiller(teacher, student(), peer.LogitsDistillation(4.0), student_loss_weight=0.0),
        peer.Distiller(
            teacher, student(), peer.LogitsDistillation(4.0, CORRECT_KL()), student_loss_weight=0.0
        ),
        kd.Distiller(teacher, student(), alpha=1.0),
    ]
    for distiller in distillers:
        distiller.compile("adam", CE)
        keras.utils.set_random_seed(seed)
        distiller.fit(*train, **fit)
    models = [*(d.student for d in distillers), teacher]
    return [float((m.predict(test[0], verbose=0).argmax(-1) == test[1]).mean()) for m in models]


def text(value):
    """Formats a measured value for the table."""
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, tuple):
        return ", ".join(map(text, value))
    if isinstance(value, list):
        return f"works ({len(value)} logs)"
    return str(value)


TABLE = (
    ("default KL at T=4 of random logits", default_divergence),
    ("KL of [0, 60] and [60, 0] (truly 60), gradient", extreme_divergence),
    ("teacher passes in 3 epochs of 4 batches + validation", teacher_passes),
    ("student passes per step with a loss on features", student_passes),
    ("change of BatchNorm's moving mean by `evaluate`", moving_statistics),
    ("loss when every sample weight is 0", zero_weights),
    ("share of an L2 penalty that reaches the loss", regularization),
    ("change of the loss by padded tokens", padding),
    ("effect of doubling `loss_weights` on the hard loss", loss_weights),
    ("metrics by output name", dict_metrics),
    ("teacher.trainable afterwards", teacher_frozen),
    ("bytes of a saved distiller, teacher 480 kB", saved_bytes),
    ("optimizer steps after save, load, fit (correct: 2)", reload_and_fit),
    ("loss of a mixed_float16 student", half_precision),
    ("loss on features of other shapes", features_of_other_shapes),
    ("loss on features of a nested layer", features_of_nested_layers),
    ("loss under a list of teachers", several_teachers),
    ("loss with a schedule of alpha", schedules),
    ("loss with unlabeled rows in the batch", unlabeled_rows),
)


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="seeds of the toy task; 0: skip it")
    seeds = parser.parse_args().seeds
    warnings.filterwarnings("ignore")
    print(f"| fault | keras.distillation {keras.__version__} | keras_distill {kd.__version__} |")
    print("|---|---|---|")
    for name, measure in TABLE:
        theirs, ours, *true = measure()
        name += f" (truly {text(true[0])})" if true else ""
        print(f"| {name} | {text(theirs)} | {text(ours)} |", flush=True)
    if not seeds:
        return
    print("\nToy, soft targets only: test accuracy in %, mean and 95 % interval over seeds\n")
    accuracies = 100 * np.array([toy(seed) for seed in range(seeds)])
    names = ("their default loss", "their loss with correct KL", "our default loss", "the teacher")
    for name, values in zip(names, accuracies.T, strict=True):
        interval = mean_interval(values)
        print(f"- {name}: {interval.value:.1f} ({interval.low:.1f} to {interval.high:.1f})")


if __name__ == "__main__":
    main()
