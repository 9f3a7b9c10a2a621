"""Write the pages of options and of configuration keys from the code that defines them.

    python docs/generate/reference.py FOLDER

`make docs` runs it in the project's own environment; the site's environment holds no part of the
project. Flags, parsers and help come from the table of options, keys with types, defaults and
meaning from the dataclasses, the whole of --help from each command.
"""

import ast
import dataclasses
import inspect
import os
import sys
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from diffrop.config import ExperimentConfig
from diffrop.console.option_table import OPTIONS
from diffrop.console.options import OWNERS, default_of, parsing, shown
from diffrop.main import command_modules, load_command
from diffrop.presets import PRESETS
from diffrop.recipes import RECIPES, Recipe
from diffrop.schema import Config
from diffrop.study.space import Parameter

ROOT = Path(__file__).resolve().parents[2]
NOT_KEYED = {"settings": "any key", "preset": "several keys", "notify": "none, it is not stored"}
"""Options of the table that are no single key, with what stands in place of one."""


def cell(text: str) -> str:
    """Return a text as a cell of a Markdown table, where < and | would be marks."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")
    return " ".join(escaped.split())


def code(text: str) -> str:
    """Return a text as code in a cell."""
    return f"<code>{cell(text)}</code>" if text else ""


def table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table of cells."""
    names = list(heading)
    lines = [names, ["---"] * len(names), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def field_docs(config: type[Config]) -> dict[str, str]:
    """Return by field the docstring that follows it in the class; fields without one are left out.

    Raises:
        OSError: the class has no source file.
    """
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(config))).body
    assert isinstance(node, ast.ClassDef)
    found = {}
    for item, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[item.target.id] = inspect.cleandoc(str(after.value.value))
    return found


def type_words(hint: Any) -> str:
    """Return what a key takes: the choices, or the kind of value."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return ", ".join(str(choice) for choice in args)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(type_words(arg) for arg in args)
    if origin is tuple:
        inner = [arg for arg in args if arg is not Ellipsis]
        if len(args) == len(inner):
            return f"{len(args)} values: {', '.join(type_words(arg) for arg in inner)}"
        return f"list of {type_words(inner[0])}"
    if origin is dict:
        return "mapping"
    if isinstance(hint, type) and issubclass(hint, Config):
        return hint.__name__
    words = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    return words.get(hint, "any value" if hint is Any else "null")


def value_words(value: Any) -> str:
    """Return a default as a YAML file would give it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(value_words(item) for item in value)}]"
    return f"{value:,}" if isinstance(value, int) else str(value)


def option_of(key: str) -> str:
    """Return the first flag that sets a key, or nothing."""
    return OPTIONS[key].flags.split()[0] if key in OPTIONS else ""


def key_rows(owner: str, config: type[Config]) -> Iterator[list[str]]:
    """Yield a row for each field of a configuration: key and option, type, default, meaning."""
    docs, hints = field_docs(config), typing.get_type_hints(config)
    for item in dataclasses.fields(config):  # type: ignore[arg-type]
        hint = hints[item.name]
        if isinstance(hint, type) and issubclass(hint, Config):
            continue  # a part, which has a table of its own
        key = f"{owner}.{item.name}"
        required = item.default is dataclasses.MISSING
        default = "required" if required else code(value_words(item.default))
        flag, words = option_of(key), docs.get(item.name, "")
        if not words and key in OPTIONS:
            words = OPTIONS[key].help.replace("%%", "%")
        names = "<br>".join(filter(None, [code(key), code(flag)]))
        yield [names, cell(type_words(hint)), default, cell(words)]


def recipe_rows() -> Iterator[list[str]]:
    """Yield a row for each key in which a recipe differs from the default: key, each value."""
    recipes = [make() for make in RECIPES.values()]
    for part in dataclasses.fields(ExperimentConfig):
        for item in dataclasses.fields(OWNERS[part.name]):  # type: ignore[arg-type]
            values = [getattr(getattr(each.experiment, part.name), item.name) for each in recipes]
            if any(value != item.default for value in values):
                key = f"{part.name}.{item.name}"
                yield [code(key), *(cell(value_words(value)) for value in values)]
    for item in dataclasses.fields(Recipe):
        if item.name != "experiment":
            values = [getattr(each, item.name) for each in recipes]
            key = f"study.{item.name}"
            yield [code(key), *(cell(value_words(value)) for value in values)]


