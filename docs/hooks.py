"""Pages of the site that are made of files elsewhere: the README, the results, every setting, the decisions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from hpa_cells.commands.app import VERBS

ROOT = Path(__file__).parents[1]
# File of the repository -> page of the site.
PAGES = {
    "README.md": "index.md",
    "RESULTS.md": "results.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "CITATION.cff": "cite.md",
    "docs/decisions": "decisions/index.md",
    "hpa_cells/segmentation/weights/unet.md": "unet.md",
}
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages of `docs`, and those that are made here."""
    for name, page in PAGES.items():
        path = ROOT / name
        if path.suffix == ".md":
            files.append(File.generated(config, page, content=path.read_text(encoding="utf-8")))
    made = {"settings.md": settings(), "decisions/index.md": decisions(), "cite.md": citation()}
    for page, content in made.items():
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links as the repository has them, turned to the pages of the site."""
    origin = {page: name for name, page in PAGES.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    depth = page.file.src_uri.count("/")

    def on_site(link: re.Match[str]) -> str:
        target = (ROOT / origin).parent.joinpath(link[1]).resolve()
        name = target.relative_to(ROOT).as_posix() if target.is_relative_to(ROOT) else link[1]
        return "../" * depth + PAGES.get(name, name.removeprefix("docs/"))

    made_here = page.file.src_uri in ("settings.md", "decisions/index.md", "cite.md")
    return markdown if made_here else _LINK.sub(on_site, markdown)


def settings() -> str:
    """Every verb and every choice with its file in ``conf/``, whose comments are the explanation."""
    conf = ROOT / "conf"
    lines = [
        "# Every setting",
        "",
        "`hpa-cells VERB name=value …` changes any of them, `group=choice` takes another file of a group, and",
        "`hpa-cells VERB --help` prints the values that hold. `???` must be given.",
        "",
        "## Verbs",
        "",
    ]
    for verb, summary in VERBS.items():
        lines += [f"### {verb}: {summary}", "", *_yaml(conf / f"{verb}.yaml"), ""]
    lines += ["## Groups", ""]
    for group in sorted(path for path in conf.iterdir() if path.is_dir() and path.name != "hydra"):
        lines += [f"### {group.name}", ""]
        for choice in sorted(group.glob("*.yaml")):
            lines += [f'=== "{choice.stem}"', ""]
            lines += [f"    {line}" if line else "" for line in _yaml(choice)]
            lines.append("")
    return "\n".join(lines)


def decisions() -> str:
    """The list of decisions by their titles."""
    pages = sorted(path for path in (ROOT / "docs/decisions").glob("0*.md"))
    titles = {
        path.name: path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ") for path in pages
    }
    return "# Decisions\n\n" + "\n".join(f"- [{title}]({name})" for name, title in titles.items()) + "\n"


def citation() -> str:
    """How to cite, as the repository's file says it."""
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8").rstrip()
    return f"# How to cite\n\nPlease cite the Human Protein Atlas together with hpa_cells:\n\n```yaml\n{text}\n```\n"


def _yaml(path: Path) -> Iterator[str]:
    yield "```yaml"
    yield from path.read_text(encoding="utf-8").rstrip().splitlines()
    yield "```"
