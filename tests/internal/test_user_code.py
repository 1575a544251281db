import sys

import pytest

from keras_distill._internal import InputError, _user_code


def test_current_folder_never_hides_a_library(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    (tmp_path / "colorsys.py").write_text("raise SystemError")
    assert _user_code.import_module("import", "colorsys").rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)


@pytest.mark.parametrize("module", ["", ".", "a.", "../a", "a b", "3a", None, ["a"]])
def test_bad_names(module):
    with pytest.raises(InputError, match="dotted name"):
        _user_code.import_module("import", module)


def test_a_missing_dependency_whose_name_begins_the_module_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nosuchmodule.py").write_text("import nosuch")
    with pytest.raises(InputError, match="nosuchmodule needs 'nosuch', which is missing"):
        _user_code.import_module("import", "nosuchmodule")
    with pytest.raises(InputError, match="be a module that Python finds"):
        _user_code.import_module("import", "nosuch.module")
