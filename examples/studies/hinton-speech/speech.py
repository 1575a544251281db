"""Spoken digits as frames with states: features, splits, alignment, and decoding.

The data are TFDS's `spoken_digit` (Free Spoken Digit Dataset): 2,500 recordings of single digits by
five speakers at 8 kHz. As in Hinton, Vinyals, Dean 2015, section 4, a network sees 26 frames of 40
log-mel energies with 10 ms between frames and predicts the state of the 21st; a digit is a hidden
Markov model of 8 states from left to right, with an optional silence before and after.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import log_softmax

RATE, FRAME, HOP, FFT = 8000, 200, 80, 512  # samples
BANDS, BEFORE, AFTER = 40, 20, 5
WIDTH = BEFORE + 1 + AFTER
DIGITS, STATES = 10, 8
SILENCE = DIGITS * STATES
CLASSES = SILENCE + 1
_NEVER = -1e30

Logits = Callable[[np.ndarray], np.ndarray]
Trainer = Callable[[np.ndarray, np.ndarray, int], Logits]


@dataclass(frozen=True)
class Recordings:
    """Recordings as log-mel energies.

    Attributes:
        features: For each recording float32 `(frames, 40)`, with mean 0 and deviation about 1.
        loudness: For each recording the largest log energy of every frame, before that.
        digits: `(n,)`, 0..9.
        speakers: `(n,)` names.
        indices: `(n,)` the recording's number; 0..4 are the data set's own test split.
        originals: `(n,)` the recording that this one is a copy of: itself, if it is no copy.
        speeds: `(n,)` how much faster than the original it is played.
    """

    features: list[np.ndarray]
    loudness: list[np.ndarray]
    digits: np.ndarray
    speakers: np.ndarray
    indices: np.ndarray
    originals: np.ndarray
    speeds: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each recording."""
        return np.array([len(f) for f in self.features])

    @property
    def starts(self) -> np.ndarray:
        """The first frame of each recording, and the number of all frames."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    def frames(self, chosen: np.ndarray) -> np.ndarray:
        """Returns the indices of the frames of the recordings for which `chosen` is true."""
        return np.flatnonzero(np.repeat(chosen, self.lengths))

    def windows(self) -> np.ndarray:
        """Returns the input of the network for every frame, float32 `(frames, 26 * 40)`.

        Frames before the beginning and after the end are 0.
        """
        padded = [np.pad(f, ((BEFORE, AFTER), (0, 0))) for f in self.features]
        cut = [sliding_window_view(p, WIDTH, axis=0).transpose(0, 2, 1) for p in padded]
        return np.concatenate(cut).reshape(-1, WIDTH * BANDS)


def mel_filters() -> np.ndarray:
    """Returns 40 triangular filters between 64 Hz and 4 kHz, equally spaced in mel."""

    def mel(hertz: float) -> float:
        return 2595 * np.log10(1 + hertz / 700)

    corners = 700 * (10 ** (np.linspace(mel(64), mel(RATE / 2), BANDS + 2) / 2595) - 1)
    bins = np.arange(FFT // 2 + 1)[:, None] * RATE / FFT
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def log_mel(audio: np.ndarray) -> np.ndarray:
    """Returns the log-mel energies of 16-bit samples, `(frames, 40)`."""
    audio = audio.astype(np.float32)
    audio = np.concatenate([audio[:1], audio[1:] - 0.97 * audio[:-1]])
    frames = sliding_window_view(audio, FRAME)[::HOP] * np.hamming(FRAME).astype(np.float32)
    power = np.abs(np.fft.rfft(frames, FFT)) ** 2
    return np.log(power @ mel_filters() + 1e3).astype(np.float32)


def read_audio(data_dir: str | None) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the name and the samples of every recording, sorted by name."""
    import tensorflow_datasets as tfds

    rows = tfds.load("spoken_digit", data_dir=data_dir, split="train", download=False)
    named = {r["audio/filename"].decode(): r["audio"] for r in rows.as_numpy_iterator()}
    yield from sorted(named.items())


