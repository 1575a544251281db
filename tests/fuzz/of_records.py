"""What the program wrote, changed: stores, records, and folders of specialists."""

import json
import os
import shutil
from pathlib import Path

from tests.fuzz.kinds import Case, Maker, damaged, edited, kind


def copy_of_store(m: Maker) -> Path:
    folder = m.files / "store"
    shutil.copytree(m.good.store, folder)
    return folder


def _read_store(m: Maker, folder: Path) -> list[str]:
    return m.pick(
        ["targets", "verify", str(folder)],
        ["targets", "verify", str(folder), "--data", m.data],
        ["targets", "info", str(folder)],
        ["targets", "verify", str(folder), "--data", m.data, "--teacher", str(m.good.model)],
    )


@kind
def store_manifest(m: Maker) -> Case:
    """A manifest with any part changed."""
    folder = copy_of_store(m)
    manifest = json.loads((folder / "manifest.json").read_text())
    changed, _ = edited(manifest, m.random)
    (folder / "manifest.json").write_text(json.dumps(changed))
    return Case(_read_store(m, folder), refused=changed != manifest)


@kind
def store_claims(m: Maker) -> Case:
    """A manifest that claims other than the files hold."""
    folder = copy_of_store(m)
    manifest = json.loads((folder / "manifest.json").read_text())
    output = manifest["outputs"][0]
    changes = [
        {"shards": []}, {"keys": []}, {"examples": 10**12}, {"views": 1000}, {"examples": 17},
        {"inputs": ["uint8[32,32,3]"]}, {"inputs": []}, {"outputs": [{**output, "shape": [10**9]}]},
        {"outputs": [{**output, "shape": [1] * 10_000}]}, {"outputs": [{**output, "shape": [3, 1]}]},
        {"outputs": [output] * 2}, {"outputs": [{**output, "top_k": 2}]}, {"batch_size": 10**12},
        {"outputs": [{**output, "dtype": "float32"}]}, {"shard_examples": 1}, {"shard_examples": 10**15},
        {"shards": manifest["shards"] * 2}, {"shards": manifest["shards"][::-1]}, {"views": 2},
        {"shards": manifest["shards"] * 10**4}, {"teacher": {**manifest["teacher"], "temperature": 3.0}},
        {"teacher": {**manifest["teacher"], "name": "another"}}, {"keys": manifest["shards"]},
        {"augment": {"crop": 10**9}}, {"augment": {"crop": 2}, "augment_fingerprint": None},
        {"topk_error": [{"top_k": 1, "temperature": 1.0, "rest": 0.0, "kl": 0.0, "kl_bins": 0.0}] * 10**4},
    ]  # fmt: skip
    manifest.update(m.random.choice(changes))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Case(_read_store(m, folder), refused=True)


@kind
def store_files(m: Maker) -> Case:
    """Files of records and keys that are missing, cut, longer, changed, or no files."""
    folder = copy_of_store(m)
    file = m.random.choice(sorted(folder.glob("*.bin")))
    how = m.random.randrange(7)
    content = file.read_bytes()
    if how == 0:
        file.unlink()
    elif how == 1:
        file.write_bytes(content[:-1])
    elif how == 2:
        file.write_bytes(content + b"\0")
    elif how == 3:
        file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    else:
        file.unlink()
        if how == 4:
            file.mkdir()
        elif how == 5:
            os.mkfifo(file)
        else:
            file.symlink_to("/dev/zero")
    argv = ["targets", "verify", str(folder)]
    return Case(argv, refused=True)


@kind
def json_text(m: Maker) -> Case:
    """Text in the place of a manifest or record."""
    text = m.pick(
        "", "null", "[]", "{}", "[" * 100_000, '{"a":' * 3000 + "1" + "}" * 3000, "NaN", "\0", '"x"',
        b"\xff\xfe", "9" * 100_000, '{"' + "x" * 10**6 + '": 1}', "1e999", "{}{}", "\ufeff{}",
        '{"format": "keras-distill soft targets", "version": 2}',
        '{"format": "keras-distill soft targets", "version": 1}',
        "{" + ",".join(f'"k{i}": 1' for i in range(300_000)) + "}", b" " * (80 << 20),
    )  # fmt: skip
    which = m.random.randrange(3)
    if which == 0:
        folder = copy_of_store(m)
        m.write("store/manifest.json", text)
        argv = ["targets", "info", str(folder)]
    elif which == 1:
        m.write("run/record.json", text)
        argv = ["report", f"{m.files}/run", "-o", f"{m.out}/page.html"]
    else:
        shutil.copytree(m.good.specialists, m.files / "parts")
        m.write("parts/ensemble.json", text)
        argv = ["specialists", "evaluate", f"{m.files}/parts", "-o", f"{m.out}/e.json"]
    return Case(argv, refused=True)


@kind
def run_record(m: Maker) -> Case:
    """The record of a run with any part changed."""
    record = json.loads((m.good.run / "record.json").read_text())
    for _ in range(m.pick(1, 1, 3)):
        record, _ = edited(record, m.random)
    m.write("run/record.json", json.dumps(record))
    return Case(["report", f"{m.files}/run", "-o", f"{m.out}/page.html"])


@kind
def run_record_long(m: Maker) -> Case:
    """The record of a run with far too much of something."""
    record = json.loads((m.good.run / "record.json").read_text())
    variant, n = record["variants"][0], m.pick(5000, 20_000)
    what = m.random.randrange(6)
    if what == 0:
        record["variants"] += [{**variant, "name": f"v{i}"} for i in range(n)]
    elif what == 1:
        variant["seeds"] = variant["seeds"] * n
    elif what == 2:
        record["benchmark"]["entries"] = record["benchmark"]["entries"] * n
    elif what == 3:
        record["exports"]["exports"] = {
            f"e{i}": next(iter(record["exports"]["exports"].values())) for i in range(n)
        }
    elif what == 4:
        record["variants"] = []
    else:
        record["versions"] = {f"p{i}": "x" * 99 for i in range(n)}
    m.write("run/record.json", json.dumps(record))
    return Case(["report", f"{m.files}/run", "-o", f"{m.out}/page.html"], refused=True)


@kind
def specialists_manifest(m: Maker) -> Case:
    """A folder of specialists with its manifest changed, or a file of it."""
    folder = m.files / "parts"
    shutil.copytree(m.good.specialists, folder)
    manifest = json.loads((folder / "ensemble.json").read_text())
    how = m.random.randrange(10)
    if how < 5:
        manifest, _ = edited(manifest, m.random)
    elif how == 5:
        manifest["parts"] = manifest["parts"] * 5000
    elif how == 6:
        manifest["parts"][0]["class_ids"] = m.pick([0], [0, 0], [0, 10**12], [-1, 0], [1, 0], [])
    elif how == 7:
        manifest["num_classes"] = m.pick(10**12, 2, 4)
    elif how == 8:
        manifest["top"] = m.pick(10**9, 0, True)
    else:
        file = m.random.choice(sorted(folder.glob("*.keras")))
        file.write_bytes(damaged(file.read_bytes(), m.random))
    (folder / "ensemble.json").write_text(json.dumps(manifest))
    argv = ["specialists", "evaluate", str(folder), "-o", f"{m.out}/e.json"]
    return Case(argv, refused=how >= 5)
