import numpy as np
import pytest

from keras_distill._internal import InputError
from keras_distill.export import LIMITS
from keras_distill.export._metric import truths_by_output as truths_of
from keras_distill.export._verification import Rule, difference, judge
from keras_distill.records import VerificationRecord

REFERENCE = np.array([[0.0, 4.0], [2.0, -2.0]], np.float32)


def _judge(produced, quantization="float32", limit=None, max_drop=None, **settings):
    rule = Rule.of_precision(quantization, limit=limit, max_drop=max_drop)
    return judge({"y": REFERENCE}, {"y": produced}, rule, **{"source": "test"} | settings)


def test_known_difference():
    produced = REFERENCE + np.array([[0.5, 0], [0, 0]])
    largest, relative, noise = difference(REFERENCE, produced)
    assert largest == 0.5
    assert relative == pytest.approx(0.5 / 6)  # the range is -2..4
    assert noise == pytest.approx(0.25 / REFERENCE.std())  # rms of (.5, 0, 0, 0) is .25


def test_difference_does_not_depend_on_the_scale():
    produced = REFERENCE + np.array([[0.5, 0], [0, 0.1]])
    small = difference(REFERENCE * 1e-4, produced * 1e-4)
    assert small[1:] == pytest.approx(difference(REFERENCE, produced)[1:])


def test_an_output_that_never_moves_is_judged_by_its_size():
    constant = np.full((4, 1), 5.0)
    assert difference(constant, constant + 0.5) == pytest.approx((0.5, 0.1, 0.1))
    assert difference(np.zeros((4, 1)), np.zeros((4, 1))) == (0.0, 0.0, 0.0)


def test_equal_outputs_pass():
    verification = _judge(REFERENCE)
    assert verification.passed and verification.failures == ()
    assert verification.outputs[0].agreement == 1.0
    assert verification.outputs[0].limit == LIMITS["float32"]
    assert (verification.samples, verification.source) == (2, "test")


def test_the_limit_is_by_precision_and_can_be_set():
    produced = REFERENCE + 0.3  # 5 % of the range
    assert not _judge(produced).passed
    assert _judge(produced, quantization="int8").passed
    assert _judge(produced, limit=0.2).passed
    assert not _judge(produced, quantization="int8", limit=0.01).passed


def test_a_failure_says_what_by_how_much_and_what_to_try():
    verification = _judge(-REFERENCE, quantization="weight-only-int4")
    assert verification.failures == (
        "output 'y' differs from Keras by up to 8, 133.3% of its range (noise 219.1%; limit 50.0%);"
        " use weight-only-int8",
    )
    assert verification.outputs[0].agreement == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(value):
    produced = REFERENCE.copy()
    produced[0, 0] = value
    verification = _judge(produced, quantization="float16")
    assert verification.failures == (
        "output 'y' is not finite; weights may exceed the float16 range of 65504; use float32",
    )
    assert verification.outputs[0].max_difference is None


def test_wrong_shape():
    assert "has shape (2, 1), not (2, 2)" in _judge(REFERENCE[:, :1]).failures[0]


def test_accuracy_may_fall_by_max_drop_and_no_more():
    swapped = REFERENCE.copy()
    swapped[0] = swapped[0, ::-1]
    truths = truths_of(np.array([1, 0]), {"y": REFERENCE})
    verification = _judge(swapped, truths=truths, limit=9.0, max_drop=50.0)
    assert verification.passed
    assert (verification.outputs[0].accuracy_reference, verification.outputs[0].accuracy) == (
        1.0,
        0.5,
    )
    verification = _judge(swapped, truths=truths, limit=9.0, max_drop=49.9)
    assert verification.failures[0].startswith(
        "accuracy falls by 50.00 points, from 100.00% to 50.00% (output 'y'; limit 49.9);"
    )


def test_labels_of_several_outputs_go_by_name():
    outputs = {"a": REFERENCE, "b": REFERENCE[:, :1], "c": REFERENCE}
    ids = np.array([1, 0])
    labels = truths_of({"a": ids, "b": np.array([0.5, 2.0])}, outputs)
    assert {name: truth.metric for name, truth in labels.items()} == {"a": "accuracy", "b": "R2"}
    in_order = truths_of([ids, np.array([0.5, 2.0]), np.eye(2)[ids]], outputs)
    assert [truth.metric for truth in in_order.values()] == ["accuracy", "R2", "accuracy"]
    rule = Rule.of_precision("int8")
    verification = judge(outputs, outputs, rule, truths=labels, source="test")
    assert verification.outputs[0].accuracy == 1.0
    assert verification.outputs[1].agreement is None and verification.outputs[2].accuracy is None


