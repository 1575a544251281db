"""Second stage of a run: the teacher's logits of the training split, stored once."""

from keras_distill.runs._context import RunContext
from keras_distill.targets import SoftTargetStore
from keras_distill.teachers import Teacher


def store_targets(context: RunContext, teacher: Teacher) -> SoftTargetStore:
    """Builds the store of soft targets, or opens the one that an earlier session built."""
    count = context.splits.sizes["train"]
    context.reporter.stage("targets", f"{count} soft targets, stored once")
    path = context.folder.scratch / "targets"
    if path.exists():
        return SoftTargetStore.open(path)
    report = context.reporter.track("teacher", count)
    return SoftTargetStore.build(teacher, context.splits.train, path, progress=report)
