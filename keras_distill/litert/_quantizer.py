"""Quantizes single operators of a float32 `.tflite` file with LiteRT Quantizer, in a child process.

A recipe is a list of rules. If several rules match an operator, the last one applies. An operator
that does not support its rule stays in float32. The child does not import TensorFlow, so that it
starts quickly.
"""

import contextlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from typing_extensions import Self

from keras_distill._internal import InputError
from keras_distill._internal._child import NO_GPU, Child, ChildError
from keras_distill._internal._signatures import SIGNATURE
from keras_distill._internal._types import Array
from keras_distill.litert._bias import correct_biases, input_means
from keras_distill.litert._interpreter import LiteRTModel
from keras_distill.litert._parser import read_graph

# kind -> (bits of weights, bits of activations, granularity of weights). None bits: activations are
# float32. 0 bits: activations are float32 in the file and quantized at run time.
KINDS: dict[str, tuple[int, int | None, str]] = {
    "int8": (8, 8, "CHANNELWISE"),
    "int8-weights-int4": (4, 8, "CHANNELWISE"),
    "int16x8": (8, 16, "CHANNELWISE"),
    "dynamic-int8": (8, 0, "CHANNELWISE"),
    "dynamic-int4": (4, 0, "CHANNELWISE"),
    "dynamic-int4-blocks": (4, 0, "BLOCKWISE_32"),
    "weight-only-int8": (8, None, "CHANNELWISE"),
    "weight-only-int4": (4, None, "CHANNELWISE"),
}
FLOAT, HALF = "float32", "float16"  # kinds without integers; HALF applies to weights only
_NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}  # operators with another name in the library
_SERVICE = "keras_distill.litert._quantizer:Service"
RANGES = ("min-max", "moving-average")
ALGORITHMS = {
    "min-max": "MIN_MAX_UNIFORM_QUANT",
    "OCTAV": "OCTAV",
    "MSE": "MSE",
    "Hadamard": "DECOMPOSED_HADAMARD_ROTATION",
}


class Rule(NamedTuple):
    """A rule that quantizes some operators.

    Attributes:
        kind: A key of `KINDS`, "float16" (weights only), or "float32".
        scopes: The `Operator.scope` of the operators. If None, operators of every scope.
        operation: The name of the operators, such as "FULLY_CONNECTED". If None, all names.
        algorithm: The algorithm that determines the scale of weights, a key of `ALGORITHMS`.
    """

    kind: str
    scopes: tuple[str, ...] | None = None
    operation: str | None = None
    algorithm: str = "min-max"


class Operator(NamedTuple):
    """An operator of the main graph of a file.

    Attributes:
        scope: The names of its output tensors, which identify it.
        operation: The name of the operator, such as "CONV_2D".
        layer: The name of its layer, inferred from the scope.
        width: The size of the last axis of its constant weights; 0 without constant weights.
    """

    scope: str
    operation: str
    layer: str
    width: int = 0


def operators(path: Path) -> list[Operator]:
    """Lists the operators of the main graph of a file, in the order of the graph."""
    main = read_graph(path).subgraphs[0]
    found = []
    for op in main.ops:
        names = [main.tensors[index].name for index in op.outputs if index >= 0]
        scope = ";".join(name for name in names if name) + ";"
        weights = [main.source(index) for index in op.inputs[1:2] if index >= 0]
        width = next((t.shape[-1] for t in weights if t.constant and t.shape), 0)
        found.append(Operator(scope, op.name, layer_of(scope), width))
    return found


_WEIGHTED = re.compile(r"(?i)(depthwise|convolution|conv\d?d|matmul|einsum|biasadd)")


def layer_of(scope: str) -> str:
    """Infers the name of the layer from the scope of an operator.

    The converter joins the names of fused operations. If one of them has weights, its layer is
    returned, otherwise the layer of the last one.

    Example:
        >>> layer_of("net_1/relu_1/Relu;net_1/conv_a_1/convolution;")
        'conv_a'
        >>> layer_of("n/bn_1/batchnorm/add_1;n/conv_a_1/convolution;n/bn_1/batchnorm/sub")
        'conv_a'
    """
    fused = [part.split("/") for part in scope.split(";") if part] or [[""]]
    parts = next((path for path in fused if _WEIGHTED.match(path[-1])), fused[-1])
    if parts[0].startswith("StatefulPartitionedCall"):
        return "output"
    names = [part for part in parts[:-1] if part != "batchnorm"] or parts
    return re.sub(r"_\d+$", "", names[-1]) or scope[:40]


