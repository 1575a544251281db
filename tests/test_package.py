"""What a user gets when they install and import the package."""

import ast
import configparser
import importlib.metadata
import itertools
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _python(code, **environment):
    own = ("TF_ENABLE_ONEDNN_OPTS", "TF_FORCE_GPU_ALLOW_GROWTH")
    clean = {k: v for k, v in os.environ.items() if k not in own}
    return subprocess.run(
        [sys.executable, "-W", "always", "-c", code],
        capture_output=True,
        text=True,
        env={**clean, **environment},
    )


def test_importing_the_package_imports_no_tensorflow():
    code = (
        "import sys, keras_distill; print([m for m in sys.modules if m in ('tensorflow', 'keras')])"
    )
    assert _python(code).stdout.strip() == "[]"


def test_onednn_is_switched_on_before_tensorflow():
    code = "import os, keras_distill; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    assert _python(code).stdout.strip() == "1"


def test_a_setting_of_the_user_stands():
    code = "import os, keras_distill; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    assert _python(code, TF_ENABLE_ONEDNN_OPTS="0").stdout.strip() == "0"


def test_processes_can_share_a_gpu():
    code = "import os, keras_distill; print(os.environ['TF_FORCE_GPU_ALLOW_GROWTH'])"
    assert _python(code).stdout.strip() == "true"
    assert _python(code, TF_FORCE_GPU_ALLOW_GROWTH="false").stdout.strip() == "false"


def test_importing_it_too_late_says_so_once():
    code = "import sys, types; sys.modules['tensorflow'] = types.ModuleType('tensorflow');" + (
        "import keras_distill; import importlib; import keras_distill"
    )
    done = _python(code)
    assert done.stderr.count("imported after TensorFlow") == 1


def test_every_public_name_is_there():
    import keras_distill

    for name in keras_distill.__all__:
        assert getattr(keras_distill, name) is not None


def test_type_checkers_see_the_names_that_are_loaded_lazily():
    import keras_distill

    stub = ast.parse((ROOT / "keras_distill" / "__init__.pyi").read_text())
    seen = {
        alias.name: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name  # what a stub exports
    }
    lazy = {name: f"keras_distill.{module}" for name, module in keras_distill._PUBLIC.items()}
    folders = dict.fromkeys(keras_distill._FOLDERS, "keras_distill")
    folders["shrink"] = "keras_distill.shrink"  # can be called: the function is what editors show
    assert seen == folders | lazy


def test_an_unknown_name_is_an_attribute_error():
    import keras_distill

    assert not hasattr(keras_distill, "Distillator")


def test_every_file_that_is_not_python_is_packaged():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    patterns = config["options.package_data"]["keras_distill"].split()
    package = ROOT / "keras_distill"
    packaged = {path for pattern in patterns for path in package.glob(pattern)}
    others = {
        path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert others == packaged


def test_every_dependency_says_why():
    lines = (ROOT / "setup.cfg").read_text().splitlines()
    start = lines.index("install_requires =") + 1
    end = next(i for i in range(start, len(lines)) if not lines[i].startswith("    "))
    needs = lines[start:end]
    for before, line in itertools.pairwise(needs):
        if not line.strip().startswith("#"):
            assert before.strip().startswith("#"), f"no reason above {line.strip()}"


def test_no_module_imports_the_predecessor_of_the_quantizer():
    code = [*(ROOT / "keras_distill").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
    assert not [path for path in code if "ai_edge_quantizer" in path.read_text(encoding="utf-8")]


def test_the_version_is_written_once():
    import keras_distill

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["metadata"]["version"] == "attr: keras_distill.__version__"
    assert importlib.metadata.version("keras-distill") == keras_distill.__version__
    # setuptools reads it without running the package, hence without TensorFlow.
    assert f'\n__version__ = "{keras_distill.__version__}"\n' in (
        ROOT / "keras_distill/__init__.py"
    ).read_text(encoding="utf-8")
