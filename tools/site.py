"""Hooks of MkDocs: the site shows README.md, CHANGELOG.md, and what pages link to outside of docs/.

Pages are written to be read in the repository too, so their links lead to files there. On the site a linked source file
or folder becomes a page of its own below `source/`, a linked picture is copied.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}
PICTURES: Final = {".svg", ".png"}
LANGUAGES: Final = {
    ".py": "python",
    ".json": "json",
    ".toml": "toml",
    ".yml": "yaml",
    ".yaml": "yaml",
    ".sql": "sql",
}

_FENCE: Final = re.compile(r"^( *)(`{3,})[^`\n]*\n.*?^\1\2 *$", re.M | re.S)
_TWO_WORDS: Final = re.compile(r"^(```json) \S+$", re.M)
_LINK: Final = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and pictures from outside of docs/, and what they link to in turn."""
    todo = [*PAGES, *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    files.append(File.generated(config, _uri("docs/decisions"), content=_decisions()))
    seen = set(todo)
    while todo:
        path = todo.pop()
        if not path.startswith("docs/"):
            files.append(_generated(path, config))
        if path.startswith("docs/") or path.endswith(".md") or (ROOT / path).is_dir():
            for linked in _linked(path):
                if linked not in seen and not linked.startswith("docs/"):
                    seen.add(linked)
                    todo.append(linked)
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Let links of pages in docs/ lead to what `on_files` has added.

    A fence says one word here: of "json amends.command", by which tests tell examples apart, only the language. The
    site would take the fence for text, and the headings after it for code.
    """
    if page.file.generated_by is not None:
        return markdown
    markdown = _TWO_WORDS.sub(r"\1", markdown)
    return _relinked(markdown, f"docs/{page.file.src_uri}")


def _generated(path: str, config: MkDocsConfig) -> File:
    """The page or the picture that stands for a path of the repository."""
    uri, here = _uri(path), ROOT / path
    if here.suffix in PICTURES:
        return File.generated(config, uri, content=here.read_bytes())
    return File.generated(config, uri, content=_relinked(_text(path), path))


def _text(path: str) -> str:
    """A page's Markdown; its links are those of the repository."""
    here = ROOT / path
    if here.is_dir():
        readme = here / "README.md"
        head = readme.read_text() if readme.exists() else f"# {path}\n"
        names = sorted(
            one.name for one in here.iterdir() if one.suffix in {".py", ".toml", ".html", ".jsonl"}
        )
        return f"{head}\n## Files\n\n" + "".join(
            f"- [{name}]({posixpath.basename(path)}/{name})\n" for name in names
        )
    if here.suffix == ".md":
        return here.read_text()
    return f"# {path}\n\n``````{LANGUAGES.get(here.suffix, 'text')}\n{here.read_text()}\n``````\n"


def _decisions() -> str:
    """The list of the decisions, by number."""
    found = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    titles = [(path.name, path.read_text().partition("\n")[0].lstrip("# ")) for path in found]
    head = "# Decisions\n\nChoices that someone might undo by accident.\n\n"
    return head + "".join(f"- [{title}]({name})\n" for name, title in titles)


def _uri(path: str) -> str:
    """Where the site has a path of the repository."""
    if path == "docs/decisions":
        return "decisions/index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path in PAGES:
        return PAGES[path]
    return f"assets/{path}" if Path(path).suffix in PICTURES else f"source/{path.removesuffix('.md')}.md"


def _linked(path: str) -> Iterator[str]:
    """The paths of the repository that a page links to, as far as they are there."""
    for part, is_code in _parts(_text(path)):
        if not is_code:
            for found in _LINK.finditer(part):
                target = _target(found[2], path)
                if target is not None:
                    yield target


def _target(link: str, path: str) -> str | None:
    """The path that a link on this page leads to; None if it leads elsewhere, or nowhere."""
    if "://" in link or link.startswith(("mailto:", "/")):
        return None
    beside = path if (ROOT / path).is_file() else f"{path}.directory"
    if (ROOT / path / "README.md").is_file() and not link.startswith(f"{posixpath.basename(path)}/"):
        beside = f"{path}/README.md"
    target = posixpath.normpath(posixpath.join(posixpath.dirname(beside), link))
    return target if not target.startswith("..") and (ROOT / target).exists() else None


def _relinked(markdown: str, path: str) -> str:
    """The page with its links as the site has them."""
    here = posixpath.dirname(_uri(path)) or "."

    def lead(found: re.Match[str]) -> str:
        target = _target(found[2], path)
        if target is None:
            return found[0]
        return f"{found[1]}{posixpath.relpath(_uri(target), here)}{found[3]}"

    return _outside_code(markdown, lambda part: _LINK.sub(lead, part))


def _outside_code(markdown: str, change: Callable[[str], str]) -> str:
    return "".join(part if is_code else change(part) for part, is_code in _parts(markdown))


def _parts(markdown: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces, each with whether it is a block of code."""
    at = 0
    for fence in _FENCE.finditer(markdown):
        yield markdown[at : fence.start()], False
        yield fence[0], True
        at = fence.end()
    yield markdown[at:], False
