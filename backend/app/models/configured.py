"""The models that are configured: by variables, else by MODELS_FILE, else by our defaults."""

from __future__ import annotations

from pathlib import Path

from backend.app.config import BadSetting, ModelSettings, Settings
from backend.app.models.modelsfile import FIRST, ModelsFile, read_models_file
from backend.app.models.spec import Kind, ModelSpec, build_spec, check_names


def build_specs(settings: Settings, demo_set: bool) -> list[ModelSpec]:
    """The models this gateway serves; the file is read anew at each call.

    Raises ConfigError with everything that is wrong, by line where it stands in the file.
    """
    file = read_models_file(settings.models_file)
    variables: dict[str, ModelSettings] = {
        "qwen": settings.qwen,
        "canary": settings.canary,
        "pyannote": settings.pyannote,
    }
    wanted: dict[str, tuple[Kind, ModelSettings]] = {}
    for key, kind in FIRST.items():
        table = file.tables.get(key)
        wanted[key] = kind, layered(table.own, variables[key]) if table else variables[key]
    wanted |= {key: table for key, table in file.tables.items() if key not in FIRST}
    others: list[str] = []
    specs = []
    for key, (kind, own) in wanted.items():
        try:
            specs.append(build_spec(key, kind, own, demo_set))
        except BadSetting as exc:
            _complain(file, variables, exc, others)
    # a demo model that this checkout does not carry is not offered
    specs = [spec for spec in specs if not spec.demo or Path(spec.source).exists()]
    try:
        check_names(specs)
    except BadSetting as exc:
        _complain(file, variables, exc, others)
    file.refuse(others)
    return specs


def layered(below: ModelSettings, above: ModelSettings) -> ModelSettings:
    """What is set above, else what is set below. Blank variables are not set."""
    return below.model_copy(update={name: getattr(above, name) for name in above.model_fields_set})


def _complain(
    file: ModelsFile,
    variables: dict[str, ModelSettings],
    error: BadSetting,
    others: list[str],
) -> None:
    """In the words of the place where the setting was made."""
    own = variables.get(error.key)
    if (own and error.field in own.model_fields_set) or not file.explain(error):
        others.append(str(error))
