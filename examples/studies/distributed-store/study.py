"""Builds one store by one process, two processes, and two Ray workers on two nodes; compares them.

    python examples/studies/distributed-store/study.py nodes
    python examples/studies/distributed-store/study.py writer

`nodes` starts a Ray cluster of two nodes on this machine. `writer` measures what writing takes
without a teacher. Both write a record to `--records`.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
RECORDS = HERE / "records"
TEACHER = "resnet:32"
ROWS = 20_000
# What is calculated: rows, classes, logits kept.
CASES = {
    "ImageNet-1k, dense": (1_281_167, 1000, None),
    "ImageNet-1k, top-20": (1_281_167, 1000, 20),
    "1 million tokens of a vocabulary of 250,000, dense": (1_000_000, 250_000, None),
    "1 million tokens of a vocabulary of 250,000, top-20": (1_000_000, 250_000, 20),
}
SAMPLE = {1000: 65_536, 250_000: 1024}  # rows whose writing is timed
RATES = (100, 1000)  # rows per second of a worker's teacher, assumed
WORKERS = (1, 8, 64)


class Cluster:
    """Two nodes of Ray with one core each; use it as a context manager."""

    def __init__(self, folder):
        self._folder, self._nodes = folder, []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.environment = {"RAY_ADDRESS": self.address, "RAY_AUTH_MODE": "disabled"}

    def __enter__(self):
        port = self.address.rpartition(":")[2]
        head = ("--head", f"--port={port}", f"--temp-dir={self._folder}", "--include-dashboard=0")
        for options in (head, (f"--address={self.address}",)):
            self._nodes.append(self._start(*options))
            self._wait_for(len(self._nodes))
        return self

    def __exit__(self, *error):
        for node in reversed(self._nodes):
            node.terminate()
            node.wait()

    def _start(self, *options):
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", *options, "--block"),
                *("--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats"),
            ],
            env={**environment, "RAY_AUTH_MODE": "disabled"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _wait_for(self, count):
        code = "import ray; ray.init(log_to_driver=False); print(len(ray.nodes()))"
        for _ in range(60):
            done = subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, **self.environment},
                capture_output=True,
                text=True,
            )
            if done.stdout.split()[-1:] == [str(count)]:
                return
            time.sleep(1)
        raise RuntimeError(f"Ray has no {count} nodes: {done.stderr[-500:]}")


def build(teacher, out, *options, **environment):
    """Runs `targets build`; returns the wall time of the command."""
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    start = time.perf_counter()
    subprocess.run(
        [
            *(sys.executable, "-m", "keras_distill", "targets", "build", str(teacher)),
            *("--data", "py:cifar_part:part", "-o", str(out), "--dtype", "float32", *options),
        ],
        env={**os.environ, "PYTHONPATH": path, **environment},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def nodes(folder):
    """Builds the store four times; returns the wall times."""
    import keras_distill as kd

    model = kd.models.build(TEACHER, input_shape=(32, 32, 3), num_classes=100, seed=0)
    model.save(folder / "teacher.keras")
    one_thread = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    two = ("--workers", "2", "--threads", "1")
    ways = {
        "one process, 1 thread": ((), one_thread),
        "one process, 2 threads": ((), {}),
        "two processes, 1 thread each": (("--backend", "processes", *two), {}),
    }
    seconds = {}
    for number, (name, (options, environment)) in enumerate(ways.items()):
        out = folder / f"store{number}"
        seconds[name] = build(folder / "teacher.keras", out, *options, **environment)
    with (
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as short,
        Cluster(Path(short)) as cluster,
    ):
        options, out = ("--backend", "ray", *two), folder / "store3"
        seconds["two Ray workers on two nodes, 1 thread each"] = build(
            folder / "teacher.keras", out, *options, **cluster.environment
        )
    stores = [
        {path.name: path.read_bytes() for path in (folder / f"store{i}").iterdir()}
        for i in range(4)
    ]
    return {
        "teacher": TEACHER,
        "rows": ROWS,
        "seconds": seconds,
        "equal": [store == stores[0] for store in stores],
    }


def writer(folder):
    """Measures how many rows a second one process checks, packs, and writes, without a teacher."""
    from keras_distill.targets import SoftTargetStore  # isort: split

    import tensorflow as tf

    measured = {}
    for name, (_, classes, top_k) in CASES.items():
        logits = np.random.default_rng(0).normal(size=(128, classes)).astype(np.float32)
        rows = SAMPLE[classes]
        x = np.arange(rows, dtype=np.int64)[:, None]
        data = tf.data.Dataset.from_tensor_slices((x, np.zeros(rows, np.int64)))
        store = SoftTargetStore.build(
            lambda x, logits=logits: logits[: len(x)],
            data,
            folder / name.replace(" ", "-"),
            top_k=top_k,
            progress=False,
        )
        size = sum(shard.bytes for shard in (*store.manifest.shards, *store.manifest.keys))
        measured[name] = {
            "rows_per_second": store.built.rows_per_second,
            "bytes_per_row": size / rows,
        }
    return {"cases": measured}


def readme_tables(folder):
    """Returns the tables of the README, from the records."""
    tables = {"nodes": _nodes_table, "writer": _writer_table}
    return [
        table(json.loads(path.read_text()))
        if (path := folder / f"{name}.json").exists()
        else "Not measured yet.\n"
        for name, table in tables.items()
    ]


def _nodes_table(record):
    seconds, first = record["seconds"], next(iter(record["seconds"].values()))
    rows = [
        (
            name,
            f"{taken:.1f}",
            f"{record['rows'] / taken:,.0f}",
            f"{taken / first:.2f}",
            "yes" if equal else "**no**",
        )
        for (name, taken), equal in zip(seconds.items(), record["equal"], strict=True)
    ]
    head = ("", "seconds", "rows per second", "time, of the first", "byte-identical to the first")
    return _table(head, rows)


def _writer_table(record):
    rows = []
    for name, (count, _, _) in CASES.items():
        case = record["cases"][name]
        size = count * case["bytes_per_row"]
        times = [
            "/".join(_time(_seconds(count, rate, workers, case)) for workers in WORKERS)
            for rate in RATES
        ]
        rate = f"{case['rows_per_second']:,.0f}"
        rows.append((name, _size(size), rate, *times))
    columns = "/".join(map(str, WORKERS))
    heads = [f"{rate} rows per second, {columns} workers" for rate in RATES]
    return _table(("", "bytes", "rows written per second", *heads), rows)


def _seconds(rows, rate, workers, case):
    """The teacher's time and that of writing, divided by the workers."""
    return rows * (1 / rate + 1 / case["rows_per_second"]) / workers


def _time(seconds):
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _size(count):
    return f"{count / 1e9:,.2f} GB"


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


MEASURES = {"nodes": nodes, "writer": writer}


def main():
    """Runs from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=tuple(MEASURES))
    parser.add_argument("--records", type=Path, default=RECORDS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="distributed-store-") as folder:
        measured = MEASURES[given.part](Path(folder))
    text = json.dumps({"cores": os.cpu_count(), **measured}, indent=2)
    given.records.mkdir(parents=True, exist_ok=True)
    (given.records / f"{given.part}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
