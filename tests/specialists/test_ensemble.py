import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import models
from keras_distill._internal import InputError
from keras_distill.litert import LiteRTModel
from keras_distill.specialists import (
    ClassSets,
    SpecialistEnsemble,
    active_by_top,
    build_specialist,
    combine,
)
from keras_distill.specialists import _ensemble as ensemble_module
from keras_distill.targets import SoftTargetStore
from keras_distill.teachers import CallableTeacher, as_teacher
from keras_distill.training import Distiller

SETS = ClassSets(([0, 1, 2], [2, 3], [7, 8, 9]), 10)


def shaken(model, seed):
    rng = np.random.default_rng(seed)
    model.set_weights([w + rng.normal(0, 0.2, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def parts(generalist_file):
    generalist = models.load(generalist_file)
    specialists = [shaken(build_specialist(generalist, ids), m) for m, ids in enumerate(SETS.sets)]
    return generalist, specialists


@pytest.mark.parametrize("top", [1, 3, None])
def test_logits_are_the_logarithm_of_combine_of_its_parts(parts, test_arrays, top):
    generalist, specialists = parts
    x = test_arrays[0][:64]
    probs = tf.nn.softmax(generalist(x)).numpy()
    active = None if top is None else active_by_top(probs, SETS.sets, top)
    wanted = combine(probs, [tf.nn.softmax(s(x)).numpy() for s in specialists], SETS.sets, active)
    ensemble = SpecialistEnsemble(generalist, specialists, SETS, top=top)
    logits = ensemble.predict(x)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(np.exp(logits), wanted, atol=1e-5)


def test_a_specialist_runs_only_where_it_has_a_say(parts, test_arrays):
    generalist, _ = parts
    x = test_arrays[0]
    seen = []

    def counting(number, width):
        def answer(batch):
            seen.append((number, len(batch)))
            return np.zeros((len(batch), width), np.float32)

        return CallableTeacher(answer, name=f"c{number}", output_shape=(width,))

    specialists = [counting(m, len(ids) + 1) for m, ids in enumerate(SETS.sets)]
    SpecialistEnsemble(generalist, specialists, SETS).predict(x)
    active = active_by_top(generalist(x).numpy(), SETS.sets)
    assert dict(seen) == {m: int(active[:, m].sum()) for m in range(3)}


def test_no_specialist_active_is_the_generalist(parts, test_arrays):
    generalist, specialists = parts
    x = test_arrays[0]
    ensemble = SpecialistEnsemble(generalist, specialists, SETS)
    rows = ~active_by_top(generalist(x).numpy(), SETS.sets).any(axis=1)
    assert rows.any()
    wanted = tf.nn.log_softmax(generalist(x[rows])).numpy()
    np.testing.assert_allclose(ensemble.predict(x[rows]), wanted, atol=1e-4)


def test_save_and_load(parts, test_arrays, tmp_path):
    generalist, specialists = parts
    ensemble = SpecialistEnsemble(
        generalist, specialists, SETS, top=2, corrections=[1.0, None, 2.0]
    )
    ensemble.save(tmp_path / "e")
    names = sorted(p.name for p in (tmp_path / "e").iterdir())
    assert names == [".keras-distill", "ensemble.json", "generalist.keras"] + [
        f"specialist-0{m}.keras" for m in range(3)
    ]
    loaded = SpecialistEnsemble.load(tmp_path / "e")
    assert loaded.top == 2 and loaded.corrections == [1.0, None, 2.0]
    assert loaded.class_sets.lists() == SETS.lists()
    x = test_arrays[0][:20]
    np.testing.assert_allclose(loaded.predict(x), ensemble.predict(x), atol=1e-5)
    assert loaded.fingerprint() == ensemble.fingerprint()
    with pytest.raises(InputError, match="exists"):
        ensemble.save(tmp_path / "e")


def test_fingerprint_knows_weights_sets_and_top(parts):
    generalist, specialists = parts
    base = SpecialistEnsemble(generalist, specialists, SETS).fingerprint()
    assert base == SpecialistEnsemble(generalist, specialists, SETS).fingerprint()
    other_sets = ClassSets(([0, 1, 3], [2, 3], [7, 8, 9]), 10)
    others = [
        SpecialistEnsemble(generalist, specialists, SETS, top=2),
        SpecialistEnsemble(generalist, specialists, other_sets),
        SpecialistEnsemble(generalist, [specialists[0], specialists[1], specialists[0]], SETS),
    ]
    assert len({base, *(e.fingerprint() for e in others)}) == 4


@pytest.mark.parametrize("damage", ["changed", "missing", "manifest", "nothing"])
def test_a_folder_that_is_not_what_was_saved_is_refused(parts, tmp_path, damage):
    generalist, specialists = parts
    path = SpecialistEnsemble(generalist, specialists, SETS).save(tmp_path / "e")
    if damage == "changed":
        shutil.copy(path / "specialist-00.keras", path / "specialist-02.keras")
    elif damage == "missing":
        (path / "generalist.keras").unlink()
    elif damage == "manifest":
        manifest = json.loads((path / "ensemble.json").read_text())
        manifest["parts"][0]["file"] = "../../elsewhere.keras"
        (path / "ensemble.json").write_text(json.dumps(manifest))
    else:
        path = tmp_path
    with pytest.raises(
        InputError, match=r"changed|missing|file|not a folder of specialists|holds no"
    ):
        SpecialistEnsemble.load(path)


def test_a_store_is_built_and_a_student_distilled(parts, digits, tmp_path):
    """A teacher like any other."""
    generalist, specialists = parts
    ensemble = SpecialistEnsemble(generalist, specialists, SETS)
    assert as_teacher(ensemble) is ensemble
    train = digits.train.take(96)
    store = SoftTargetStore.build(ensemble, train, tmp_path / "store", batch_size=32)
    x, y = next(iter(store.batches(train, 96, shuffle=False)))
    np.testing.assert_allclose(y.teacher, ensemble.predict(x.numpy()), atol=0.02, rtol=2e-3)
    student = models.build("mlp:4", input_shape=(8, 8, 1), num_classes=10, seed=0)
    history = Distiller(ensemble, student).fit(train.batch(32), epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"][0])


def test_export_names_every_part(parts, tmp_path, monkeypatch):
    generalist, specialists = parts
    calls = []
    monkeypatch.setattr(
        ensemble_module, "export_tflite", lambda *args, **kwargs: calls.append((*args, kwargs))
    )
    ensemble = SpecialistEnsemble(generalist, specialists, SETS)
    ensemble.export(tmp_path, quantization="int8", calibration="digits")
    assert [path.name for _, path, _ in calls] == [
        "generalist.tflite",
        *(f"specialist-0{m}.tflite" for m in range(3)),
    ]
    assert [model for model, _, _ in calls] == [generalist, *specialists]
    assert calls[0][2] == {"quantization": "int8", "calibration": "digits"}


@pytest.mark.slow
def test_exported_parts_combine_to_the_same_answer(parts, test_arrays, tmp_path):
    generalist, specialists = parts
    ensemble = SpecialistEnsemble(generalist, specialists[:1], [SETS.sets[0]])
    records = ensemble.export(tmp_path / "lite", batch_size=None)
    files = [tmp_path / "lite" / f"{name}.tflite" for name in ("generalist", "specialist-00")]
    assert all(f.exists() for f in files)
    assert {r.verification.verdict for r in records} == {"not verified on data"}
    x = test_arrays[0][:16].astype("float32")
    probs = [np.exp(z) / np.exp(z).sum(1, keepdims=True) for z in
             (LiteRTModel(f).predict(x) for f in files)]  # fmt: skip
    q = combine(probs[0], probs[1:], [SETS.sets[0]], active_by_top(probs[0], [SETS.sets[0]]))
    np.testing.assert_allclose(q, np.exp(ensemble.predict(x)), atol=1e-3)


def test_parts_that_do_not_fit_are_named(parts):
    generalist, specialists = parts
    with pytest.raises(InputError, match="must have the same length"):
        SpecialistEnsemble(generalist, specialists[:2], SETS)
    with pytest.raises(InputError, match=r"`specialists\[0\]` must give 4 logits"):
        SpecialistEnsemble(generalist, [specialists[m] for m in (1, 0, 2)], SETS)
    with pytest.raises(InputError, match="`generalist` must give 11 logits"):
        SpecialistEnsemble(generalist, specialists, ClassSets(SETS.sets, 11))
    with pytest.raises(InputError, match="`top`"):
        SpecialistEnsemble(generalist, specialists, SETS, top=11)
    with pytest.raises(InputError, match="`corrections` must have one entry per specialist"):
        SpecialistEnsemble(generalist, specialists, SETS, corrections=[1.0])
    with pytest.raises(InputError, match="ClassSets"):
        SpecialistEnsemble(CallableTeacher(lambda x: x), specialists, SETS.lists())
    with pytest.raises(InputError, match="Only Keras models"):
        SpecialistEnsemble(
            CallableTeacher(lambda x: x, output_shape=(10,)), specialists, SETS
        ).save("never")


def test_dict_inputs():
    inputs = {"a": keras.Input((3,), name="a"), "b": keras.Input((2,), name="b")}
    joined = keras.layers.Concatenate()([inputs["a"], inputs["b"]])
    generalist = keras.Model(inputs, keras.layers.Dense(4)(joined))
    ensemble = SpecialistEnsemble(generalist, [build_specialist(generalist, [0, 1])], [[0, 1]])
    x = {"a": np.ones((5, 3), "float32"), "b": np.ones((5, 2), "float32")}
    assert ensemble.predict(x).shape == (5, 4)