def test_a_regression_is_judged_by_r2():
    values = np.array([[0.5, 4.0], [1.0, -1.0]])
    truths = truths_of(values, {"y": REFERENCE})
    # Residuals (-.5, 0, 1, -1); the columns spread by .125 and 12.5 about their means.
    assert truths["y"].score(REFERENCE) == pytest.approx(1 - 2.25 / 12.625)
    found = _judge(REFERENCE * 0.5, truths=truths, limit=9.0, max_drop=10.0)
    output = found.outputs[0]
    assert output.metric == "R2" and output.accuracy is output.agreement is None
    assert output.measures["MAE"].reference == pytest.approx(2.5 / 4)
    assert output.measures["MAE"].file == pytest.approx((0.5 + 2 + 0 + 0) / 4)
    assert found.failures[0].startswith("R2 falls by 15.84 points, from 0.8218 to 0.6634")
    assert truths_of(None, {"y": REFERENCE}) == {}
    constant = np.full((2, 2), 3.0)
    assert truths_of(constant, {"y": REFERENCE}) == {}


def test_rows_without_a_label():
    assert list(truths_of(np.array([-1, 0]), {"y": REFERENCE})) == ["y"]
    with pytest.raises(InputError, match="output 'y': there is no labeled row"):
        truths_of(np.array([-1, -1]), {"y": REFERENCE})


def test_two_classes_in_one_unit_are_judged():
    p, ids = np.array([[0.9], [0.2], [0.6]]), np.array([1, 0, 0])
    for labels in (ids, ids[:, None], ids.astype("float32"), ids > 0):
        found = truths_of(labels, {"y": p})
        rule = Rule.of_precision("float32", max_drop=1.0)
        judged = judge({"y": p}, {"y": p}, rule, truths=found, source="test")
        assert judged.outputs[0].accuracy == pytest.approx(2 / 3)
        assert judged.outputs[0].agreement == 1.0
        ruined = judge({"y": p}, {"y": 1 - p}, rule, truths=found, source="test")
        assert ruined.outputs[0].agreement == 0.0
        assert any("accuracy falls by 33.33 points" in text for text in ruined.failures)
    for values in (np.array([0.3, 7.0, 2.0]), np.array([3, 7, 2])):
        assert truths_of(values, {"y": p})["y"].metric == "R2"


def test_masks_and_several_labels_are_judged():
    rng = np.random.default_rng(0)
    rule = Rule.of_precision("int8")
    for shape in ((2, 4, 4, 1), (8, 5)):
        z = rng.normal(size=shape)
        labels = (z > 0).astype(int)
        found = truths_of(labels, {"y": z})
        judged = judge({"y": z}, {"y": np.where(z > 0.5, z, -1)}, rule, truths=found, source="test")
        output = judged.outputs[0]
        assert output.accuracy_reference == 1.0
        assert output.accuracy == output.agreement == pytest.approx((labels == (z > 0.5)).mean())
        assert output.metric == ("mIoU" if len(shape) == 4 else "accuracy")
        if output.metric == "mIoU":
            both = [(labels == c) & ((z > 0.5) == c) for c in (0, 1)]
            either = [(labels == c) | ((z > 0.5) == c) for c in (0, 1)]
            overlaps = [a.sum() / b.sum() for a, b in zip(both, either, strict=True)]
            assert output.judged.file == pytest.approx(np.mean(overlaps))
            assert output.worst_class.label == int(np.argmin(overlaps))
            assert output.worst_class.score == pytest.approx(min(overlaps))


def test_the_class_that_loses_most_is_named():
    ids = np.array([0, 0, 1, 1, 2, 2, 2, 2])
    right, worse = np.eye(3)[ids], np.eye(3)[[0, 0, 1, 0, 2, 2, 2, 0]]
    truths = truths_of(ids, {"y": right})
    rule = Rule.of_precision("int8", limit=9.0, max_drop=50.0)
    worst = judge({"y": right}, {"y": worse}, rule, truths=truths, source="test").outputs[0]
    assert worst.worst_class.model_dump() == {
        "label": 1, "samples": 2, "score_reference": 1.0, "score": 0.5,
    }  # fmt: skip
    assert worst.worst_class.drop == 50


