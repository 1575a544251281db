import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.data._augment import Augmentation, uniform

IMAGES = np.random.default_rng(0).integers(1, 256, (40, 9, 7, 3), dtype=np.uint8)
INDEX = np.arange(40)
EVERYTHING = Augmentation(
    crop=2, flip=True, rotate=20, zoom=0.2, shear=10, jitter=0.3, erase=0.5, seed=5
)


def apply(augment, images=IMAGES, index=INDEX, view=0):
    return augment.apply(images, index, view).numpy()


def test_numbers_are_uniform_and_independent_of_each_other():
    draws = uniform(np.arange(4000), 3, seed=9, streams=6).numpy()
    assert draws.min() >= 0 and draws.max() < 1
    np.testing.assert_allclose(draws.mean(axis=0), 0.5, atol=0.03)
    np.testing.assert_allclose(draws.var(axis=0), 1 / 12, atol=0.005)
    assert np.abs(np.corrcoef(draws.T) - np.eye(6)).max() < 0.06
    assert np.abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.06
    histogram = np.histogram(draws, bins=20, range=(0, 1))[0]
    assert np.abs(histogram / draws.size - 0.05).max() < 0.005


def test_numbers_differ_by_index_view_and_seed():
    index = np.arange(50)
    base = uniform(index, 0, seed=0, streams=4).numpy()
    for other in (uniform(index + 50, 0, 0, 4), uniform(index, 1, 0, 4), uniform(index, 0, 1, 4)):
        assert not np.isin(other.numpy(), base).any()
    crossed = uniform([1], 2, 0, 1).numpy(), uniform([2], 1, 0, 1).numpy()
    assert crossed[0] != crossed[1]


def test_numbers_never_change_between_versions():
    """Stores on disk depend on them: these values are part of the format."""
    got = uniform([0, 1, 10**12], [0, 7, 1], seed=3, streams=2).numpy().astype(np.float64) * 2**24
    assert got.astype(int).tolist() == GOLDEN


GOLDEN = [[1369161, 14539955], [1855698, 5528934], [13401662, 6197157]]


def test_a_view_is_a_function_of_index_view_and_seed_alone():
    whole = apply(EVERYTHING)
    picks = np.random.default_rng(1).permutation(40)[:13]
    np.testing.assert_array_equal(apply(EVERYTHING, IMAGES[picks], picks), whole[picks])
    np.testing.assert_array_equal(apply(EVERYTHING, IMAGES[7:8], [7]), whole[7:8])
    in_graph = tf.function(EVERYTHING.apply)(IMAGES, INDEX, 0)
    np.testing.assert_array_equal(in_graph, whole)
    mixed = apply(EVERYTHING, view=INDEX % 2)
    np.testing.assert_array_equal(mixed[::2], whole[::2])
    np.testing.assert_array_equal(mixed[1::2], apply(EVERYTHING, view=1)[1::2])


def test_views_and_seeds_differ():
    whole = apply(EVERYTHING)
    assert not np.array_equal(apply(EVERYTHING, view=1), whole)
    other = Augmentation(**{**EVERYTHING.settings(), "seed": 6})
    assert not np.array_equal(apply(other), whole)


def test_without_settings_nothing_changes():
    np.testing.assert_array_equal(apply(Augmentation()), IMAGES)


def test_crop_moves_by_whole_pixels_and_fills_with_zeros():
    moved = apply(Augmentation(crop=2))
    shifts = set()
    for before, after in zip(IMAGES, moved, strict=True):
        padded = np.pad(before, ((2, 2), (2, 2), (0, 0)))
        found = [
            (i, j)
            for i in range(5)
            for j in range(5)
            if np.array_equal(padded[i : i + 9, j : j + 7], after)
        ]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 12


