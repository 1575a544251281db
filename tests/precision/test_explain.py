"""Which layers react to quantization, and the page that shows it."""

import keras
import numpy as np
import pytest

from keras_distill import InputError, precision
from keras_distill.cli import main
from keras_distill.records import ExplainRecord

layers = keras.layers


@pytest.fixture(scope="module")
def sensitive():
    """A network in which large weights that never count set the scale of a layer."""
    random = np.random.default_rng(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(8, 3, name="plain"),
            layers.Conv2D(8, 3, activation="relu", name="outlier"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(5, name="logits"),
        ],
        name="sensitive",
    )
    first, _ = model.get_layer("plain").get_weights()
    first[..., 0] = 0
    model.get_layer("plain").set_weights([first, np.zeros(8)])
    kernel, bias = model.get_layer("outlier").get_weights()
    kernel[:, :, 0] = 60.0
    model.get_layer("outlier").set_weights([kernel, bias])
    return model, random.normal(size=(60, 8, 8, 1)).astype("float32")


def test_the_layer_with_the_outlier_is_the_most_sensitive(sensitive):
    model, rows = sensitive
    record = precision.explain(model, calibration=rows)
    assert record.rows == 60 and record.operators >= 4
    four = [one for one in record.sensitivity if one.kind == "weight-only-int4"]
    assert four[0].layers == ("outlier",) and four[0].noise > 3 * four[-1].noise
    noises = [one.noise for one in four]
    assert noises == sorted(noises, reverse=True)
    assert four[0].bytes > 0 and 0 <= four[0].agreement <= 1
    ways = {(one.ranges, one.weights, one.corrected): one for one in record.calibrations}
    assert len(ways) == 12 and ways["min-max", "min-max", True].noise > 0
    again = ExplainRecord.parse(record.model_dump(mode="json"), source="again")
    assert again == record


def test_the_command_writes_the_page(sensitive, tmp_path, capsys):
    model, _ = sensitive
    model.save(tmp_path / "n.keras")
    page = tmp_path / "n.html"
    argv = ["export", str(tmp_path / "n.keras"), "-o", str(page), "--explain"]
    assert main(argv) == 2
    assert "`explain` needs `calibration`" in capsys.readouterr().err
    assert main([*argv, "--calibration", "digits", "--calibration-samples", "60"]) == 0
    text = page.read_text(encoding="utf-8")
    assert "<svg" in text and "outlier" in text and "OCTAV" in text and "src=" not in text
    assert "outlier" in capsys.readouterr().out
    assert ExplainRecord.load(tmp_path / "n.json").source == "digits, train"
    assert main([*argv, "--calibration", "digits"]) == 2  # it exists
    argv[3] = str(tmp_path / "n.tflite")
    assert main([*argv, "--calibration", "digits"]) == 2
    assert "give -o PAGE.html" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["n.html", "n.json", "n.keras"]


def test_rows_are_needed(sensitive):
    with pytest.raises(InputError, match="needs `calibration`"):
        precision.explain(sensitive[0])
