"""Tests of `keras_distill._internal._machine`."""

import importlib.metadata
import sys
import types

from keras_distill._internal import _machine


def test_a_module_of_another_distribution_has_its_own_version(monkeypatch):
    def none(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", none)
    module = types.ModuleType("some_backend")
    module.__version__ = "2.21.0"
    monkeypatch.setitem(sys.modules, "some_backend", module)
    assert _machine.version_of("some-backend") == "2.21.0"
    assert _machine.version_of("not-there") is None
    assert _machine.versions()["litert-quantizer"] == "unknown"


def test_versions_are_those_installed():
    versions = _machine.versions()
    assert versions["numpy"] == importlib.metadata.version("numpy")
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))


def test_the_processor_and_its_cores_are_named():
    assert _machine.describe().endswith(" cores")
