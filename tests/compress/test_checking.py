"""What cannot be compressed is refused before anything is trained."""

import keras
import pytest

from keras_distill import InputError
from keras_distill.compress import check_student, compress

L = keras.layers


def recurrent():
    return keras.Sequential([keras.Input((4, 3)), L.GRU(2, name="gru"), L.Dense(2, name="logits")])


def test_what_can_be_compressed_passes_and_is_not_changed(nets):
    student = nets[0]("softmax")
    before = student.get_weights()
    check_student(student, ["prune:0.8", "cluster:16", "quantize"], skip=["conv"])
    assert all((a == b).all() for a, b in zip(before, student.get_weights(), strict=True))
    check_student(recurrent(), ["prune", "cluster"])


@pytest.mark.parametrize(
    ("build", "steps", "skip", "message"),
    [
        (recurrent, ["prune", "quantize"], (), "'gru'.*GRU layer cannot be trained in fake"),
        (
            lambda: keras.Sequential([keras.Input((4,)), L.Dense(2, "hard_silu", name="odd")]),
            ["quantize"],
            (),
            "'odd'.*its activation 'hard_silu' cannot be trained.*separate Activation layer",
        ),
        (recurrent, ["melt"], (), "`steps` must be prune"),
        (recurrent, ["prune"], ["gru"], "`skip` must name layers with a kernel"),
        (
            lambda: keras.Sequential([keras.Input((4, 3)), L.Flatten()], name="flat"),
            ["cluster"],
            (),
            "'flat' has no kernel that could be pruned or clustered",
        ),
    ],
)
def test_what_cannot_be_compressed_is_refused(build, steps, skip, message):
    with pytest.raises(InputError, match=message):
        check_student(build(), steps, skip=skip)


def test_a_pipeline_asks_before_its_first_step(soft, tmp_path):
    trained = []
    watch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda e, logs: trained.append(e))
    with pytest.raises(InputError, match="GRU layer cannot be trained in fake quantization"):
        compress(recurrent(), soft, ["prune", "quantize"], tmp_path / "out", callbacks=[watch])
    assert trained == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("learning_rat", r"`learning_rat` is not a setting of the training\. Did you mean `learni"),
        ("decay", r"`decay` is not a setting .*Known: epochs, .*schedule, .*temperature"),
        ("settings", "`settings` is not a setting"),
    ],
)
def test_an_unknown_setting_of_the_training_is_named(nets, tmp_path, given, message):
    with pytest.raises(InputError, match=message):
        compress(nets[1](), None, ["prune:0.5"], tmp_path / "out", **{given: 1})
