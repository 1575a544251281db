"""The second half of the paper on CIFAR-100: specialists, Tables 3 and 4, distilling back.

    cd examples/studies/specialists; python study.py cifar100.toml --data-dir DIR

Every piece is a job; the same command goes on where the last one stopped. While settings are being
chosen, `--split validation` judges on validation data; without it the test split is looked at.
"""

import argparse
from pathlib import Path

from keras_distill.records._specialists_study import SpecialistsStudy
from keras_distill.report import _specialists as page
from keras_distill.runs._specialists import SpecialistsRun

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("study", type=Path, help="the study, a .toml file")
arguments.add_argument("--data-dir", help="folder of prepared TFDS data sets")
arguments.add_argument("--work", type=Path, help="working folder [saved_models/STUDY]")
arguments.add_argument("--results", type=Path, default=Path(__file__).parent / "records")
arguments.add_argument("--backend", default="processes", help="in-turn, processes or ray")
arguments.add_argument("--workers", type=int, default=1, help="jobs at a time")
arguments.add_argument("--split", default="test", help="what is judged: test or validation")
arguments.add_argument(
    "--judge-only", action="store_true", help="train nothing, judge what is there"
)


def main() -> None:
    given = arguments.parse_args()
    study = SpecialistsStudy.load(given.study)
    if given.data_dir:
        study = study.model_copy(update={"data_dir": given.data_dir})
    run = SpecialistsRun(
        study,
        given.work or Path("saved_models") / study.name,
        given.results,
        backend=given.backend,
        workers=given.workers,
        report=lambda job, kept: print(f"{job.name}: {job.status}{' before' if kept else ''}"),
    )
    if not given.judge_only:
        run.train()
    record = run.tables(given.split)
    for system in record.report.systems:
        print(f"{system.title:45} {100 * sum(system.accuracy) / len(system.accuracy):6.2f} %")
    page.write(record, given.results / f"study-{given.split}.html", overwrite=True)


if __name__ == "__main__":
    main()
