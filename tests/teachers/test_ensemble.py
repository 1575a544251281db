"""Means of teachers against NumPy."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from keras_distill._internal import InputError
from keras_distill.teachers import CallableTeacher, TeacherEnsemble, as_teacher

X = np.zeros((4, 2), "float32")
LOGITS = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("float32") * 4


def _members():
    return [
        CallableTeacher(lambda x, t=t: t, name=f"member {i}", output_shape=(5,))
        for i, t in enumerate(LOGITS)
    ]


def test_geometric_mean_is_exact_at_every_temperature():
    logits = TeacherEnsemble(_members()).predict(X)
    for temperature in (1.0, 2.5, 20.0):
        geometric = np.exp(log_softmax(LOGITS.astype("float64") / temperature, axis=-1).mean(0))
        expected = geometric / geometric.sum(-1, keepdims=True)
        np.testing.assert_allclose(softmax(logits / temperature, -1), expected, atol=1e-6)


def test_arithmetic_mean_is_exact_at_its_temperature():
    ensemble = TeacherEnsemble(_members(), [1, 2, 0], mean="arithmetic", temperature=2.5)
    shares = softmax(LOGITS.astype("float64") / 2.5, axis=-1)
    expected = shares[0] / 3 + 2 * shares[1] / 3
    np.testing.assert_allclose(softmax(ensemble.predict(X) / 2.5, -1), expected, atol=1e-6)
    assert ensemble.temperature == 2.5


def test_arithmetic_mean_of_extreme_logits_is_finite():
    extreme = [
        CallableTeacher(lambda x, s=s: np.array([[s, -s]], "float32"), name=str(s))
        for s in (1e4, -1e4)
    ]
    ensemble = TeacherEnsemble(extreme, mean="arithmetic", temperature=1.0)
    np.testing.assert_allclose(softmax(ensemble.predict(X[:1]), -1), [[0.5, 0.5]], atol=1e-6)


def test_geometric_mean_of_arithmetic_means_keeps_their_temperature():
    parts = [
        TeacherEnsemble([a, b], mean="arithmetic", temperature=2.5)
        for a, b in (_members()[:2], _members()[1:])
    ]
    both = TeacherEnsemble([*parts, _members()[0]])
    assert both.temperature == 2.5
    hot = TeacherEnsemble(_members(), mean="arithmetic", temperature=4.0)
    for mean, temperature in (("geometric", None), ("arithmetic", 4.0)):
        with pytest.raises(InputError, match=r"must all be of one temperature. Received: 2.5, 4"):
            TeacherEnsemble([parts[0], hot], mean=mean, temperature=temperature)
    with pytest.raises(InputError, match="must all be of one temperature"):
        TeacherEnsemble([hot], mean="arithmetic", temperature=1.0)


def test_member_of_weight_0_may_rule_classes_out():
    ruled_out = CallableTeacher(lambda x: np.full((4, 5), -np.inf, "float32"), name="none")
    logits = TeacherEnsemble([_members()[0], ruled_out], [1, 0]).predict(X)
    np.testing.assert_allclose(logits, LOGITS[0], rtol=1e-6)


def test_weights_are_shares():
    expected = 0.25 * LOGITS[0] + 0.75 * LOGITS[1]
    np.testing.assert_allclose(
        TeacherEnsemble(_members()[:2], [1, 3]).predict(X), expected, rtol=1e-5, atol=1e-6
    )


def test_models_with_several_outputs():
    x = keras.Input((2,))
    outputs = {"a": keras.layers.Dense(3)(x), "b": keras.layers.Dense(2)(x)}
    model = keras.Model(x, outputs)
    logits = TeacherEnsemble([model, model]).predict(X)
    np.testing.assert_allclose(logits["b"], model(X)["b"], atol=1e-6)


def test_fingerprint():
    members = _members()
    print_ = TeacherEnsemble(members).fingerprint()
    assert print_ == TeacherEnsemble(_members()).fingerprint()
    assert print_ != TeacherEnsemble(members[::-1]).fingerprint()
    assert print_ != TeacherEnsemble(members, [1, 1, 2]).fingerprint()
    assert TeacherEnsemble([*members, CallableTeacher(lambda x: x)]).fingerprint() is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": []}, "`models` must be a list of one or more teachers"),
        ({"weights": [1]}, r"`weights` must have one value per model \(3\)"),
        ({"weights": [0, 0, 0]}, "`weights` must not all be 0"),
        ({"weights": [1, -1, 1]}, r"`weights\[1\]` must be >= 0"),
        (
            {"mean": "median"},
            "`mean` must be one of geometric, arithmetic. Received: mean='median'",
        ),
        ({"mean": "arithmetic"}, "`temperature` must be given for the arithmetic mean"),
        ({"mean": "arithmetic", "temperature": 0}, "`temperature` must be > 0"),
        ({"temperature": 4.0}, "`temperature` must be left out for the geometric mean"),
    ],
)
def test_bad_settings(arguments, message):
    with pytest.raises(InputError, match=message):
        TeacherEnsemble(**{"models": _members(), **arguments})


def test_members_of_other_shapes():
    other = CallableTeacher(lambda x: x, output_shape=(4,))
    with pytest.raises(
        InputError, match=r"same output shape. Received: \(None, 5\) and \(None, 4\)"
    ):
        TeacherEnsemble([*_members(), other])


def test_members_may_know_different_axes():
    def net(*shape):
        x = keras.Input(shape)
        return keras.Model(x, keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(x)))

    ensemble = TeacherEnsemble([net(None, 8, 3), net(8, None, 3)])
    assert ensemble.input_shapes == [(None, 8, 8, 3)]
    assert ensemble.predict(np.zeros((2, 8, 8, 3), "float32")).shape == (2, 5)
    with pytest.raises(InputError, match="must have the same input shape"):
        TeacherEnsemble([net(None, 8, 3), net(9, 9, 3)])


def test_an_ensemble_has_no_layers():
    with pytest.raises(InputError, match=r"TeacherEnsemble has no layers to read. Received: h"):
        TeacherEnsemble(_members()).features(X, ["h"])


def test_save_and_load(tmp_path):
    models = [keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]) for _ in range(2)]
    ensemble = TeacherEnsemble(models, [1, 3], mean="arithmetic", temperature=2.0)
    ensemble.save(tmp_path / "teachers")
    x = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    for again in (TeacherEnsemble.load(tmp_path / "teachers"), as_teacher(tmp_path / "teachers")):
        np.testing.assert_allclose(again.predict(x), ensemble.predict(x), atol=1e-6)
        assert again.fingerprint() == ensemble.fingerprint()
    with pytest.raises(InputError, match=r"teachers exists. Pass overwrite=True"):
        ensemble.save(tmp_path / "teachers")
    ensemble.save(tmp_path / "teachers", overwrite=True)


def test_what_cannot_be_saved_or_loaded(tmp_path):
    with pytest.raises(InputError, match=r"`members` must all be Keras models to be saved"):
        TeacherEnsemble(_members()).save(tmp_path / "a")
    with pytest.raises(InputError, match=r"ensemble.json: no ensemble that `save` wrote"):
        TeacherEnsemble.load(tmp_path)
    (tmp_path / "ensemble.json").write_text('{"members": 1, "weights": null, "other": 2}')
    with pytest.raises(InputError, match=r"ensemble.json: no ensemble that `save` wrote"):
        TeacherEnsemble.load(tmp_path)


def test_a_folder_of_specialists_is_told_from_an_ensemble(tmp_path):
    (tmp_path / "ensemble.json").write_text('{"format": "keras-distill specialists"}')
    with pytest.raises(InputError, match=r"Open it with `specialists.SpecialistEnsemble.load`"):
        as_teacher(tmp_path)
