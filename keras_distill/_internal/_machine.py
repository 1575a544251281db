"""Where a number was measured: processor, cores, package versions, the time."""

import importlib.metadata
import os
import platform
from datetime import datetime, timezone
from pathlib import Path

_PACKAGES = (
    "keras-distill",
    "keras",
    "tensorflow",
    "ai-edge-litert",
    "litert-quantizer",
    "numpy",
)


def describe() -> str:
    """Processor and cores, as the system names them."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {os.cpu_count()} cores"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on; how oneDNN is set."""
    return {
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in _PACKAGES},
        "oneDNN": {"1": "on", "0": "off"}.get(
            os.environ.get("TF_ENABLE_ONEDNN_OPTS", ""), "default"
        ),
    }


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
