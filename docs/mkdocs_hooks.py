"""Makes a site of pages that are written for GitHub, and adds those beside docs/: README.md is the start."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "clients/typescript/README.md": "typescript.md",
    "clients/web/README.md": "web.md",
}
"""Where each page beside docs/ is on the site."""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages beside docs/."""
    for page, place in PAGES.items():
        # Their links start in other folders, so here they are written like those of docs/.
        text = re.sub(r"(\]\(|src=\")(?:\.\./\.\./)?docs/", r"\1", (ROOT / page).read_text())
        text = re.sub(rf"\]\((?={'|'.join(PAGES)})", "](../", text)
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Lead links to where pages and repeated headings are on the site."""
    for page, place in PAGES.items():
        markdown = markdown.replace(f"](../{page}", f"]({place}")
    # The second of two equal headings is `#name-1` on GitHub, and `#name_1` here.
    return re.sub(r"(\]\([\w./]*#[\w-]+)-(\d\))", r"\1_\2", markdown)
