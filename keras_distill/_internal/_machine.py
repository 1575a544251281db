"""Describes the machine of a measurement: processor, cores, memory, package versions, and time."""

import importlib.metadata
import os
import platform
import sys
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


def version_of(package: str) -> str | None:
    """Returns the version of a package, or None if it is unknown.

    If no distribution of this name is installed, the version of the imported module is returned,
    because the module may come from another distribution (`tensorflow-cpu`) or from a source tree.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        module = sys.modules.get(package.replace("-", "_"))
        return getattr(module, "__version__", None)


def describe() -> str:
    """Returns the name of the processor and the number of cores."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {os.cpu_count()} cores"


def physical_memory() -> int | None:
    """Returns the memory of the machine in bytes, or None if the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the main dependencies, and the oneDNN setting."""
    return {
        "python": platform.python_version(),
        **{package: version_of(package) or "unknown" for package in _PACKAGES},
        "oneDNN": {"1": "on", "0": "off"}.get(
            os.environ.get("TF_ENABLE_ONEDNN_OPTS", ""), "default"
        ),
    }


def now() -> str:
    """Returns the current UTC time in ISO 8601 format, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
