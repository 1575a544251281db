"""The recordings of the speech studies, their frozen alignment, and what is measured on them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import acoustic
import numpy as np
import speech

SPEEDS = (0.9, 1.1)


@dataclass
class Corpus:
    """The recordings, and the folder of what is made of them once.

    Attributes:
        data_dir: Folder of prepared TFDS data sets.
        work: Folder of the alignment, and of whatever a study keeps.
        speaker: Whose recordings are the test split: nothing is aligned or trained with their
            digits, and there are no copies. None: the test split of the data set.
    """

    data_dir: str | None
    work: Path
    speaker: str | None = None

    @cached_property
    def data(self) -> speech.Recordings:
        """The recordings and their copies."""
        return speech.recordings(self.data_dir, SPEEDS if self.speaker is None else ())

    @cached_property
    def states(self) -> np.ndarray:
        """The state of every frame, frozen."""
        path = self.work / "states.npy"
        if not path.exists():
            self.work.mkdir(parents=True, exist_ok=True)
            data = speech.recordings(self.data_dir)
            train = self.train[: len(data.digits)]
            np.save(path, speech.align(data, train, acoustic.aligner))
        return speech.states_of_copies(self.data, np.load(path))

    @cached_property
    def windows(self) -> np.ndarray:
        """The input of every frame."""
        return self.data.windows()

    @cached_property
    def transitions(self) -> speech.Transitions:
        """Of the states in the training recordings."""
        return speech.Transitions.of(self.data, self.states, self.train & self.real)

    @property
    def train(self) -> np.ndarray:
        """Which recordings may be trained on."""
        return (self.data.indices >= 10) & (self.data.speakers != self.speaker)

    @property
    def real(self) -> np.ndarray:
        """Which recordings are no copies."""
        return self.data.speeds == 1

    def split(self, name: str) -> np.ndarray:
        """Returns which recordings are in the validation or the test split."""
        own = self.data.speakers == self.speaker
        if name == "test" and self.speaker is not None:
            return own
        low = 5 if name == "validation" else 0
        return (self.data.indices >= low) & (self.data.indices < low + 5) & ~own

    def measured(self, logits: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
        """Measures what gives the logits of frames on the validation and the test split."""
        found: dict[str, Any] = {}
        for split in ("validation", "test"):
            chosen = self.split(split)
            frames, lengths = self.data.frames(chosen), self.data.lengths[chosen]
            given = logits(frames)
            right = given.argmax(1) == self.states[frames]
            digits = speech.decoded(given, lengths, self.transitions) == self.data.digits[chosen]
            found[f"{split}_frames"] = np.add.reduceat(right, np.cumsum(lengths) - lengths).tolist()
            found[f"{split}_digits"] = digits.astype(int).tolist()
        return found