def recordings(data_dir: str | None, speeds: tuple[float, ...] = ()) -> Recordings:
    """Returns all recordings, and then copies of those with index >= 10 at other speeds."""
    audio = list(read_audio(data_dir))
    rows = [(i, 1.0) for i in range(len(audio))]
    parts = [name.removesuffix(".wav").split("_") for name, _ in audio]
    indices = np.array([int(p[2]) for p in parts])
    rows += [(i, speed) for speed in speeds for i in np.flatnonzero(indices >= 10)]
    raw = [log_mel(_played(audio[i][1], speed)) for i, speed in rows]
    originals = np.array([i for i, _ in rows])
    return Recordings(
        features=[(f - f.mean(0)) / (f.std(0) + 0.5) for f in raw],
        loudness=[f.max(1) for f in raw],
        digits=np.array([int(p[0]) for p in parts])[originals],
        speakers=np.array([p[1] for p in parts])[originals],
        indices=indices[originals],
        originals=originals,
        speeds=np.array([speed for _, speed in rows]),
    )


def _played(audio: np.ndarray, speed: float) -> np.ndarray:
    """Returns samples played faster, pitch and all."""
    places = np.arange(0, len(audio) - 1, speed)
    return audio if speed == 1 else np.interp(places, np.arange(len(audio)), audio)


def states_of_copies(data: Recordings, states: np.ndarray) -> np.ndarray:
    """Returns the states of all frames, where those of the originals, which come first, are known.

    A frame of a copy has the state of the frame of its original that lies at the same place.
    """
    starts, lengths, found = data.starts, data.lengths, [states]
    for i in range(int((data.speeds == 1).sum()), len(lengths)):
        middle = (HOP * np.arange(lengths[i]) + FRAME / 2) * data.speeds[i]
        at = np.rint((middle - FRAME / 2) / HOP).astype(int)
        original = data.originals[i]
        found.append(states[starts[original] + np.clip(at, 0, lengths[original] - 1)])
    return np.concatenate(found)


@dataclass(frozen=True)
class Transitions:
    """Log probabilities of a state: to stay in it, to leave it, and to be in it at all."""

    stay: np.ndarray
    leave: np.ndarray
    prior: np.ndarray

    @classmethod
    def of(cls, data: Recordings, states: np.ndarray, chosen: np.ndarray) -> "Transitions":
        """Counts them in the chosen recordings; every count begins at 1."""
        frames, entered = np.ones(CLASSES), np.ones(CLASSES)
        for i in np.flatnonzero(chosen):
            path = states[data.starts[i] : data.starts[i + 1]]
            frames += np.bincount(path, minlength=CLASSES)
            first = np.concatenate([[True], path[1:] != path[:-1]])
            entered += np.bincount(path[first], minlength=CLASSES)
        leave = np.clip(entered / frames, 0.02, 0.9)
        return cls(np.log1p(-leave), np.log(leave), np.log(frames / frames.sum()))


