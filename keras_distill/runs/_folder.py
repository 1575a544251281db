"""The folder of a run: unfinished work beside it, moved into place when all of it is there."""

import json
import os
import shutil
import time
from pathlib import Path

from keras_distill._internal import InputError, _files, _machine
from keras_distill.records._recipe import Recipe

# What decides the trained weights. A change elsewhere in the recipe keeps the training done.
_TRAINING_KEYS = ("data", "teacher", "student", "distillation", "training", "seeds")


class RunFolder:
    """`<out>.unfinished/` while a run is under way, `<out>/` once it is done.

    Args:
        out: Where the finished run shall stand.
        recipe: The run's recipe.
        scale: `full` or `smoke`.
        overwrite: Whether a finished run at `out` may be replaced (at the end, at once) and
            unfinished work of another recipe thrown away.

    Raises:
        InputError: If `out` exists and may not be replaced, or unfinished work of another recipe
            stands in the way.
    """

    def __init__(
        self, out: str | os.PathLike, recipe: Recipe, *, scale: str, overwrite: bool
    ) -> None:
        self.out = _files.check_output(out, overwrite=overwrite)
        self.path = self.out.with_name(self.out.name + ".unfinished")
        self.work = self.path / "work"
        self._overwrite = overwrite
        self._since = time.monotonic()
        self._open(recipe, scale)

    def _open(self, recipe: Recipe, scale: str) -> None:
        asked = {
            "scale": scale,
            "files": _checksums(recipe.teacher.model, recipe.student.model),
            **recipe.model_dump(mode="json", include=set(_TRAINING_KEYS)),
        }
        state_file = self.path / "state.json"
        if state_file.exists():
            state = json.loads(state_file.read_text())
            if state["asked"] == asked:
                self.started, self._seconds = state["started"], state["seconds"]
                self.resumed = True
                return
            if not self._overwrite:
                raise InputError(
                    f"{self.path} is the unfinished run of another recipe, or of other model"
                    " files. Run that one to its end, choose another name (--name), or throw it"
                    " away (--overwrite)."
                )
        shutil.rmtree(self.path, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.started, self._seconds = _machine.now(), 0.0
        self.resumed = False
        self._write_state(asked)

    def _write_state(self, asked: dict) -> None:
        state = {"asked": asked, "started": self.started, "seconds": self.seconds}
        _files.write_json(self.path / "state.json", state, overwrite=True)

    def keep_time(self) -> None:
        """Writes down the wall time of an unfinished run, so that a resumed one can add to it."""
        if not self.path.exists():
            return
        asked = json.loads((self.path / "state.json").read_text())["asked"]
        self._write_state(asked)

    @property
    def seconds(self) -> float:
        """Wall time of all sessions of this run so far."""
        return self._seconds + time.monotonic() - self._since

    def finish(self) -> Path:
        """Removes the working state and moves the folder into place; returns where it stands."""
        shutil.rmtree(self.work, ignore_errors=True)
        (self.path / "state.json").unlink()
        for path in self.path.glob(".*"):
            _files.remove(path)  # what a killed session was writing
        with _files.atomic_path(self.out, overwrite=self._overwrite) as temporary:
            os.rename(self.path, temporary)
        return self.out


def _checksums(*specs: str) -> dict[str, str]:
    """sha256 of each model that is a file, by name."""
    return {spec: _files.sha256(spec) for spec in specs if Path(spec).is_file()}
