import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.data import Augmentation
from keras_distill.targets import SoftTargetStore


def contents(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


class Crash(BaseException):
    pass


def test_the_folder_holds_records_and_keys_of_the_bytes_promised(build, data):
    store = build()
    names = sorted(contents(store.path))
    assert names == [
        ".keras-distill",
        *(f"keys-0000{i}.bin" for i in range(3)),
        "manifest.json",
        *(f"view0-0000{i}.bin" for i in range(3)),
    ]
    assert sum((store.path / f"view0-0000{i}.bin").stat().st_size for i in range(3)) == 70 * 2 * 7
    assert sum((store.path / f"keys-0000{i}.bin").stat().st_size for i in range(3)) == 70 * 8
    assert len(store) == 70
    assert not store.path.with_name("store.partial").exists()


def test_the_teacher_sees_every_example_once_in_full_batches(build, data):
    sizes = []

    def teacher(x):
        sizes.append(len(x))
        return data.logits(x)

    build(teacher)
    assert sizes == [8] * 9


@pytest.mark.parametrize("views", [1, 2])
def test_a_build_that_failed_goes_on_where_it_stopped_to_the_same_bytes(
    build, data, tmp_path, views
):
    augment = Augmentation(flip=True, crop=1) if views > 1 else None
    settings = {"views": views, "augment": augment, "top_k": 3}
    whole = build(path=tmp_path / "whole", **settings)
    asked = data.asked

    def fails_at(count):
        def teacher(x):
            nonlocal left
            left -= 1
            if left < 0:
                raise Crash
            return data.teacher(x)

        left = count
        return teacher

    for batches in (1, 4, 6):
        data.asked = 0
        with pytest.raises(Crash):
            build(fails_at(batches), **settings)
    data.asked = 0
    resumed = build(**settings)
    assert data.asked < asked
    assert contents(resumed.path) == contents(whole.path)


def test_a_crash_at_any_change_of_the_disk_leaves_a_build_that_can_go_on(
    build, tmp_path, monkeypatch
):
    whole = contents(build(path=tmp_path / "whole").path)
    crashes = 0
    real = {name: getattr(os, name) for name in ("replace", "rename", "fsync")}

    def counted(name):
        def call(*arguments):
            nonlocal left
            left -= 1
            if left < 0:
                raise Crash
            return real[name](*arguments)

        return call

    while True:
        left = crashes
        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, counted(name))
            try:
                build(path=tmp_path / f"at-{crashes}")
            except Crash:
                pass
            else:
                break
        resumed = build(path=tmp_path / f"at-{crashes}")
        assert contents(resumed.path) == whole
        crashes += 1
    assert crashes > 10


def test_leftovers_of_a_killed_writer_are_swept_away(build, data, tmp_path):
    whole = build(path=tmp_path / "whole")

    def fails(x):
        if data.asked >= 40:
            raise Crash
        return data.teacher(x)

    data.asked = 0
    with pytest.raises(Crash):
        build(fails)
    partial = tmp_path / "store.partial"
    (partial / "view0-00002.bin.4711.tmp").write_bytes(b"half a shard")
    (partial / ".manifest-x.json").write_bytes(b"{")
    assert contents(build().path) == contents(whole.path)


def test_progress_is_told_and_goes_on_from_what_was_done(build, data):
    told = []

    def report(done, total):
        told.append((done, total))
        if len(told) == 6:
            raise Crash

    with pytest.raises(Crash):
        build(progress=report)
    assert told[0] == (0, 70)
    assert told[5] == (40, 70)
    told.clear()
    told.append(None)
    with pytest.raises(Crash):
        build(progress=report)
    assert told[1] == (24, 70)


def test_another_build_begun_at_the_same_place_is_not_mixed_in(build, data, tmp_path):
    def stops(x):
        if data.asked >= 40:
            raise KeyboardInterrupt
        return data.teacher(x)

    with pytest.raises(KeyboardInterrupt):
        build(stops)
    with pytest.raises(InputError, match=r"store.partial holds another store \(other: outputs\)"):
        build(top_k=2)
    with pytest.raises(InputError, match=r"\(other: data\)"):
        build(dataset=data.dataset.map(lambda x, y: (255 - x, y)))
    with pytest.raises(InputError, match="is not finished"):
        SoftTargetStore.open(tmp_path / "store")
    store = build(top_k=2, overwrite=True)
    assert store.manifest.outputs[0].top_k == 2


def test_data_that_changed_after_the_first_batch_are_found_on_resuming(build, data):
    def stops(x):
        if data.asked >= 40:
            raise KeyboardInterrupt
        return data.teacher(x)

    with pytest.raises(KeyboardInterrupt):
        build(stops)
    data.x[20] += 1
    with pytest.raises(InputError, match="Example 20 of `dataset` is not what it was"):
        build()


def test_an_existing_store_is_replaced_only_when_asked(build, data):
    build()
    with pytest.raises(InputError, match="overwrite"):
        build()
    assert build(top_k=2, overwrite=True).manifest.outputs[0].top_k == 2


def test_nothing_but_a_store_is_ever_replaced(build, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="was not made by keras-distill"):
        build(overwrite=True)
    assert (tmp_path / "store" / "thesis.txt").exists()


