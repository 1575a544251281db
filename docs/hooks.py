"""Adds generated pages to the site: the command line, the studies, and the pages of the root.

mkdocs calls `on_files` when it collects the pages; see `hooks` in mkdocs.yml.
"""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from keras_distill.cli._app import build
from keras_distill.cli._verb import command_of
from keras_distill.records import Key, recipe_keys

ROOT = Path(__file__).parents[1]
STUDIES, NOTEBOOKS = "examples/studies", "examples/notebooks"
_COMMON = ("help", "quiet", "verbose")  # options of every verb
# Links between pages, pictures, and other sites are kept; links to records and scripts are not.
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?://|#)([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages to those in docs/."""
    for name in ("CONTRIBUTING", "CHANGELOG"):
        text = (ROOT / f"{name}.md").read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, f"{name.lower()}.md", content=text))
    files.append(File.generated(config, "reference/cli.md", content=_command_line()))
    notebooks = sorted((ROOT / NOTEBOOKS).glob("*.ipynb"))
    files.append(File.generated(config, "notebooks.md", content=_notebooks(notebooks)))
    for path in notebooks:
        source = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, source, content=path.read_bytes()))
    pages = sorted((ROOT / STUDIES).glob("*/README.md"))
    files.append(File.generated(config, "studies.md", content=_studies(pages)))
    for page in pages:
        for path in (page, *page.parent.glob("*.png"), *page.parent.glob("*.svg")):
            source = path.relative_to(ROOT).as_posix()
            if path == page:
                content: Any = _without_file_links(path.read_text(encoding="utf-8"))
            else:
                content = path.read_bytes()
            files.append(File.generated(config, source, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Points links to studies and notebooks, which lie beside docs/, into the site.

    The table of all keys of a recipe replaces its mark.
    """
    markdown = markdown.replace("<!-- recipe keys -->", _recipe_keys())
    markdown = markdown.replace("](../README.md)", "](index.md)")
    return re.sub(rf"\]\(\.\./((?:\.\./)?(?:{STUDIES}|{NOTEBOOKS})/)", r"](\1", markdown)


def _without_file_links(text: str) -> str:
    return _LINK.sub(
        lambda link: link[0] if link[2].split("#")[0].endswith("README.md") else link[1], text
    )


def _recipe_keys() -> str:
    """Renders the keys of a recipe, a table for each table of it."""
    keys = list(recipe_keys())
    lines: list[str] = []
    for table in [None, *(key for key in keys if key.table)]:
        name = "" if table is None else table.name
        inner = [key for key in keys if key.name.rpartition(".")[0] == name and not key.table]
        lines += ["", "At the top:" if table is None else f"`{table.table}`: {table.meaning}", ""]
        lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
        lines += [_row(key) for key in inner if not key.of_training]
        if any(key.of_training for key in inner):
            lines.append("| keys of `[training]` | | those of `[training]` | |")
    return "\n".join(lines)


def _row(key: Key) -> str:
    default = "required" if key.required else f"`{key.default}`" if key.default else "not set"
    cells = (f"`{key.name.rpartition('.')[2]}`", key.kind, default, key.meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _studies(pages: list[Path]) -> str:
    lines = [
        "# Studies",
        "",
        "Each page answers one question with a table, its command, and its limits.",
        "",
    ]
    for page in pages:
        title = page.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        lines.append(f"- [{title}]({page.relative_to(ROOT).as_posix()})")
    return "\n".join(lines) + "\n"


def _notebooks(paths: list[Path]) -> str:
    """Lists the notebooks with the first paragraph of each."""
    lines = [
        "# Notebooks",
        "",
        "Each runs from top to bottom in less than a minute on two CPU cores, without a network,"
        " in Jupyter and in Colab (*File, Upload notebook*). The files are in"
        " `examples/notebooks/`.",
        "",
        "    pip install jupyterlab matplotlib && jupyter lab examples/notebooks",
        "",
    ]
    for path in paths:
        first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]
        title, _, text = "".join(first).partition("\n")
        lines += [f"## [{title.lstrip('# ')}]({path.relative_to(ROOT).as_posix()})", text, ""]
    return "\n".join(lines)


def _command_line() -> str:
    """Renders the help of every verb."""
    lines = [
        "# Command line",
        "",
        "Exit codes: 0 on success, 1 if a verification fails, 2 on bad input with one line on"
        " stderr. `--json` prints the record and nothing else. Existing output is replaced only"
        " with `--overwrite`. Every verb takes `-h` (`--help`), `-q` (`--quiet`: no progress and no"
        " next command), and `-v` (`--verbose`: the logs of TensorFlow, and the traceback of an"
        " unexpected error). `keras-distill --install-completion` makes your shell complete verbs,"
        " options, and choices.",
    ]
    group: Any = command_of(build())
    for name, command in group.commands.items():
        verbs = getattr(command, "commands", None)
        for verb, leaf in {name: command}.items() if verbs is None else verbs.items():
            full = name if verbs is None else f"{name} {verb}"
            text, _, example = (leaf.help or "").partition("\b\nExample:\n")
            lines += ["", f"## keras-distill {full}", "", text.strip(), ""]
            lines += [textwrap.indent(textwrap.dedent(example).rstrip(), "    "), ""]
            lines += ["| argument or option | meaning | default |", "|---|---|---|"]
            lines += [_option_row(param) for param in leaf.params if param.name not in _COMMON]
    return "\n".join(lines) + "\n"


def _option_row(param: Any) -> str:
    argument = param.param_type_name == "argument"
    name = param.name.upper() if argument else "`, `".join([*param.opts, *param.secondary_opts])
    choices = param.metavar if not argument and "|" in (param.metavar or "") else None
    text = " ".join((param.help or "").split())
    if choices is not None:
        text += f" One of {', '.join(choices.split('|'))}."
    shown = param.default not in (None, False, [], ()) and not callable(param.default)
    default = f"`{param.default}`" if shown and not param.required else ""
    if isinstance(param.show_default, str):
        default = param.show_default
    if param.required:
        default = "required"
    cells = (cell.replace("|", "\\|") for cell in (f"`{name}`", text, default))
    return f"| {' | '.join(cells)} |"
