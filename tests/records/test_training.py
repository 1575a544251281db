import pytest

from keras_distill import InputError
from keras_distill.records import TrainingChanges, TrainingSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "`epochs` must be >= 1. Received: 0"),
        ({"epochs": True}, "`epochs` must be a valid integer"),
        ({"batch_size": 1.5}, "`batch_size` must be a valid integer"),
        ({"optimizer": "lion"}, "`optimizer` must be 'adam', 'adamw' or 'sgd'"),
        ({"learning_rate": 0}, "`learning_rate` must be > 0"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be"),
        ({"schedule": "step"}, "`schedule` must be 'constant' or 'cosine'"),
        ({"decay": "cosine"}, "`decay` must be a known key"),
        ({"weight_decay": -1}, "`weight_decay` must be >= 0"),
        ({"momentum": 1}, "`momentum` must be < 1"),
        ({"steps_per_execution": 0}, "`steps_per_execution` must be >= 1"),
    ],
)
def test_each_setting_has_its_rule(settings, message):
    for record in (TrainingSettings, TrainingChanges):
        with pytest.raises(InputError, match=message):
            record.parse(settings, source="x")


def test_changes_replace_only_what_they_name():
    settings = TrainingSettings(epochs=3, optimizer="sgd", weight_decay=1e-4)
    changed = TrainingChanges(learning_rate=0.1, momentum=0.5).applied_to(settings)
    assert changed == settings.model_copy(update={"learning_rate": 0.1, "momentum": 0.5})
    assert type(changed) is TrainingSettings