def preset_rows() -> Iterator[list[str]]:
    """Yield a row for each preset: its name, its row in the paper, and the keys that it sets."""
    for name, preset in PRESETS.items():
        changes = preset.changes.items()
        settings = ", ".join(f"{key}={value_words(value)}" for key, value in changes)
        yield [code(name), cell(preset.row), code(settings) or "none"]


def parameter_rows() -> Iterator[list[str]]:
    """Yield a row for each entry that a parameter of a search space may have."""
    docs, hints = field_docs(Parameter), typing.get_type_hints(Parameter)
    for item in dataclasses.fields(Parameter):
        required = item.default is dataclasses.MISSING
        default = "required" if required else code(value_words(item.default))
        if item.name == "name":
            continue  # the key under which the entries stand
        words = docs.get(item.name, "")
        yield [code(item.name), cell(type_words(hints[item.name])), default, cell(words)]


def configuration_page() -> str:
    """Return the page of all keys."""
    heading = ["key, and its option", "takes", "default", "meaning"]
    parts = [
        "# Configuration keys\n",
        "Made from the dataclasses in `diffrop/config.py`, `diffrop/study/config.py` and "
        "`diffrop/baselines/`. A key of an experiment can be set by `--set KEY=VALUE`, also where "
        "it has no option of its own, and searched by naming it in a search space (those of "
        "`sampling` and `evaluation` cannot, because scores would not compare). Values outside "
        "what is allowed are refused before anything starts. The defaults here are those of the "
        "classes; [a dataset's recipe](#recipes) changes some of them.\n",
    ]
    for owner, config in OWNERS.items():
        summary = inspect.cleandoc(config.__doc__ or "").split("\n\n")[0]
        rows = table(heading, key_rows(owner, config))
        parts += [f"## {owner}\n", f"{cell(summary)}\n", rows]
    parts += [
        "## Recipes\n",
        "What a command starts from, by `--dataset`, where a recipe differs from the defaults "
        "above. A precision of bf16 becomes fp32 where there is no GPU.\n",
        table(["key", *map(code, RECIPES)], recipe_rows()),
        "## Presets\n",
        "What `--preset NAME` sets on top of the recipe.\n",
        table(["preset", "method", "keys"], preset_rows()),
        "## Search spaces\n",
        "A file of `--space` holds `parameters`: a mapping from keys of the experiment to\n",
        table(["entry", "takes", "default", "meaning"], parameter_rows()),
    ]
    return "\n".join(parts)


def option_rows() -> Iterator[list[str]]:
    """Yield a row for each option of the table: flags with their value and key, meaning."""
    for key, option in OPTIONS.items():
        how = parsing(option, key)
        choices = how.get("choices")
        takes_none = how.get("action") == "store_true"
        value = "" if takes_none or choices else f" {how.get('metavar') or ''}".rstrip()
        default = option.default if option.default is not None else shown(default_of(key))
        names = [code(f"{flag}{value}") for flag in option.flags.split()]
        meaning = [option.help.replace("%%", "%")]
        meaning += [f"one of {', '.join(choices)}"] if choices else []
        meaning += [f"default: {default}"] if default else []
        yield ["<br>".join([*names, NOT_KEYED.get(key, code(key))]), cell("; ".join(meaning))]


def options_page() -> str:
    """Return the page of all options, and of what each command's --help prints."""
    rows = table(["option, and its key", "meaning"], option_rows())
    parts = [
        "# Options and commands\n",
        "Made from the table of options (`diffrop/console/option_table.py`) and from each "
        "command's `--help`. An option sets a [key of the configuration](configuration.md).\n",
        "## Options\n",
        "Not every command has every option: see [below](#commands). Where a flag stands twice, "
        "the key says which part of the configuration it sets in which command.\n",
        rows,
        "## Commands\n",
    ]
    os.environ["COLUMNS"] = "80"
    for name in command_modules():
        typed = f"diffrop {name}"
        words = load_command(name).parser(typed).format_help()
        parts += [f"### {typed}\n", f"```text\n{words.rstrip()}\n```\n"]
    return "\n".join(parts)


def main(folder: Path) -> None:
    """Write both pages into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "options.md").write_text(options_page(), "utf-8")
    (folder / "configuration.md").write_text(configuration_page(), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