class Effect(NamedTuple):
    """The effect of a quantization on the outputs for the calibration rows.

    Attributes:
        noise: rms(quantized - float32) / std(float32), for the output where it is largest.
        agreement: The share of rows whose largest entry is the same, for the output where it is
            smallest. Outputs with one entry are left out; 1 if there are no others.
        bytes: The size of the file.
    """

    noise: float
    agreement: float
    bytes: int


class Quantizer:
    """Quantizes one float32 file with different recipes, in a child process.

    The child starts with the first quantization. Use the quantizer as a context manager. Leaving
    the block ends the child.

    Args:
        source: The float32 file, with the signature of this package's exports.
        calibration: An `.npz` file of rows by input name. If None, `measure` and rules that need
            the ranges of activations fail.
        batch_size: The number of rows per call of the file. If None, 1.
        timeout: The time limit of one quantization, in seconds.

    Attributes:
        operators: The operators of the file.
        calls: The number of quantizations so far, including failed ones.

    Raises:
        InputError: From any call, if the quantizer fails, crashes, or takes too long.
    """

    def __init__(
        self, source: Path, calibration: Path | None, *, batch_size: int | None, timeout: float
    ) -> None:
        self.operators = operators(source)
        self.calls = 0
        self._request: dict[str, Any] = {
            "source": str(source),
            "calibration": None if calibration is None else str(calibration),
            "batch_size": batch_size or 1,
        }
        self._timeout, self._child = timeout, None
        self._spare = source.with_name(f"{source.stem}-measured.tflite")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def quantize(
        self,
        out: Path,
        rules: Sequence[Rule],
        *,
        ranges: str = "min-max",
        float_io: bool = False,
        correct: bool = True,
    ) -> None:
        """Writes the file `out`, quantized with the rules.

        Args:
            out: The file to write.
            rules: The rules. The last rule that matches an operator applies to it.
            ranges: The method that measures the ranges of activations, one of `RANGES`.
            float_io: Whether the inputs and outputs of the file stay float32.
            correct: Whether to correct biases with the calibration rows, if there are any; see
                `_bias`.
        """
        own = {"ranges": ranges, "float_io": float_io, "correct": correct}
        self._ask("quantize", out=str(out), rules=rules, **own)

    def measure(
        self, rules: Sequence[Rule], *, ranges: str = "min-max", correct: bool = True
    ) -> Effect:
        """Quantizes with the rules, and compares the outputs with those of the float32 file.

        The outputs are compared on the calibration rows. Inputs and outputs stay float32.

        Args:
            rules: As for `quantize`.
            ranges: As for `quantize`.
            correct: As for `quantize`.
        """
        own = {"ranges": ranges, "correct": correct}
        found = self._ask("measure", out=str(self._spare), rules=rules, **own)
        return Effect(**found)

    def _ask(self, method: str, **arguments: Any) -> Any:
        self.calls += 1
        if self._child is None:
            self._child = Child(_SERVICE, flags=("-W", "ignore"), environment=NO_GPU)
        try:
            return self._child.ask(method, timeout=self._timeout, **self._request, **arguments)
        except ChildError as error:
            if not error.raised:
                self._end()
            text = " ".join(error.reason.split())[:200]
            raise InputError(f"the quantizer {'failed: ' * error.raised}{text}") from error

    def _end(self) -> None:
        if self._child is not None:
            self._child.close()
        self._child = None