def test_flip_mirrors_about_half_of_the_images():
    flipped = apply(Augmentation(flip=True))
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, IMAGES, strict=True)]
    kept = [np.array_equal(a, b) for a, b in zip(flipped, IMAGES, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 10 < sum(mirrored) < 30


def test_rotation_keeps_the_centre_and_is_bounded():
    image = np.zeros((64, 21, 21, 1), np.float32)
    image[:, 10, 10] = 1.0
    turned = apply(Augmentation(rotate=30), image, np.arange(64))
    np.testing.assert_allclose(turned[:, 10, 10, 0], 1.0, atol=1e-4)
    variant = np.zeros((64, 21, 21, 1), np.float32)
    variant[:, 10, 18] = 1.0
    turned = apply(Augmentation(rotate=30), variant, np.arange(64))[..., 0]
    rows, columns = np.mgrid[:21, :21] - 10
    mass = turned.sum(axis=(1, 2))
    angle = np.degrees(
        np.arctan2(
            (turned * rows).sum(axis=(1, 2)) / mass, (turned * columns).sum(axis=(1, 2)) / mass
        )
    )
    assert np.abs(angle).max() < 31 and angle.min() < -15 and angle.max() > 15


def test_zoom_changes_size_either_way():
    square = np.zeros((64, 21, 21, 1), np.float32)
    square[:, 6:15, 6:15] = 1.0
    area = apply(Augmentation(zoom=0.3), square, np.arange(64)).sum(axis=(1, 2, 3)) / 81
    assert 0.7**2 - 0.1 < area.min() < 0.8 and 1.25 < area.max() < 1.3**2 + 0.1


def test_shear_keeps_the_area():
    square = np.zeros((64, 31, 31, 1), np.float32)
    square[:, 12:19, 12:19] = 1.0
    sheared = apply(Augmentation(shear=20), square, np.arange(64))
    assert not np.array_equal(sheared, square)
    np.testing.assert_allclose(sheared[:, 15, 15, 0], 1.0, atol=1e-4)


def test_jitter_scales_mean_and_spread():
    images = IMAGES.astype(np.float32)
    jittered = apply(Augmentation(jitter=0.4), images)
    mean = jittered.mean(axis=(1, 2, 3)) / images.mean(axis=(1, 2, 3))
    spread = jittered.std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))
    for ratio in (mean, spread):
        assert 0.6 <= ratio.min() < 0.75 and 1.25 < ratio.max() <= 1.4
    assert abs(np.corrcoef(mean, spread)[0, 1]) < 0.5


def test_erase_zeroes_one_rectangle_in_its_share_of_images():
    images = np.ones((200, 20, 20, 3), np.float32)
    erased = apply(Augmentation(erase=0.5), images, np.arange(200))
    gone = (erased == 0).all(axis=-1)
    hit = gone.any(axis=(1, 2))
    assert 70 < hit.sum() < 130
    for mask in gone[hit]:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert 0.01 < mask.mean() < 0.36


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float16", "bfloat16", "float32"])
def test_the_dtype_stays_and_integers_are_rounded_within_range(dtype):
    images = tf.cast(IMAGES, dtype)
    changed = EVERYTHING.apply(images, INDEX, 0)
    assert changed.dtype == dtype
    assert changed.shape == images.shape
    bright = Augmentation(jitter=1.0).apply(images, INDEX, 0)
    assert int(tf.reduce_max(tf.cast(bright, tf.int32))) > 200
    if dtype == "uint8":
        exact = apply(Augmentation(jitter=1.0), IMAGES.astype(np.float32))
        np.testing.assert_array_equal(bright, np.clip(np.round(exact), 0, 255))


def test_settings_and_fingerprint_go_round():
    again = Augmentation.from_settings(EVERYTHING.settings())
    assert again == EVERYTHING and again.fingerprint() == EVERYTHING.fingerprint()
    assert Augmentation(rotate=20).fingerprint() == Augmentation(rotate=20.0).fingerprint()
    prints = {Augmentation(**{k: v}).fingerprint() for k, v in EVERYTHING.settings().items()}
    assert len(prints) == len(EVERYTHING.settings())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop": -1}, "`crop`"),
        ({"crop": 1.5}, "`crop`"),
        ({"flip": 1}, "`flip`"),
        ({"rotate": 200}, "`rotate`"),
        ({"zoom": 1.0}, "`zoom`"),
        ({"shear": 45}, "`shear`"),
        ({"jitter": 2}, "`jitter`"),
        ({"erase": float("nan")}, "`erase`"),
        ({"seed": -1}, "`seed`"),
        ({"swirl": 1}, "Unknown augmentation 'swirl'"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        Augmentation.from_settings(settings)


@pytest.mark.parametrize("x", [np.zeros((4, 10), np.float32), {"a": IMAGES}])
def test_what_is_no_image_is_refused(x):
    with pytest.raises(InputError, match="images"):
        EVERYTHING.apply(x, [0, 1, 2, 3], 0)


def test_a_shift_beyond_the_image_is_rejected():
    x = np.zeros((2, 8, 6, 1), "uint8")
    Augmentation(crop=5).apply(x, [0, 1], [0, 0])
    with pytest.raises(InputError, match="`crop` must be less than the size of the images, 6"):
        Augmentation(crop=6).apply(x, [0, 1], [0, 0])