def test_an_autoencoder_is_judged_by_the_auc_of_its_error():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6))
    anomalies = np.arange(40) % 4 == 0
    noise = rng.normal(size=x.shape)
    model = x + noise * np.where(anomalies, 0.5, 0.1)[:, None]
    truths = truths_of(anomalies.astype(int), {"y": model}, {"x": x})
    assert truths["y"].metric == "AUC" and truths["y"].score(model) == 1.0
    coarse = np.round(model / 2) * 2  # the error of rounding hides that of the anomalies
    rule = Rule.of_precision("int8", limit=9.0, max_drop=1.0)
    found = judge({"y": model}, {"y": coarse}, rule, truths=truths, source="test")
    assert found.verdict == "failed" and found.failures[0].startswith("AUC falls by ")
    assert "from 1 to 0." in found.failures[0] and found.outputs[0].worst_class is None
    assert found.statement.startswith("failed verification: AUC falls")
    # The same labels are classes where the output does not reconstruct the input.
    assert (
        truths_of(anomalies.astype(int), {"y": rng.normal(size=(40, 6)) * 3}, {"x": x})["y"].metric
        == "accuracy"
    )
    assert truths_of(anomalies.astype(int), {"y": x[:, :2]}, {"x": x[:, :2]})["y"].metric == (
        "accuracy"
    )


def test_without_max_drop_a_point_may_be_lost_or_one_row():
    eye = np.eye(2)[np.zeros(200, int)]
    ids = truths_of(np.zeros(200, int), {"y": eye})
    worse = eye.copy()
    worse[:2] = eye[:2, ::-1]
    rule = Rule(None, None, "train it again")
    found = judge({"y": eye}, {"y": worse}, rule, truths=ids, source="digits, test")
    assert (found.verdict, found.max_drop) == ("passed", 1.0)
    assert found.outputs[0].drop == pytest.approx(1)
    worse[2] = eye[2, ::-1]
    found = judge({"y": eye}, {"y": worse}, rule, truths=ids, source="digits, test")
    assert found.failures == (
        "accuracy falls by 1.50 points, from 100.00% to 98.50% (output 'y'; limit 1); train it"
        " again",
    )
    few = {"y": ids["y"].take(np.arange(3))}
    found = judge({"y": eye[:3]}, {"y": worse[:3]}, rule, truths=few, source="test")
    assert found.verdict == "failed"
    found = judge({"y": eye[2:5]}, {"y": worse[2:5]}, rule, truths=few, source="test")
    assert found.verdict == "not verified on data" and found.max_drop == 1.0


def _wrong(rows, places, max_drop=None):
    """Judges a file of two classes that is wrong in some of the rows."""
    eye = np.eye(2)[np.zeros(rows, int)]
    got = eye.copy()
    got[places] = eye[places, ::-1]
    truths = truths_of(np.zeros(rows, int), {"y": eye})
    rule = Rule(None, max_drop, "train it again")
    return judge({"y": eye}, {"y": got}, rule, truths=truths, source="digits, test")


def test_a_share_of_predictions_may_be_asked_for():
    eye = np.eye(2)[np.zeros(200, int)]
    got = eye.copy()
    got[:4] = eye[:4, ::-1]
    truths = truths_of(np.arange(200) % 2, {"y": eye})  # half of the changes are right
    for least, verdict in ((0.98, "passed"), (0.981, "failed"), (None, "passed")):
        rule = Rule(None, 1.0, "use another", min_agreement=least)
        found = judge({"y": eye}, {"y": got}, rule, truths=truths, source="test")
        assert (found.verdict, found.min_agreement) == (verdict, least)
        assert found.outputs[0].drop == pytest.approx(0)
        if verdict == "failed":
            assert found.failures == (
                "output 'y' agrees on 98.00% of the predictions; at least 98.10% are asked for; use"
                " another",
            )
    values = {"y": eye[:, :1]}
    rule = Rule(9.0, None, "use another", min_agreement=0.5)
    assert "has no classes" in judge(values, values, rule, source="test").failures[0]


def test_rows_too_few_to_show_the_allowed_loss_verify_nothing_that_was_lost():
    lost = _wrong(2, [0])
    assert (lost.verdict, lost.resolution, lost.needed) == ("not verified on data", 50, 100)
    assert lost.too_few and lost.outputs[0].drop == 50
    assert lost.statement == (
        "too few examples to verify: a loss of up to 1 points is allowed, but 2 rows resolve"
        " steps of 50 points, and something was lost or disagrees; give at least 100 rows"
    )
    kept = _wrong(2, [])  # small, but nothing speaks against it
    assert kept.passed and not kept.too_few
    assert kept.statement == (
        "verified on 2 rows (digits, test): 100.00% accuracy, Keras 100.00%; a loss of up to 1"
        " points is allowed, but 2 rows resolve steps of 50 points"
    )
    assert _wrong(2, [0, 1]).verdict == "failed"  # more than one row
    assert _wrong(2, [0], max_drop=50).passed and _wrong(2, [0], max_drop=5).verdict == "failed"
    assert _wrong(100, [7]).passed and _wrong(100, [7]).needed is None
    again = VerificationRecord.parse(lost.model_dump(mode="json"), source="again")
    assert again == lost


