import hashlib
import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError, VerificationError
from keras_distill.data import Augmentation
from keras_distill.targets import SoftTargetStore, _info


def edit(store, **changes):
    """Changes the manifest, and its checksum with it unless that is among the changes."""
    path = store.path / "manifest.json"
    values = {**json.loads(path.read_text()), **changes}
    if "seal" not in changes:
        rest = {name: value for name, value in values.items() if name != "seal"}
        text = json.dumps(rest, sort_keys=True)
        values["seal"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(values))


def flip_byte(path, at=5):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_store_opens_to_what_was_built(build):
    store = build()
    assert SoftTargetStore.open(store.path).manifest == store.manifest
    assert SoftTargetStore.open(str(store.path)).path == store.path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "version 2 of the format.*Build the store again"),
        ({"version": None}, "version None"),
        ({"format": "other"}, "is not the manifest"),
        ({"surprise": 1}, "surprise"),
        ({"examples": None}, "not finished"),
        ({"views": "many"}, "views"),
        ({"augment": {"swirl": 1}, "augment_fingerprint": "0"}, "Unknown augmentation 'swirl'"),
        ({"augment": {"crop": 1}, "augment_fingerprint": "0"}, "built with another augmentation"),
        ({"augment": {"crop": 1}}, "`augment` and `augment_fingerprint` must be given together"),
        ({"shards": []}, "`shards` must have as many files for each view as `keys`"),
        ({"shards": [], "keys": []}, "`examples` must be what the files of keys hold"),
        ({"examples": 10**12}, r"`examples` must be|keys-00002\.bin must be"),
        ({"views": 1000}, "`views` must be 1 without `augment`"),
        ({"shard_examples": 10**9 + 1}, "`shard_examples` must be a multiple of `batch_size`"),
        ({"outputs": [{"shape": [10**9, 10**9]}]}, "records must have at most 1073741824 bytes"),
        ({"outputs": [{"shape": [7]}, {"shape": [7]}]}, "`outputs` must have different names"),
        ({"inputs": ["uint8[1]"], "seal": "0" * 64}, "was changed after it was written"),
        ({"seal": None}, "has no checksum"),
    ],
)
def test_another_manifest_is_refused_in_words(build, changes, message):
    store = build()
    edit(store, **changes)
    with pytest.raises(InputError, match=message):
        SoftTargetStore.open(store.path)


def test_a_manifest_cannot_point_out_of_its_folder(build):
    store = build()
    shards = [s.model_dump() for s in store.manifest.shards]
    shards[0]["file"] = "../secret.bin"
    edit(store, shards=shards)
    with pytest.raises(InputError, match=r"shards\.0\.file"):
        SoftTargetStore.open(store.path)


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a soft-target store"):
        SoftTargetStore.open(tmp_path / "nothing")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="Cannot read"):
        SoftTargetStore.open(tmp_path)


@pytest.mark.parametrize("file", ["view0-00001.bin", "keys-00001.bin"])
def test_damage_is_found_and_named(build, data, file):
    store = build()
    flip_byte(store.path / file)
    with pytest.raises(InputError, match=f"{file} is damaged"):
        SoftTargetStore.open(store.path).batches(data.dataset, 8)
    with pytest.raises(InputError, match=f"{file} is damaged"):
        SoftTargetStore.open(store.path).attach(data.dataset)
    with pytest.raises(VerificationError, match=f"{file} is damaged"):
        store.verify()
    (store.path / file).write_bytes((store.path / file).read_bytes()[:-1])
    with pytest.raises(InputError, match=f"{file} has .* bytes"):
        SoftTargetStore.open(store.path)
    (store.path / file).unlink()
    with pytest.raises(InputError, match=f"{file} is missing"):
        SoftTargetStore.open(store.path)


def net(seed):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(7)])


@pytest.mark.parametrize("top_k", [None, 3])
def test_verify_says_what_it_checked(build, data, top_k):
    store = build(net(0), top_k=top_k)
    assert list(store.verify()) == ["files"]
    found = store.verify(data.dataset, net(0))
    assert list(found) == ["files", "data", "teacher", "logits"]
    assert "70 examples" in found["data"]
    assert "same fingerprint" in found["teacher"]


