"""What the soft-target store costs and saves on this machine: the whole table.

    python examples/studies/store/study.py --data-dir ~/tensorflow_datasets

Every piece is saved as it comes; the same command goes on where it was interrupted. The table is
printed as Markdown and kept as `table.md`. All pieces take about an hour and a half on two cores.
CIFAR-100 must be prepared (`tfds build cifar100`).
"""

import argparse
from pathlib import Path

import keras_distill  # noqa: F401  (before TensorFlow, so that oneDNN is switched on)
from keras_distill.benchmarks._cost_study import pieces, study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    results = Path(__file__).parent / "records"
    parser.add_argument("--results", type=Path, default=results, help="folder of the results")
    parser.add_argument("--data-dir", help="folder of prepared TFDS data sets")
    parser.add_argument("--only", nargs="*", default=[], choices=list(pieces()), metavar="PIECE")
    arguments = parser.parse_args()
    print(study(arguments.results, only=arguments.only, data_dir=arguments.data_dir))


if __name__ == "__main__":
    main()