def test_rows_that_disagree_without_a_loss_verify_no_small_drop():
    """One row is lost and another one gained: the accuracy is the same."""
    eye = np.eye(2)[np.zeros(200, int)]
    got = eye.copy()
    got[5] = eye[5, ::-1]
    truths = truths_of(np.arange(200) % 2, {"y": eye})
    rows = {"y": eye}, {"y": got}
    for max_drop, verdict, needed in (
        (0.3, "not verified on data", 334), (0.5, "passed", None), (0.0, "passed", None),
    ):  # fmt: skip
        rule = Rule(None, max_drop, "train it again")
        found = judge(*rows, rule, truths=truths, source="test")
        assert (found.verdict, found.needed) == (verdict, needed)
        assert found.outputs[0].drop == pytest.approx(-0.5)


def test_an_auc_has_steps_of_pairs_and_r2_has_none():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 6))
    anomalies = (np.arange(12) % 4 == 0).astype(int)  # 3 of 12: 27 pairs
    model = x + rng.normal(size=x.shape) * np.where(anomalies, 0.5, 0.1)[:, None]
    truths = truths_of(anomalies, {"y": model}, {"x": x})
    errors = ((model - x) ** 2).mean(axis=1)
    weakest = np.flatnonzero(anomalies)[errors[anomalies == 1].argmin()]
    worse = model.copy()  # one anomaly is below one normal row
    below = np.sort(errors[anomalies == 0])[-2:].mean() / errors[weakest]
    worse[weakest] = x[weakest] + (model - x)[weakest] * np.sqrt(below)
    rule = Rule(9.0, None, "train it again")
    found = judge({"y": model}, {"y": worse}, rule, truths=truths, source="test")
    assert found.outputs[0].drop == pytest.approx(100 / 27)
    assert (found.verdict, found.resolution) == ("not verified on data", pytest.approx(100 / 27))
    assert found.needed == 24  # 12 · sqrt(100 / 27) = 23.1
    values = rng.normal(size=(4, 1))
    truths = truths_of(values, {"y": values})
    found = judge({"y": values}, {"y": values + 0.01}, rule, truths=truths, source="test")
    assert found.passed and found.resolution == 0 and found.outputs[0].drop > 0


def test_accuracy_is_counted_from_the_reference_and_differences_from_the_converted_model():
    """A ruined model converts faithfully; its file has lost what the model has lost."""
    given = np.eye(4)
    ids = truths_of(np.arange(4), {"y": given})
    ruined = np.roll(given, 1, axis=1)
    rule = Rule.of_precision("int8")
    own = judge({"y": ruined}, {"y": ruined}, rule, truths=ids, source="test")
    assert own.verdict == "passed"
    found = judge(
        {"y": ruined},
        {"y": ruined},
        rule,
        reference={"y": given},
        reference_name="the model given",
        truths=ids,
        source="test",
    )
    output = found.outputs[0]
    assert found.verdict == "failed" and found.failures[0].startswith("accuracy falls by 100.00")
    assert (output.max_difference, output.agreement) == (0.0, 0.0)
    assert (output.accuracy_reference, output.accuracy_converted, output.accuracy) == (1, 0, 0)


def test_without_data_nothing_passes():
    verification = _judge(REFERENCE, source="random", on_data=False)
    assert verification.verdict == "not verified on data" and not verification.passed
    assert verification.statement == (
        "not verified on your data: give --data SPEC (in Python, data=)"
    )
    assert _judge(-REFERENCE, source="random", on_data=False).verdict == "failed"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"verdict": "passed"}, "other than passed on random rows"),
        ({"verdict": "failed"}, "if and only if `verdict` is failed"),
        ({"failures": ["too far"]}, "if and only if `verdict` is failed"),
        ({"verdict": True}, "`verdict` must be 'passed', 'failed' or 'not verified on data'"),
    ],
)
def test_a_record_does_not_say_passed_of_what_was_not_verified(change, words):
    values = _judge(REFERENCE, source="random", on_data=False).model_dump(mode="json")
    with pytest.raises(InputError, match=words):
        VerificationRecord.parse(values | change, source="edited.json")


def test_the_statement_says_on_what_it_was_verified():
    assert _judge(REFERENCE).statement == (
        "verified on 2 rows (test): outputs compared; accuracy was not measured (no labels)"
    )
    labeled = _judge(REFERENCE, truths=truths_of(np.array([1, 1]), {"y": REFERENCE}), max_drop=50)
    assert str(labeled) == (
        "verified on 2 rows (test): 50.00% accuracy, Keras 50.00%; a loss of up to 50 points is"
        " allowed"
    )
