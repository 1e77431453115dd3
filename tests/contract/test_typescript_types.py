"""The TypeScript types compile, fit the stock Socket.IO client, and describe what the golden files hold."""

import json
import re
import subprocess
from pathlib import Path

from infra.contract.files import FOLDER, TYPESCRIPT
from tests.contract.published import golden

JS = Path(__file__).with_name("js")


def compile_project(config: Path) -> str:
    """Return what the TypeScript compiler complains of."""
    compiler = JS / "node_modules" / ".bin" / "tsc"
    assert compiler.exists(), "run `make test`, or `npm ci` in tests/contract/js, first"
    done = subprocess.run([compiler, "--project", config], cwd=JS, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_the_types_fit_the_stock_client_and_refuse_what_is_wrong() -> None:
    assert compile_project(JS / "tsconfig.json") == ""


def test_the_types_are_those_of_the_golden_files(tmp_path: Path) -> None:
    assert compile_project(project(tmp_path, golden_module())) == ""


def test_the_types_refuse_a_field_that_nobody_sends(tmp_path: Path) -> None:
    wrong = golden_module().replace('"seq":', '"sequence":')
    assert "does not exist in type 'Message'" in compile_project(project(tmp_path, wrong))


def test_the_snippet_of_the_page_compiles(tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(JS / "node_modules")
    (tmp_path / "contract.ts").write_text(TYPESCRIPT.read_text())
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (snippet,) = re.findall(r"```ts\n(.*?)```", (FOLDER / "index.md").read_text(), re.DOTALL)
    assert compile_project(project(tmp_path, snippet)) == ""


def golden_module() -> str:
    """Return a module in which everything in the golden files has the type of its struct."""
    lines = [f"import type * as contract from {json.dumps(str(TYPESCRIPT))};"]
    for number, (name, value) in enumerate(golden()):
        lines.append(f"export const value{number}: contract.{name} = {json.dumps(value)};")
    return "\n".join(lines)


def project(folder: Path, module: str) -> Path:
    """Write a project of one module; return its configuration."""
    (folder / "module.mts").write_text(module)
    config = folder / "tsconfig.json"
    config.write_text(json.dumps({"extends": str(JS / "tsconfig.json"), "files": ["module.mts"]}))
    return config
