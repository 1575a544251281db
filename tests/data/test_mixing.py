import numpy as np
import pytest
import tensorflow as tf

from keras_distill import InputError, SoftTargetStore
from keras_distill.data import Augmentation, Pool, augmented_batches, mixed_labels

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
LABELS = RNG.integers(0, 5, 60)
INDEX = np.arange(60)


def dataset(labels=LABELS, images=IMAGES):
    return tf.data.Dataset.from_tensor_slices((images, labels))


def pool(labels=LABELS):
    return Pool.of(dataset(labels).enumerate())


def mix(augment, picks=INDEX, view=0):
    images, mixing = augment.mixed(IMAGES[picks], INDEX[picks], view, pool())
    return images.numpy(), mixing


@pytest.mark.parametrize("settings", [{"mixup": 1.0}, {"cutmix": 1.0}, {"mixup": 0.5, "crop": 2}])
def test_a_mixed_view_is_a_function_of_index_view_and_seed_alone(settings):
    augment = Augmentation(**settings, seed=3)
    whole, _ = mix(augment)
    picks = RNG.permutation(60)[:11]
    np.testing.assert_array_equal(mix(augment, picks)[0], whole[picks])
    assert (mix(augment, view=1)[0] != whole).any()
    assert (mix(Augmentation(**settings, seed=4))[0] != whole).any()
    drawn_from = pool()
    in_graph = tf.function(lambda: augment.apply(IMAGES, INDEX, 0, drawn_from))()
    np.testing.assert_array_equal(in_graph, whole)


def test_mixup_averages_with_the_share_of_the_labels():
    images, mixing = mix(Augmentation(mixup=1.0))
    share = mixing.share.numpy()[:, None, None, None]
    expected = share * IMAGES + (1 - share) * IMAGES[mixing.partner.numpy()]
    np.testing.assert_array_equal(images, np.round(expected).astype("uint8"))
    rows, known = mixed_labels(tf.constant(LABELS), mixing, pool(), classes=5)
    own, other = np.eye(5)[LABELS], np.eye(5)[LABELS[mixing.partner.numpy()]]
    share = share[:, :, 0, 0]
    np.testing.assert_allclose(rows, share * own + (1 - share) * other, atol=1e-6)
    assert known.numpy().all()
    assert 0.4 < share.mean() < 0.6 and share.min() < 0.1 < 0.9 < share.max()


def test_cutmix_pastes_a_rectangle_whose_area_is_the_share():
    images, mixing = mix(Augmentation(cutmix=1.0))
    partner = IMAGES[mixing.partner.numpy()]
    cut = mixing.cut.numpy()
    np.testing.assert_array_equal(images, np.where(cut, partner, IMAGES))
    np.testing.assert_allclose(mixing.share, 1 - cut.mean(axis=(1, 2, 3)), atol=1e-6)
    for one in cut[..., 0]:
        rows, columns = np.flatnonzero(one.any(axis=1)), np.flatnonzero(one.any(axis=0))
        assert one.sum() == len(rows) * len(columns)  # a rectangle
    assert 0.2 < cut.mean() < 0.6


def test_shares_of_the_images_are_mixed_and_the_others_are_as_without():
    images, mixing = mix(Augmentation(mixup=0.3, cutmix=0.3, flip=True))
    alone = mixing.share.numpy() == 1
    assert 0.2 < alone.mean() < 0.6
    plain = Augmentation(flip=True).apply(IMAGES, INDEX, 0).numpy()
    np.testing.assert_array_equal(images[alone], plain[alone])


def test_the_partner_is_augmented_as_it_is_alone():
    augment = Augmentation(cutmix=1.0, crop=2, flip=True)
    images, mixing = mix(augment)
    plain = Augmentation(crop=2, flip=True).apply(IMAGES, INDEX, 0).numpy()
    expected = np.where(mixing.cut.numpy(), plain[mixing.partner.numpy()], plain)
    np.testing.assert_array_equal(images, expected)


def test_a_mixed_image_has_a_label_if_both_have_one():
    few = np.where(INDEX < 30, LABELS, -1)
    _, mixing = mix(Augmentation(mixup=0.5))
    rows, known = mixed_labels(tf.constant(few), mixing, pool(few), classes=5)
    partner, share = mixing.partner.numpy(), mixing.share.numpy()
    expected = (few >= 0) & ((share == 1) | (few[partner] >= 0))
    np.testing.assert_array_equal(known, expected)
    np.testing.assert_allclose(rows.numpy()[expected].sum(axis=1), 1, atol=1e-6)


def test_stored_logits_are_those_of_the_mixed_image(tmp_path):
    """The teacher's logits are the first pixels of what it saw: the student must see the same."""
    augment = Augmentation(mixup=0.5, cutmix=0.3, crop=1, seed=2)

    def teacher(x):
        return np.asarray(x, "float32").reshape(len(x), -1)[:, 20:25]

    few = np.where(INDEX < 40, LABELS, -1)
    store = SoftTargetStore.build(
        teacher, dataset(), tmp_path / "store", views=2, augment=augment, batch_size=16
    )
    batches = store.batches(dataset(few), 16, seed=5)
    assert [part.shape.rank for part in store.batches(dataset(few), 16).element_spec[1]] == [
        2,
        2,
        1,
    ]
    for _ in range(2):  # an epoch of each view
        for x, y in batches:
            np.testing.assert_array_equal(y.teacher, teacher(x))
            assert y.labels.shape[1:] == (5,) and 0 < y.labeled.numpy().sum() < len(x)
    alone = augmented_batches(
        dataset(few).enumerate(), 16, augment, shuffle_seed=5, views=2, classes=5
    )
    for (x, y), (x2, (rows, known)) in zip(
        store.batches(dataset(few), 16, seed=5), alone, strict=False
    ):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_allclose(y.labels, rows)
        np.testing.assert_array_equal(y.labeled, known)
    assert store.verify(dataset(), teacher)["logits"].startswith("first 16 examples")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Augmentation(mixup=0.7, cutmix=0.7), "at most 1 together with cutmix"),
        (lambda: Augmentation(mixup=1.5), "`mixup` must be in 0..1"),
        (lambda: Augmentation(mixup=1.0).apply(IMAGES, INDEX, 0), "`pool` must be given"),
    ],
)
def test_wrong_mixing_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_data_beyond_memory_are_refused():
    large = tf.data.Dataset.range(40_000).map(lambda i: (tf.zeros((256, 256, 3), tf.uint8), i))
    with pytest.raises(InputError, match=r"keep the examples in memory.*7.3 GiB of examples"):
        Pool.of(large.enumerate())


def test_settings_without_mixing_are_those_of_older_stores():
    assert "mixup" not in Augmentation(crop=2).settings()
    assert Augmentation.from_settings(Augmentation(mixup=0.5).settings()).mixup == 0.5
