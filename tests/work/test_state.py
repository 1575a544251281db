import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from keras_distill._internal import InputError
from keras_distill.work import TrainingState


def _variables():
    generator = keras.random.SeedGenerator(3)
    half = keras.Variable(np.array([0.1, -3.0]), dtype="bfloat16")
    return [
        keras.Variable([[1.0, 2.0]]),
        keras.Variable(7, dtype="int64"),
        generator.state,
        half,
        tf.Variable([True, False]),
        *tf_keras.layers.Dense(2).weights,
    ]


def test_every_dtype_comes_back_bit_by_bit(tmp_path):
    state, variables = TrainingState(tmp_path / "state.npz"), _variables()
    before = [v.numpy() for v in variables]
    state.save(variables, {"epoch": 2, "logs": {"loss": [0.1, 1e-30]}})
    for v in variables:
        v.assign(np.zeros(v.shape, v.numpy().dtype))
    assert state.restore(variables) == {"epoch": 2, "logs": {"loss": [0.1, 1e-30]}}
    for v, value in zip(variables, before, strict=True):
        assert v.numpy().dtype == value.dtype
        np.testing.assert_array_equal(v.numpy(), value)
    assert variables[3].numpy().dtype == ml_dtypes.bfloat16


def test_keras_and_tf_keras_optimizers(tmp_path):
    for framework in (keras, tf_keras):
        model = framework.Sequential([framework.layers.Dense(2)])
        model.build((None, 3))
        optimizer = framework.optimizers.Adam(0.1)
        optimizer.build(model.trainable_variables)
        pairs = [(tf.ones(v.shape), v) for v in model.trainable_variables]
        optimizer.apply_gradients(pairs)
        variables = [*model.weights, *optimizer.variables]
        state = TrainingState(tmp_path / f"{framework.__name__}.npz")
        before = [v.numpy().copy() for v in variables]
        state.save(variables, {})
        for v in variables:
            v.assign(v.numpy() * 0)
        state.restore(variables)
        for v, value in zip(variables, before, strict=True):
            np.testing.assert_array_equal(v.numpy(), value)


def test_no_file_is_no_state(tmp_path):
    assert TrainingState(tmp_path / "none.npz").restore([keras.Variable(0.0)]) is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ([np.zeros(3)], r"variable 0 is \(\(2,\), 'float32'\), expected \(\(3,\), 'float32'\)"),
        ([np.zeros(2, "int32")], "'float32'.*expected.*'int32'"),
        ([], "1 variables, expected 0"),
        ([np.zeros(2), np.zeros(2)], "1 variables, expected 2"),
    ],
)
def test_the_state_of_another_model_is_refused_and_nothing_assigned(tmp_path, other, message):
    state = TrainingState(tmp_path / "state.npz")
    state.save([keras.Variable([1.0, 2.0])], {})
    dtype = {"float64": "float32"}
    variables = [keras.Variable(a, dtype=dtype.get(str(a.dtype), str(a.dtype))) for a in other]
    with pytest.raises(InputError, match=f"state of another model .*{message}.*Remove it"):
        state.restore(variables)
    assert all((v.numpy() == 0).all() for v in variables)


def test_damage_anywhere_is_an_input_error(tmp_path):
    state, variable = TrainingState(tmp_path / "state.npz"), keras.Variable(np.arange(16.0))
    state.save([variable], {"epoch": 1})
    content = state.path.read_bytes()
    for end in range(0, len(content), 37):
        state.path.write_bytes(content[:end])
        with pytest.raises(InputError, match=r"state\.npz is damaged .*Remove it"):
            state.restore([variable])
    random, survived = np.random.default_rng(0), 0
    for place in random.choice(len(content), 200, replace=False):
        changed = bytearray(content)
        changed[place] ^= 0xFF
        state.path.write_bytes(changed)
        try:
            state.restore([variable])
            survived += 1
            np.testing.assert_array_equal(variable.numpy(), np.arange(16.0))
        except InputError as error:
            assert "is damaged" in str(error)
    assert survived < 100  # times and flags of the archive carry nothing


def test_other_archives_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(InputError, match="is damaged"):
        TrainingState(tmp_path / "other.npz").restore([])
    np.savez(tmp_path / "pickled.npz", header=np.array([object()], dtype=object))
    with pytest.raises(InputError, match="is damaged"):
        TrainingState(tmp_path / "pickled.npz").restore([])


def test_an_interrupted_save_keeps_the_old_state(tmp_path, monkeypatch):
    state = TrainingState(tmp_path / "state.npz")
    state.save([keras.Variable(1.0)], {"epoch": 1})
    monkeypatch.setattr(np, "savez", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        state.save([keras.Variable(2.0)], {"epoch": 2})
    assert state.restore([keras.Variable(0.0)]) == {"epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["state.npz"]


def test_a_loss_that_is_not_a_number_is_kept(tmp_path):
    """A training that diverges must end with its logs, not with an error of JSON."""
    state = TrainingState(tmp_path / "state.npz")
    state.save([], {"loss": [float("nan"), float("inf")]})
    loss = state.restore([])["loss"]
    assert np.isnan(loss[0]) and loss[1] == float("inf")
