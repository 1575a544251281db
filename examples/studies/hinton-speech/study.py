"""How much of an ensemble's gain one acoustic model keeps; see README.md.

    python examples/studies/hinton-speech/study.py --data-dir DIR

trains what `records/` lacks and draws `share.svg`. `python examples/studies/tables.py` writes the
tables into README.md. Interrupted, the same command resumes after the last network.
"""

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import acoustic
import numpy as np
import speech
import speech_tables as tables
from corpus import Corpus

from keras_distill.benchmarks import describe_machine, describe_versions

FOLDER = Path(__file__).parent
SEEDS, MEMBERS, LABELED = 5, 10, 0.5
SPEAKERS = ("george", "jackson", "nicolas", "theo", "yweweler")


@dataclass(frozen=True)
class System:
    """A kind of network that is trained with several seeds.

    Attributes:
        title: Its name on the page.
        frames: What it is trained on: `labeled`, the frames of the half of the recordings whose
            labels are known; `labeled+250`, those of 250 others too, without labels; `all`, those
            of all others; `all+copies`, the same with copies at 0.9 and 1.1 times the speed.
        spec: The network.
        alpha: Weight of the soft targets; 0: trained on labels alone.
        temperature: Of the soft targets.
        epochs: Passes over its frames.
        seeds: How many networks.
        ensemble: The system whose networks are the ensemble that it is distilled from.
    """

    title: str
    frames: str = "labeled"
    spec: str = "mlp:128x128"
    alpha: float = 1.0
    temperature: float = 2.0
    epochs: int = 10
    seeds: int = SEEDS
    ensemble: str = "alone"


WIDE = "mlp:256x256"
SYSTEMS = {
    "alone": System("one network alone", alpha=0, seeds=MEMBERS),
    "paper": System("distilled as in the paper, alpha = 0.5", alpha=0.5),
    "all": System("distilled, also on 1,000 recordings without labels", frames="all"),
    "soft": System("distilled, soft targets alone"),
    "more-500": System("distilled, also on 500 recordings without labels", frames="labeled+500"),
    "all-half": System("distilled on all 2,000 recordings, 5 epochs", frames="all", epochs=5),
    "soft-20": System("distilled, soft targets alone, 20 epochs", epochs=20),
    # As many steps as 60 epochs of the 1,000 recordings with labels.
    "all-30": System("distilled on all 2,000 recordings, 30 epochs", frames="all", epochs=30),
    "soft-60": System("distilled, soft targets alone, 60 epochs", epochs=60),
    "alone-60": System("one network alone, 60 epochs", alpha=0, epochs=60, seeds=MEMBERS),
    "all-copies": System(
        "distilled on all 2,000 recordings and copies, 10 epochs", frames="all+copies"
    ),
    "paper-60": System("distilled as in the paper, alpha = 0.5, 60 epochs", alpha=0.5, epochs=60),
    "all-t1": System("distilled on all 2,000 recordings, T = 1", frames="all", temperature=1),
    "all-t8": System("distilled on all 2,000 recordings, T = 8", frames="all", temperature=8),
    "alone-wide": System("one network alone, layers of 256", spec=WIDE, alpha=0),
    "all-wide": System("distilled on all 2,000 recordings, layers of 256", frames="all", spec=WIDE),
    "all-t4": System("distilled on all 2,000 recordings, T = 4", frames="all", temperature=4),
    "more-250": System("distilled, also on 250 recordings without labels", frames="labeled+250"),
}
# Distilled from ten networks that train 60 epochs each.
SYSTEMS |= {
    "converged": System(
        "distilled as in the paper, alpha = 0.5, 60 epochs",
        alpha=0.5,
        epochs=60,
        ensemble="alone-60",
    ),
    "converged-all": System(
        "distilled on all 2,000 recordings, 30 epochs", frames="all", epochs=30, ensemble="alone-60"
    ),
    "converged-60": System(
        "distilled on all 2,000 recordings, 60 epochs", frames="all", epochs=60, ensemble="alone-60"
    ),
    "converged-copies": System(
        "distilled on all 2,000 recordings and copies, 20 epochs",
        frames="all+copies",
        epochs=20,
        ensemble="alone-60",
    ),
    "alone-120": System("one network alone, 120 epochs", alpha=0, epochs=120),
}
ENSEMBLES = tuple(dict.fromkeys(system.ensemble for system in SYSTEMS.values()))
FOLD = ("alone", "paper", "all")