def test_verify_sees_the_first_view_as_the_teacher_did(build, data):
    store = build(net(0), views=2, augment=Augmentation(crop=2, seed=1))
    assert "logits" in store.verify(data.dataset, net(0))


def test_verify_finds_the_wrong_teacher(build, data):
    store = build(net(0))
    with pytest.raises(VerificationError, match="built from another teacher"):
        store.verify(teacher=net(1))
    unnamed = build(path=store.path / "../b")
    assert "no fingerprint" in unnamed.verify(teacher=data.logits)["teacher"]
    with pytest.raises(VerificationError, match="logits of the first batch differ"):
        unnamed.verify(data.dataset, lambda x: data.logits(x) + 1)
    with pytest.raises(VerificationError, match=r"no output|gives logits"):
        unnamed.verify(data.dataset, lambda x: data.logits(x)[:, :3])


def test_verify_finds_the_wrong_data(build, data):
    store = build()
    changed = data.x.copy()
    changed[69] += 1
    cases = [
        (data.dataset.map(lambda x, y: (x + 1, y)), "Example 0 is not"),
        (type(data.dataset).from_tensor_slices((changed, data.y)), "Example 69 is not"),
        (data.dataset.take(30), "30 examples; 70 are stored"),
        (data.dataset.concatenate(data.dataset), "more examples"),
        (data.dataset.map(lambda x, y: (x[0], y)), "have x uint8"),
    ]
    for dataset, message in cases:
        with pytest.raises(VerificationError, match=message):
            store.verify(dataset)


def test_logits_beyond_float16_are_described(tmp_path):
    logits = np.random.default_rng(0).normal(size=(64, 20)).astype(np.float32) * 1e5
    data = tf.data.Dataset.from_tensor_slices((np.eye(64, dtype=np.float32), np.zeros(64, int)))
    store = SoftTargetStore.build(logits, data, tmp_path / "s", dtype="float32", progress=False)
    errors = store.info().topk_error
    assert errors and all(np.isfinite(e.kl) for e in errors)


def test_info_shows_sizes_and_the_error_of_topk(build, data):
    dense = build().info()
    assert (dense.record_bytes, dense.total_bytes, dense.key_bytes) == (14, 980, 560)
    assert dense.dense_bytes == 980
    assert {e.top_k for e in dense.topk_error} == {5}
    assert "dense records of this store" in dense.topk_error_of
    kept = build(path=dense.path + "/../k", top_k=3).info()
    assert kept.record_bytes == 4 * 3 + 8
    assert {e.top_k for e in kept.topk_error} == {3, 5}
    assert "during the build" in kept.topk_error_of


def test_the_error_of_topk_falls_with_k_and_is_zero_where_nothing_is_lost(tmp_path):
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3, size=(40, 200)).astype(np.float32)
    errors = {(e.top_k, e.temperature): e for e in _info.table([logits])}
    for temperature in _info.TEMPERATURES:
        kls = [errors[k, temperature].kl for k in _info.COUNTS]
        assert all(a > b for a, b in itertools.pairwise(kls)), temperature
        assert all(0 <= errors[k, temperature].kl_bins < kls[0] for k in _info.COUNTS)
        rest = [errors[k, temperature].rest for k in _info.COUNTS]
        assert all(a > b for a, b in itertools.pairwise(rest))
    flat = np.zeros((4, 200), np.float32)
    flat[:, :5] = 4.0
    assert _info.error(flat, 5, 1.0).kl == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_kl_error_is_the_one_computed_by_hand(temperature):
    """At T = 1 and 4 the rest's mass is known: only how it is spread is lost."""
    logits = np.array([[3.0, 1.0, 0.0, -1.0]])
    found = _info.error(logits, 2, temperature)
    p = np.exp(logits[0] / temperature) / np.exp(logits[0] / temperature).sum()
    rest = p[2:].sum()
    assert found.rest == pytest.approx(rest)
    assert found.kl_bins == pytest.approx(0, abs=1e-6)
    assert found.kl == pytest.approx((p[2:] * np.log(p[2:] / (rest / 2))).sum(), abs=1e-5)