def viterbi(
    scores: np.ndarray, lengths: np.ndarray, digits: np.ndarray, transitions: Transitions
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the best path of recordings through the model of each of some digits.

    Args:
        scores: Log likelihoods up to a constant, of the recordings one after another,
            `(frames, 81)`.
        lengths: Frames of each recording, `(n,)`.
        digits: `(n, d)`.
        transitions: Of the states.

    Returns:
        The log likelihoods of the best paths, `(n, d)`, and their states, `(frames, d)`.
    """
    order = np.argsort(-lengths)  # the longest first: those with a frame t are the first ones
    starts = (np.cumsum(lengths) - lengths)[order]
    inner = digits[order][..., None] * STATES + np.arange(STATES)
    path = np.pad(inner, ((0, 0), (0, 0), (1, 1)), constant_values=SILENCE)
    stay, leave = transitions.stay[path], transitions.leave[path]
    best, arriving = np.full(path.shape, _NEVER), np.full(path.shape, _NEVER)
    moved = np.zeros((lengths.max(), *path.shape), bool)
    for t in range(len(moved)):
        n = (lengths > t).sum()
        own = np.take_along_axis(scores[starts[:n] + t][:, None], path[:n], -1)
        if t == 0:
            best[..., :2] = own[..., :2]
            continue
        staying = best[:n] + stay[:n]
        arriving[:n, :, 1:] = (best[:n] + leave[:n])[..., :-1]
        moved[t, :n] = arriving[:n] > staying
        best[:n] = np.maximum(staying, arriving[:n]) + own
    last = path.shape[-1] - 1
    at = np.where(best[..., last] > best[..., last - 1], last, last - 1)[..., None]
    total, states = np.empty(digits.shape), np.empty((len(scores), digits.shape[1]), int)
    total[order] = np.take_along_axis(best, at, -1)[..., 0]
    for t in range(len(moved) - 1, -1, -1):
        n = (lengths > t).sum()
        states[starts[:n] + t] = np.take_along_axis(path[:n], at[:n], -1)[..., 0]
        at[:n] -= np.take_along_axis(moved[t, :n], at[:n], -1)
    return total, states


def flat_start(data: Recordings) -> np.ndarray:
    """Returns states of equal length between the first and the last loud frame."""
    found = []
    for loudness, digit in zip(data.loudness, data.digits, strict=True):
        loud = np.flatnonzero(loudness > loudness.max() - np.log(10**3.5))
        first, last = loud[0], loud[-1] + 1
        if last - first < STATES:
            first, last = 0, len(loudness)
        path = np.full(len(loudness), SILENCE)
        path[first:last] = digit * STATES + np.arange(last - first) * STATES // (last - first)
        found.append(path)
    return np.concatenate(found)


def align(data: Recordings, train: np.ndarray, trainer: Trainer, rounds: int = 5) -> np.ndarray:
    """Returns the state of every frame: training and realignment in turn, from a flat start.

    Args:
        data: The recordings.
        train: `(n,)` which of them may be trained on.
        trainer: Trains the aligner on windows, states, and the seed of the round. Its windows have
            3 frames on each side: a network with 26 learns from the padding where a frame lies, and
            stays at the flat start.
        rounds: How often.
    """
    around = slice((BEFORE - 3) * BANDS, (BEFORE + 4) * BANDS)
    windows, states = np.ascontiguousarray(data.windows()[:, around]), flat_start(data)
    frames, long = data.frames(train), np.repeat(data.lengths >= STATES, data.lengths)
    for seed in range(rounds):
        logits = trainer(windows[frames], states[frames], seed)(windows)
        transitions = Transitions.of(data, states, train)
        scores = log_softmax(logits, -1) - transitions.prior
        found = viterbi(scores, data.lengths, data.digits[:, None], transitions)[1][:, 0]
        states = np.where(long, found, states)
    return states


def decoded(logits: np.ndarray, lengths: np.ndarray, transitions: Transitions) -> np.ndarray:
    """Returns the digit of the most likely path in each recording.

    Args:
        logits: Of the frames of the recordings, one after another, `(frames, 81)`.
        lengths: Frames of each recording.
        transitions: Of the states.
    """
    scores = log_softmax(logits, -1) - transitions.prior
    every = np.tile(np.arange(DIGITS), (len(lengths), 1))
    return viterbi(scores, lengths, every, transitions)[0].argmax(1)


def subset(data: Recordings, train: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Chooses a share of the recordings in `train`, the digits in turn; `(n,)` bool."""
    random, rows = np.random.default_rng(seed), np.flatnonzero(train)
    by_digit = [list(random.permutation(rows[data.digits[rows] == d])) for d in range(DIGITS)]
    order, chosen = random.permutation(DIGITS), np.zeros(len(train), bool)
    for k in range(round(share * len(rows))):
        chosen[by_digit[order[k % DIGITS]].pop()] = True
    return chosen
