"""The files of the contract, and what is in them."""

import json
from pathlib import Path
from typing import Any, Final

import yaml

from infra.contract.asyncapi import asyncapi
from infra.contract.openapi import openapi
from infra.contract.page import page
from infra.contract.schemas import DIALECT, schemas
from infra.contract.typescript import typescript

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "docs" / "contract"
SCHEMAS: Final = FOLDER / "schemas"
TYPESCRIPT: Final = ROOT / "clients" / "typescript" / "src" / "contract.ts"


def files() -> dict[Path, str]:
    """Return the content of each file."""
    return {
        FOLDER / "index.md": page(),
        FOLDER / "asyncapi.yaml": _yaml(asyncapi()),
        FOLDER / "openapi.yaml": _yaml(openapi()),
        **{SCHEMAS / f"{name}.json": _json(schema) for name, schema in schemas("{name}.json").items()},
        TYPESCRIPT: typescript(),
    }


def _json(schema: dict[str, Any]) -> str:
    return json.dumps({"$schema": DIALECT, **schema}, indent=2, ensure_ascii=False) + "\n"


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Writes texts of several lines as they are."""


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent)


def _yaml(document: dict[str, Any]) -> str:
    # As JSON, it has only plain texts, and shares no parts, which YAML would write as references.
    plain = json.loads(json.dumps(document))
    text = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return f"# Written by `make contract` from infra/wire. Do not edit.\n{text}"
