"""The parts of the speech study that need no data: features, decoding, copies, folds, shares."""

import dataclasses

import numpy as np
import pytest


@pytest.fixture(scope="module")
def speech(load_study):
    return load_study("hinton-speech", "speech")


@pytest.fixture(scope="module")
def tables(load_study):
    return load_study("hinton-speech", "speech_tables")


def recorded(speech, lengths, speeds=None, originals=None):
    n, random = len(lengths), np.random.default_rng(0)
    features = [random.normal(size=(t, speech.BANDS)).astype(np.float32) for t in lengths]
    return speech.Recordings(
        features=features,
        loudness=[np.full(t, 10.0) for t in lengths],
        digits=np.arange(n) % speech.DIGITS,
        speakers=np.full(n, "a"),
        indices=np.arange(n),
        originals=np.arange(n) if originals is None else np.array(originals),
        speeds=np.ones(n) if speeds is None else np.array(speeds),
    )


def test_a_tone_is_loudest_in_the_band_of_its_frequency(speech):
    filters = speech.mel_filters()
    assert filters.shape == (257, 40) and filters.min() == 0 and filters.max() <= 1
    for hertz in (300, 1000, 3000):
        tone = 1e4 * np.sin(2 * np.pi * hertz * np.arange(4000) / speech.RATE)
        energies = speech.log_mel(tone)
        assert energies.shape == (1 + (4000 - speech.FRAME) // speech.HOP, speech.BANDS)
        loudest = int(np.bincount(energies.argmax(1)).argmax())
        assert filters[round(hertz * speech.FFT / speech.RATE), loudest] > 0.3


def test_a_window_holds_20_frames_before_and_5_after(speech):
    data = recorded(speech, [30, 4])
    windows = data.windows().reshape(-1, speech.WIDTH, speech.BANDS)
    assert len(windows) == 34
    np.testing.assert_array_equal(windows[22], data.features[0][2:28])
    assert not windows[0, :20].any() and not windows[29, 21:].any()
    np.testing.assert_array_equal(windows[30, 20], data.features[1][0])  # not of the one before
    assert not windows[30, :20].any()


def test_viterbi_finds_the_best_of_all_paths(speech):
    random = np.random.default_rng(1)
    lengths, states = np.array([9, 11, 10]), speech.STATES
    scores = random.normal(size=(30, speech.CLASSES))
    stay, leave = np.log(random.uniform(0.2, 0.8, (2, speech.CLASSES)))
    transitions = speech.Transitions(stay, leave, np.zeros(speech.CLASSES))
    digits = np.array([[0, 7], [3, 2], [4, 9]])
    totals, paths = speech.viterbi(scores, lengths, digits, transitions)
    for (i, j), digit in np.ndenumerate(digits):
        frames, start = lengths[i], lengths[:i].sum()
        line = [speech.SILENCE, *(digit * states + np.arange(states)), speech.SILENCE]

        def best(t, k, line=line, start=start):
            """The best path that is at place k of the line in frame t."""
            own = scores[start + t, line[k]]
            if t == 0:
                return own if k < 2 else -np.inf
            before = [best(t - 1, k) + stay[line[k]]]
            before += [best(t - 1, k - 1) + leave[line[k - 1]]] if k else []
            return max(before) + own

        assert totals[i, j] == pytest.approx(max(best(frames - 1, k) for k in (states, states + 1)))
        found = paths[start : start + frames, j]
        assert found[0] in line[:2] and found[-1] in line[-2:]
        steps = np.diff([line.index(s, 1) if s != speech.SILENCE else 0 for s in found[:-2]])
        assert set(steps) <= {0, 1}


def test_aligned_scores_are_decoded_as_their_digit(speech):
    data = recorded(speech, [24, 17, 40])
    states = speech.flat_start(data)
    assert set(np.bincount(states, minlength=speech.CLASSES)[24:]) == {0}  # the digits 0, 1, 2
    logits = np.full((81, speech.CLASSES), -2.0)
    logits[np.arange(81), states] = 2.0
    transitions = speech.Transitions.of(data, states, np.ones(3, bool))
    assert speech.decoded(logits, data.lengths, transitions).tolist() == [0, 1, 2]


def test_a_copy_has_the_states_of_the_same_places(speech):
    data = recorded(speech, [40, 20, 80], speeds=[1, 2, 0.5], originals=[0, 0, 0])
    states = speech.states_of_copies(data, np.arange(40))
    assert states.tolist()[:40] == list(range(40))
    fast, slow = states[40:60], states[60:]
    assert set(np.diff(fast[:-1])) == {2} and set(np.diff(slow)) <= {0, 1}
    assert fast.max() == 39 and slow.min() == 0


def test_a_subset_takes_the_digits_in_turn(speech):
    data = recorded(speech, [10] * 40)
    chosen = speech.subset(data, np.arange(40) < 30, 0.5, seed=3)
    assert chosen.sum() == 15 and not chosen[30:].any()
    assert set(np.bincount(data.digits[chosen])) == {1, 2}
    other = speech.subset(data, np.arange(40) < 30, 0.5, seed=4)
    assert (chosen != other).any()


def test_the_share_kept_is_a_ratio_of_means_with_an_interval(tables):
    lengths = np.full(50, 40)

    def part(accuracy, networks=5):
        random = np.random.default_rng(round(1000 * accuracy))
        right = random.binomial(40, accuracy, (networks, 50))
        return tables.Measured(right, lengths, np.ones((networks, 50)))

    alone, best, student = part(0.5), part(0.9, 1), part(0.7)
    found = tables.kept(alone, best, student)
    expected = (student.accuracy - alone.accuracy) / (best.accuracy - alone.accuracy)
    assert found.value == pytest.approx(100 * expected)
    assert found.low < 50 < found.high and found.high - found.low < 25
    assert tables.kept(alone, best, best).value == pytest.approx(100)


@pytest.fixture
def fold(load_study, speech, monkeypatch, tmp_path):
    """A study of 360 recordings by three speakers whose frames are near one mean per digit."""
    study = load_study("hinton-speech")
    random, n = np.random.default_rng(2), 360
    data = recorded(speech, [12] * n)
    digits = data.digits
    features = [f + 3 * d for f, d in zip(data.features, digits, strict=True)]
    speakers, indices = np.repeat(["a", "b", "c"], 120), np.arange(n) // 10 % 12

    def means(x, y, seed):
        """An aligner: the nearest mean of a state."""
        found = np.stack([x[y == s].mean(0) if (y == s).any() else x[0] + 99 for s in range(81)])
        return lambda windows: -((windows[:, None, ::40] - found[:, ::40]) ** 2).sum(-1)

    monkeypatch.setattr(study.acoustic, "aligner", means)

    def made(speaker, name, changed=None):
        own = digits if changed is None else np.where(changed, random.permutation(digits), digits)
        parts = {"digits": own, "features": features, "speakers": speakers, "indices": indices}
        given = dataclasses.replace(data, **parts)
        monkeypatch.setattr(study.speech, "recordings", lambda *_: given)
        return study.Study(None, tmp_path / name, speaker, tmp_path / name / "records")

    return made


def test_nothing_that_a_fold_learns_depends_on_the_digits_of_its_speaker(fold, load_study):
    systems = load_study("hinton-speech").SYSTEMS
    held = np.repeat([False, True, False], 120)
    one = fold("b", "one")
    assert one.split("test").tolist() == held.tolist()
    assert not (one.split("validation") & held).any() and one.split("validation").sum() == 100
    assert one.train.sum() == 40 and not (one.train & held).any() and one.labeled.sum() == 20
    states, transitions = one.states, one.transitions
    other = fold("b", "other", changed=held)
    assert (other.data.digits != one.data.digits).any()
    for name in ("alone", "paper", "all"):
        (frames, labels), (same, equal) = one.frames(systems[name]), other.frames(systems[name])
        np.testing.assert_array_equal(frames, same)
        np.testing.assert_array_equal(labels, equal)
        assert not np.repeat(held, 12)[frames].any()
    assert (other.states != states)[np.repeat(held, 12)].any()  # forced by other digits
    for part, equal in zip(
        vars(transitions).values(), vars(other.transitions).values(), strict=True
    ):
        np.testing.assert_array_equal(part, equal)


def test_a_transfer_set_grows_by_recordings_without_labels(fold, load_study):
    own, study = fold(None, "whole"), load_study("hinton-speech")
    assert own.labeled.sum() == 30
    before = set()
    for frames, recordings in (("labeled", 30), ("labeled+4", 34), ("labeled+20", 50), ("all", 60)):
        chosen, states = own.frames(study.System("", frames=frames))
        assert len(chosen) == 12 * recordings and before <= set(chosen)
        assert (states >= 0).sum() == 12 * 30
        before = set(chosen)
    assert not set(before) & set(own.data.frames(own.split("test")))


def test_folds_are_pooled_by_recording(tables):
    def part(networks, recordings, digit):
        right = np.full((networks, recordings), 5)
        return tables.Measured(right, np.full(recordings, 10), np.full(right.shape, digit))

    whole = tables.pooled([part(4, 3, 1), part(4, 9, 0)])
    assert whole.right.shape == (4, 12) and whole.lengths.sum() == 120
    assert whole.accuracy == 50 and whole.digit_error == 75
