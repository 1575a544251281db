"""The commands that usually follow a verb, as words for `print_next`."""

from collections.abc import Sequence
from pathlib import Path

_SMALL = 16  # pixels: of smaller images, a fully connected network is the better start


def are_photos(shape: Sequence[int | None]) -> bool:
    """Returns whether examples of this shape are images that are large enough to convolve.

    Example:
        >>> are_photos((32, 32, 3)), are_photos((8, 8, 1)), are_photos((100,))
        (True, False, False)
    """
    return len(shape) == 3 and min(side or 0 for side in shape[:2]) >= _SMALL


def small_student(shape: Sequence[int | None]) -> str:
    """Returns the spec of a small student for examples of this shape, to start with."""
    return "resnet:8" if are_photos(shape) else "mlp:32"


def data_words(data: str, data_dir: Path | None = None, imports: Sequence[str] = ()) -> list[str]:
    """Returns the options that name data and layers.

    Example:
        >>> data_words("digits", imports=("mine",))
        ['--data', 'digits', '--import', 'mine']
    """
    words = ["--data", data]
    words += [] if data_dir is None else ["--data-dir", str(data_dir)]
    return words + [word for name in imports for word in ("--import", name)]


def quantize(model: Path, out: Path, data: Sequence[str]) -> list[str]:
    """Returns the command that trains a model for int8; empty if there is none for its file.

    Args:
        model: The Keras model.
        out: The int8 file that is not good enough.
        data: Options that name data and layers; empty: none were given.
    """
    if not data or model.suffix != ".keras":
        return []
    words = ["keras-distill", "compress", str(model), "--steps", "quantize", "--alpha", "0"]
    return [*words, "-o", str(out.with_name(f"{out.stem}-quantized")), *data]


def open_page(page: Path) -> list[str]:
    """Returns the command that opens a page in a browser."""
    return ["python3", "-m", "webbrowser", page.resolve().as_uri()]