def test_the_same_store_is_found_again_with_reuse(build, data, tmp_path):
    first = build()
    before = contents(first.path)
    data.asked = 0
    assert contents(build(reuse=True).path) == before
    assert data.asked == 8
    with pytest.raises(InputError, match=r"another store \(other: outputs\)"):
        build(reuse=True, top_k=3)
    assert build(reuse=True, overwrite=True, top_k=3).manifest.outputs[0].top_k == 3


@pytest.mark.parametrize("shuffled", ["dataset", "of_unknown_size"])
def test_data_in_another_order_each_time_are_refused(build, data, shuffled):
    with pytest.raises(InputError, match="other examples each time it is read"):
        build(dataset=getattr(data, shuffled).shuffle(70))


def test_a_random_augmentation_before_the_store_is_refused(build, data):
    draws = tf.random.Generator.from_non_deterministic_state()
    noisy = data.dataset.map(lambda x, y: (x ^ tf.cast(draws.uniform(()) < 0.5, x.dtype), y))
    with pytest.raises(InputError, match="before any random augmentation"):
        build(dataset=noisy)


def test_the_number_of_examples_need_not_be_known(build, data):
    store = build(dataset=data.of_unknown_size)
    assert len(store) == 70
    assert len(build(dataset=data.of_unknown_size.take(48), path=store.path / "../b")) == 48


def test_an_empty_data_set_is_refused(build, data):
    with pytest.raises(InputError, match="empty"):
        build(dataset=data.dataset.take(0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"views": 2}, "`views` must be 1 without `augment`"),
        ({"augment": "flip"}, "`augment` must be"),
        ({"top_k": 7}, "`top_k` must be less than the 7 classes"),
        ({"top_k": 0}, "`top_k`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"batch_size": 10**9}, "`batch_size` must be <= 65536"),
        ({"views": 10**9, "augment": Augmentation()}, "`views` must be <= 100000"),
        ({"shard_batches": 0}, "`shard_batches`"),
        ({"dtype": "int8"}, "`dtype`"),
        ({"views": 0}, "`views`"),
    ],
)
def test_bad_arguments_are_named(build, arguments, message, tmp_path):
    with pytest.raises(InputError, match=message):
        build(**arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_batch_of_large_examples_is_refused_before_it_is_padded(build):
    one = tf.data.Dataset.from_tensors((tf.zeros((1 << 18,)), 0))
    with pytest.raises(InputError, match=r"`batch_size` must be <= 1024 for examples of 1048576"):
        build(dataset=one, batch_size=1025)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((71, 7), "holds 71 rows for 70 examples"), ((70, 0), "one or more logits"),
     ((70, 0, 7), "one or more logits")],
)  # fmt: skip
def test_an_array_that_does_not_fit_leaves_nothing(build, tmp_path, shape, message):
    with pytest.raises(InputError, match=message):
        build(np.full(shape, -5, np.float32))
    assert list(tmp_path.iterdir()) == []


def test_a_teacher_that_fails_on_the_data_is_named(build):
    def fails(x):
        raise ValueError("expected 10 features\nand more")

    with pytest.raises(InputError, match="teacher fails at example 0: expected 10 features"):
        build(fails)


def test_a_teacher_whose_shape_changes_is_refused(build, data):
    calls = iter(range(99))

    def teacher(x):
        return data.logits(x)[:, : 7 - (next(calls) > 3)]

    with pytest.raises(InputError, match=r"one shape, \(7,\).*\(6,\) at example 32"):
        build(teacher)


def test_a_teacher_that_gives_too_few_rows_is_refused(build, data):
    with pytest.raises(InputError, match="for 8 examples"):
        build(lambda x: data.logits(x)[:5])


def test_the_manifest_does_not_depend_on_when_or_where(build, data, tmp_path):
    one, two = build(path=tmp_path / "a" / "one"), build(path=tmp_path / "two")
    assert contents(one.path) == contents(two.path)
    manifest = json.loads((one.path / "manifest.json").read_text())
    assert manifest["examples"] == 70
    assert manifest["inputs"] == ["uint8[4,4,1]"]
    assert np.isclose(sum(s["examples"] for s in manifest["shards"]), 70)


def test_one_process_at_a_time_builds_a_store(build, data, tmp_path):
    refused = []

    def teacher(x):
        if (tmp_path / "store.partial").exists():
            with pytest.raises(InputError, match=r"store.partial is in use by another process"):
                build()
            refused.append(1)
        return data.teacher(x)

    store = build(teacher)
    assert refused and len(store) == 70
    assert not (store.path / ".lock").exists()


def test_a_killed_builder_leaves_no_lock(build, data, tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from keras_distill.work import FolderLock\n"
        "FolderLock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "store.partial")])
    assert killed.returncode == -9 and (tmp_path / "store.partial" / ".lock").exists()
    assert len(build()) == 70


def test_a_folder_of_the_user_with_the_name_of_an_unfinished_store_is_not_emptied(build, tmp_path):
    thesis = tmp_path / "store.partial" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    with pytest.raises(InputError, match="was not made by keras-distill"):
        build(overwrite=True)
    assert thesis.exists()


def test_a_batch_of_enormous_logits_is_refused_before_the_teacher_runs(build, tmp_path):
    x = keras.Input((4, 4, 1))
    rows = keras.layers.RepeatVector(1 << 20)(keras.layers.Flatten()(x))
    with pytest.raises(InputError, match=r"`batch_size` must be <= 16 for examples of 67108864 b"):
        build(keras.Model(x, rows), batch_size=64)
    assert list(tmp_path.iterdir()) == []