class Service:
    """Quantizes and measures in the child process (`_internal._child`)."""

    def __init__(self) -> None:
        self._ranges: dict[str, Any] = {}
        self._means: Sequence[Array | None] | None = None
        self._floats: dict[str, Array] | None = None

    def quantize(
        self,
        source: str,
        out: str,
        rules: Sequence[Any],
        ranges: str,
        calibration: str | None,
        batch_size: int,
        float_io: bool,
        correct: bool,
    ) -> None:
        """See `Quantizer.quantize`."""
        work = _recipe(source, [Rule(*rule) for rule in rules], float_io)
        found = None
        if work.need_calibration:
            if calibration is None:
                raise ValueError("calibration rows are needed")
            found = self._calibrated(source, ranges, calibration, batch_size)
        with _quiet():
            made = work.quantize(
                found, enable_progress_bar=False, enable_progress_report=False
            ).quantized_model
        assert made is not None  # only a quantization without a recipe returns None
        Path(out).write_bytes(bytes(made))
        if correct and calibration is not None:
            if self._means is None:
                rows = _rows(calibration, batch_size)  # none if they do not fill a batch
                self._means = input_means(source, rows) if rows else ()
            if self._means:
                correct_biases(source, out, self._means)

    def measure(
        self,
        source: str,
        out: str,
        rules: Sequence[Any],
        ranges: str,
        calibration: str,
        batch_size: int,
        correct: bool,
    ) -> dict[str, float]:
        """See `Quantizer.measure`."""
        self.quantize(source, out, rules, ranges, calibration, batch_size, True, correct)
        if self._floats is None:
            self._floats = _run(source, calibration)
        reference, got = self._floats, _run(out, calibration)
        noise, same = [], []
        for name, expected in reference.items():
            error = np.asarray(got[name], np.float64) - expected
            size = float(expected.std()) or float(np.abs(expected).max()) or 1.0
            noise.append(float(np.sqrt((error**2).mean())) / size)
            if expected.ndim > 1 and expected.shape[-1] > 1:
                same.append(float((got[name].argmax(-1) == expected.argmax(-1)).mean()))
        worst = max(noise)
        return {
            "noise": worst if np.isfinite(worst) else 1e9,
            "agreement": min(same, default=1.0),
            "bytes": Path(out).stat().st_size,
        }

    def _calibrated(self, source: str, ranges: str, calibration: str, batch_size: int) -> Any:
        """Returns the range of every tensor, measured once per method."""
        from litert_quantizer import calibrator, recipe, recipe_manager
        from litert_quantizer.utils import qsv_utils

        if ranges not in self._ranges:
            update = {
                "min-max": qsv_utils.min_max_update,
                "moving-average": qsv_utils.moving_average_update,
            }[ranges]
            rules = recipe_manager.RecipeManager()
            rules.load_quantization_recipe(recipe.static_wi8_ai8())
            work = calibrator.Calibrator(source, num_threads=1, qsv_update_func=update)
            with _quiet():
                work.calibrate({SIGNATURE: _rows(calibration, batch_size)}, rules)
            self._ranges[ranges] = work.get_model_qsvs()
        return self._ranges[ranges]


def _recipe(source: str, rules: Sequence[Rule], float_io: bool) -> Any:
    """Creates the library's quantizer and adds the rules to it."""
    from litert_quantizer import qtyping, quantizer
    from litert_quantizer.algorithm_manager import AlgorithmName

    work: Any = quantizer.Quantizer(source)
    for place, rule in enumerate(rules):
        _add(work, rule, place)
    if float_io:
        for name in ("INPUT", "OUTPUT"):
            work.update_quantization_recipe(
                ".*", qtyping.TFLOperationName(name), None, AlgorithmName.NO_QUANTIZE
            )
    return work


def _add(work: Any, rule: Rule, place: int) -> None:
    from litert_quantizer import qtyping
    from litert_quantizer.algorithm_manager import AlgorithmName

    scope = ".*"
    if rule.scopes is not None:
        scope = f"^(?:{'|'.join(map(re.escape, rule.scopes))})$"
    # A rule with the same expression would replace an earlier one, even for operators that do not
    # support it. The empty groups make each expression unique.
    scope += "(?:)" * place
    operation = qtyping.TFLOperationName(_NAMES.get(rule.operation or "*", rule.operation or "*"))
    if rule.kind == FLOAT:
        work.update_quantization_recipe(scope, operation, None, AlgorithmName.NO_QUANTIZE)
        return
    if rule.kind == HALF:
        half = qtyping.TensorQuantizationConfig(16, dtype=qtyping.TensorDataType.FLOAT)
        config = qtyping.OpQuantizationConfig(
            weight_tensor_config=half,
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        )
        work.update_quantization_recipe(scope, operation, config, AlgorithmName.FLOAT_CASTING)
        return
    weights, activations, granularity = KINDS[rule.kind]
    common = {"algorithm_key": getattr(AlgorithmName, ALGORITHMS[rule.algorithm])}
    blocks = qtyping.QuantGranularity(granularity)
    if activations is None:
        work.add_weight_only_config(scope, operation, weights, blocks, **common)
    elif activations == 0:
        work.add_dynamic_config(scope, operation, weights, blocks, **common)
    else:
        work.add_static_config(scope, operation, activations, weights, blocks, **common)


def _load(calibration: str) -> dict[str, Array]:
    with np.load(calibration) as file:
        return {name: file[name] for name in file.files}


def _rows(calibration: str, batch_size: int) -> list[dict[str, Array]]:
    """Returns the rows in batches of `batch_size`; rows left over at the end are dropped."""
    arrays = _load(calibration)
    count = len(next(iter(arrays.values())))
    return [
        {name: a[start : start + batch_size] for name, a in arrays.items()}
        for start in range(0, count - batch_size + 1, batch_size)
    ]


def _run(path: str, calibration: str) -> dict[str, Array]:
    arrays = _load(calibration)
    model = LiteRTModel(path)
    y = model.predict(arrays if len(arrays) > 1 else next(iter(arrays.values())))
    return y if isinstance(y, dict) else {"": y}


@contextlib.contextmanager
def _quiet() -> Any:
    """Discards the quantizer's progress messages."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