@dataclass
class Study(Corpus):
    """What is trained, and where the records are."""

    records: Path = FOLDER / "records"

    @property
    def labeled(self) -> np.ndarray:
        """Which recordings, and copies of them, have labels."""
        chosen = speech.subset(self.data, self.train & self.real, LABELED, seed=0)
        return chosen[self.data.originals]

    def frames(self, system: System) -> tuple[np.ndarray, np.ndarray]:
        """Returns the frames that a system is trained on, and their states or -1."""
        base, _, extra = system.frames.partition("+")
        chosen = self.train if base == "all" else self.labeled
        if extra.isdigit():
            others = self.train & self.real & ~self.labeled
            share = int(extra) / others.sum()
            chosen = chosen | speech.subset(self.data, others, share, seed=0)
        chosen = chosen if extra == "copies" else chosen & self.real
        known = np.repeat(self.labeled, self.data.lengths)
        frames = self.data.frames(chosen)
        return frames, np.where(known[frames], self.states[frames], -1)

    def teacher(self, name: str) -> np.ndarray:
        """Returns the mean of the logits of the networks of a system, for all frames."""
        if name not in self._teachers:
            members = (self.member(name, s).astype(np.float32) for s in range(MEMBERS))
            self._teachers[name] = sum(members) / MEMBERS
        return self._teachers[name]

    @cached_property
    def _teachers(self) -> dict[str, np.ndarray]:
        return {}

    def member(self, name: str, seed: int, model: Any = None) -> np.ndarray:
        """Returns the logits of a network for all frames, from the folder where it is there.

        Args:
            name: A system that is an ensemble.
            seed: Of the network.
            model: The network; None: it is trained if need be, even if it is recorded.
        """
        path = self.work / f"{name}-s{seed}.npy"
        if not path.exists():
            model = self.trained(name, seed) if model is None else model
            partial = self.work / "partial.npy"
            np.save(partial, acoustic.logits_of(model, self.windows).astype(np.float16))
            partial.replace(path)
        return np.load(path, mmap_mode="r")

    def trained(self, name: str, seed: int) -> Any:
        """Trains one network."""
        system = SYSTEMS[name]
        frames, states = self.frames(system)
        x, common = self.windows[frames], {"seed": seed, "epochs": system.epochs}
        if not system.alpha:
            return acoustic.trained_alone(system.spec, x, states, **common)
        own = "" if system.ensemble == "alone" else f"-{system.ensemble}"
        store = self.work / f"targets-{system.frames}{own}"
        given = {"alpha": system.alpha, "temperature": system.temperature}
        taught = self.teacher(system.ensemble)[frames]
        return acoustic.distilled(system.spec, x, states, taught, store, **common, **given)

    def run(self, names: Iterable[str]) -> None:
        """Trains and measures what the records of some systems lack."""
        self.records.mkdir(parents=True, exist_ok=True)
        for name in names:
            system = SYSTEMS[name]
            path = self.records / f"{name}.json"
            record = json.loads(path.read_text()) if path.exists() else self.empty(system)
            record["system"] = vars(system)
            for seed in range(len(record["seeds"]), system.seeds):
                started = time.monotonic()
                model = self.trained(name, seed)
                seconds = time.monotonic() - started
                if name in ENSEMBLES:
                    self.member(name, seed, model)
                found = self.measured(lambda at, m=model: acoustic.logits_of(m, self.windows[at]))
                record["seeds"].append({"seed": seed, "seconds": seconds, **found})
                record["parameters"] = model.count_params()
                self._write(path, record)
            if name in ENSEMBLES and not record.get("training"):
                found = record["ensemble"] or self.measured(lambda at, n=name: self.teacher(n)[at])
                record |= {"ensemble": found, "training": self.training(name)}
                self._write(path, record)

    def training(self, name: str) -> dict[str, Any]:
        """Returns the frame accuracies of the networks of a system and of their ensemble.

        They are those in the recordings that the networks were trained on, and in the other ones of
        the training set.
        """
        train = self.train & self.real
        found = {}
        for part, chosen in (("labeled", train & self.labeled), ("others", train & ~self.labeled)):
            at = self.data.frames(chosen)
            parts = [self.teacher(name)[at], *(self.member(name, s)[at] for s in range(MEMBERS))]
            first, *rest = (float((p.argmax(1) == self.states[at]).mean()) for p in parts)
            found[part] = {"ensemble": first, "networks": rest}
        return found

    def empty(self, system: System) -> dict[str, Any]:
        """Returns the record of a system before its first network."""
        splits = ("validation", "test")
        lengths = {s: self.data.lengths[self.split(s)].tolist() for s in splits}
        return {
            "system": vars(system),
            "frames": len(self.frames(system)[0]),
            "lengths": lengths,
            "parameters": None,
            "seeds": [],
            "ensemble": None,
            "machine": describe_machine(),
            "versions": describe_versions(),
        }

    def _write(self, path: Path, record: dict[str, Any]) -> None:
        text = json.dumps(record, separators=(",", ":")) + "\n"
        partial = path.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(path)
        last = record["seeds"][-1]["test_frames"]
        share = sum(last) / sum(record["lengths"]["test"])
        name = f"{self.speaker or ''} {path.stem}"
        print(f"{name:20} {len(record['seeds']):2} networks, last {share:.2%}", flush=True)


def readme_tables(records: Path) -> list[str]:
    """Returns the tables of README.md as Markdown."""
    return [
        tables.paper_table(records),
        tables.fold_table(records, SPEAKERS),
        tables.kept_table(records),
        tables.training_table(records),
        tables.converged_table(records),
        tables.training_table(records, "alone-60"),
    ]


def headlines(records: Path) -> list[tuple[str, str]]:
    """Returns the row of this study in the project's README."""
    return [tables.headline(records)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="folder of prepared TFDS data sets")
    parser.add_argument("--work", type=Path, default=Path("saved_models/hinton-speech"))
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="separated by commas")
    parser.add_argument(
        "--speakers", default=",".join(SPEAKERS), help="to leave out in turn, separated by commas"
    )
    given = parser.parse_args()
    Study(given.data_dir, given.work).run(filter(None, given.systems.split(",")))
    for speaker in filter(None, given.speakers.split(",")):
        own = FOLDER / "records" / speaker
        Study(given.data_dir, given.work / speaker, speaker, own).run(FOLD)
    tables.draw(FOLDER / "records", FOLDER / "share.svg")


if __name__ == "__main__":
    main()
