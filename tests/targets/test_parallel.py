"""Stores that several processes write: byte-identical to one, resumable, refused where wrong."""

import json
import os
import shutil

import numpy as np
import pytest

from keras_distill import data, models
from keras_distill._internal import InputError
from keras_distill.cli import main
from keras_distill.data import Augmentation
from keras_distill.targets import SoftTargetStore, StoreSource, _parallel, build_store

SETTINGS = {"batch_size": 32, "shard_batches": 4, "progress": False}  # 10 shards of digits


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    model = models.build("mlp:16", input_shape=(8, 8, 1), num_classes=10, seed=1)
    path = tmp_path_factory.mktemp("teacher") / "teacher.keras"
    model.save(path)
    return path


@pytest.fixture(autouse=True)
def forget():
    yield
    _parallel.opened.cache_clear()


def source(teacher, **changes):
    return StoreSource((str(teacher),), "digits", **changes)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def single(teacher, path, **settings):
    train = data.load("digits").train
    return SoftTargetStore.build(models.load(teacher), train, path, **{**SETTINGS, **settings})


@pytest.mark.parametrize(
    "settings",
    [{}, {"top_k": 3}, {"views": 2, "augment": Augmentation(crop=1)}],
    ids=["dense", "top-k", "views"],
)
def test_the_store_is_byte_identical_to_that_of_one_process(teacher, tmp_path, settings):
    one = single(teacher, tmp_path / "one", **settings)
    store = build_store(source(teacher), tmp_path / "many", workers=2, **SETTINGS, **settings)
    assert files(store.path) == files(one.path)
    assert sorted(os.listdir(store.path)) == sorted(os.listdir(one.path))
    assert len(store.manifest.keys) == 10


def test_only_missing_shards_are_written_again(teacher, tmp_path, monkeypatch):
    one = single(teacher, tmp_path / "one", views=2, augment=Augmentation(crop=1))
    settings = {**SETTINGS, "views": 2, "augment": Augmentation(crop=1)}
    real, killed = _parallel.StoreBuilder.write_shards, []

    def dies(self, plan, view, numbers):
        if (view, numbers.start) == (1, 4):
            killed.append(view)
            raise RuntimeError("killed")
        return real(self, plan, view, numbers)

    monkeypatch.setattr(_parallel.StoreBuilder, "write_shards", dies)
    with pytest.raises(InputError, match="1 of 5 parts of the store failed; the others are kept"):
        build_store(source(teacher), tmp_path / "many", workers=2, **settings)
    partial = tmp_path / "many.partial"
    written = {path: path.stat().st_mtime_ns for path in partial.glob("*.bin")}
    assert len(written) == 10 + 10 + 8 and killed == [1]
    monkeypatch.setattr(_parallel.StoreBuilder, "write_shards", real)
    store = build_store(source(teacher), tmp_path / "many", workers=2, **settings)
    assert files(store.path) == files(one.path)
    kept = [store.path / path.name for path in written]
    assert [path.stat().st_mtime_ns for path in kept] == list(written.values())


def test_one_process_finishes_what_several_began_and_the_other_way_round(teacher, tmp_path):
    one = single(teacher, tmp_path / "one")
    for number, gone in enumerate(["view0-00007.bin", "view0-00002.bin"]):
        path = tmp_path / f"store{number}"
        shutil.copytree(one.path, path.with_name(f"{path.name}.partial"))
        partial = path.with_name(f"{path.name}.partial")
        (partial / gone).unlink()
        plan = one.manifest.model_copy(update={"examples": None, "shards": (), "keys": ()})
        plan.save(partial / "manifest.json", overwrite=True)
        if number:
            store = single(teacher, path)
        else:
            store = build_store(source(teacher), path, workers=2, **SETTINGS)
        assert files(store.path) == files(one.path)


def test_other_data_than_those_of_the_interrupted_build_are_refused(teacher, tmp_path):
    one = single(teacher, tmp_path / "one")
    partial = tmp_path / "many.partial"
    shutil.copytree(one.path, partial)
    keys = np.fromfile(partial / "keys-00003.bin", "<i8")
    keys[5] += 1
    keys.tofile(partial / "keys-00003.bin")
    (partial / "view0-00008.bin").unlink()
    plan = one.manifest.model_copy(update={"examples": None, "shards": (), "keys": ()})
    plan.save(partial / "manifest.json", overwrite=True)
    with pytest.raises(InputError, match="Example 389 of `dataset` is not what it was"):
        build_store(source(teacher), tmp_path / "many", **SETTINGS)


DIES = """
import os, pathlib, signal
from keras_distill.targets import _build

encode, mark = _build._layout.encode, pathlib.Path({mark!r})

def dies(values, outputs, first):
    if first == 704 and not mark.exists():  # in the midst of the sixth shard
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(values, outputs, first)

if os.getpid() != {parent}:
    _build._layout.encode = dies
"""


def test_the_shard_of_a_killed_process_is_written_again(teacher, tmp_path, monkeypatch, capsys):
    name, mark = f"dies_{tmp_path.name.replace('-', '_')}", tmp_path / "killed"
    text = DIES.format(mark=str(mark), parent=os.getpid())
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("keras_distill.targets._build._SHARD_EXAMPLES", 128)
    command = ["targets", "build", str(teacher), "--data", "digits", "--batch-size", "32"]
    assert main([*command, "-o", str(tmp_path / "one"), "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    many = ["-o", str(tmp_path / "many"), "--backend", "processes", "--workers", "2"]
    assert main([*command, *many, "--import", name, "--json"]) == 0
    two = json.loads(capsys.readouterr().out)
    assert mark.exists()
    assert files(tmp_path / "many") == files(tmp_path / "one")
    assert one["build"]["labeled"] == 1167
    assert two["build"]["labeled"] == 1167 - 128  # the dead process had finished the fifth shard
    assert two["build"]["accuracy"] == pytest.approx(one["build"]["accuracy"], abs=0.05)


def test_the_command_refuses_other_backends(teacher, tmp_path, capsys):
    command = ["targets", "build", str(teacher), "--data", "digits", "-o", str(tmp_path / "x")]
    assert main([*command, "--backend", "threads"]) == 2
    assert "in-turn, processes, ray" in capsys.readouterr().err
