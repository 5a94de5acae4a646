"""Finding out whether a language model can be asked, without asking anybody.

What files can tell is a mistake of the scenario, found when it is loaded. What the environment
lacks is told before a run begins.
"""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auditor.errors import UsageError
from auditor.provider.names import ModelName, key_from, parse_name
from auditor.provider.prices import most_dollars
from auditor.provider.replay import script_mistake
from auditor.scenario.schema import LanguageModel

_PACKAGES = {"openai": ("openai", "pip install 'auditor[openai]'")}


def name_mistake(model: LanguageModel) -> str | None:
    """Say what is wrong with the name, or None."""
    try:
        parse_name(model.name)
    except UsageError as error:
        return str(error)
    return None


def file_mistakes(model: LanguageModel) -> list[str]:
    """Return what is wrong with the files that a name leads to, one line each."""
    name = parse_name(model.name)
    if name.scheme == "scripted":
        mistake = script_mistake(Path(name.model).expanduser())
        return [mistake] if mistake else []
    if name.scheme == "hf":
        return list(_local_mistakes(name))
    return []


def _local_mistakes(name: ModelName) -> Iterator[str]:
    from auditor.scenario.schema import Model
    from auditor.target.preflight import is_folder, preflight_model

    if not is_folder(name.model):
        return
    mistakes = preflight_model(Model(path=name.model))
    yield from mistakes
    if not mistakes and not _template_knows_tools(Path(name.model).expanduser()):
        yield (
            f"the chat template of {name.model} knows no tools, so the model cannot call any; "
            "use one that was trained to"
        )


def _template_knows_tools(folder: Path) -> bool:
    texts = [file.read_text("utf-8", "replace") for file in folder.glob("chat_template*")]
    config = folder / "tokenizer_config.json"
    if config.is_file():
        written: Any = json.loads(config.read_text("utf-8", "replace"))
        texts.append(json.dumps(written.get("chat_template") or ""))
    return any("tools" in text for text in texts)


def environment_mistakes(model: LanguageModel) -> list[str]:
    """Return what the environment lacks to ask a model: a key, a package; one line each."""
    name = parse_name(model.name)
    found = []
    package, install = _PACKAGES.get(name.scheme, (None, None))
    if package is not None and importlib.util.find_spec(package) is None:
        found.append(f"{model.name} needs the package {package}; {install}")
    variable = name.key_variable(model.key_env)
    if variable is not None and key_from(variable) is None:
        found.append(f"{model.name} needs a key; set {variable}, or name the variable as `key_env`")
    return found


def price_mistake(model: LanguageModel, limit: str) -> str | None:
    """Say that a limit in dollars cannot hold, because the price is not known; or None.

    Args:
        model: Who would be asked.
        limit: Name of the limit.
    """
    if most_dollars(model, input_tokens=1, output_tokens=1) is not None:
        return None
    return (
        f"{limit} cannot hold: the price of {model.name} is not known; write "
        "`price: {input: …, output: …}` in dollars per million tokens, or delete the limit"
    )
