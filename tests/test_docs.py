"""The front page and the guides: links, the list of pages, and the names of commands and configs."""

from __future__ import annotations

import importlib.util
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from seqdigits.cli import COMMANDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GUIDES = sorted(DOCS.glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "launch" / "README.md", *GUIDES]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """The text of a page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as GitHub and MkDocs name them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_readme_is_a_short_front_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@each_page
def test_relative_links_lead_to_files(page):
    missing = [link for link in links(page) if not (page.parent / link.partition("#")[0]).exists()]
    assert not missing


@each_page
def test_links_to_sections_lead_to_headings(page):
    missing = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if anchor and anchor not in anchors(target):
            missing.append(link)
    assert not missing


def test_site_lists_every_guide_once():
    def files(entry):
        if isinstance(entry, str):
            return [entry]
        return [file for part in (entry.values() if isinstance(entry, dict) else entry) for file in files(part)]

    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert sorted(files(nav)) == [guide.name for guide in GUIDES]


def test_index_links_every_guide():
    assert {guide.name for guide in GUIDES} - {"index.md"} == set(links(DOCS / "index.md")) - {
        "../README.md",
        "overview.png",
    }


def test_the_table_of_experiments_has_every_config():
    rows = re.findall(r"^\| [^|]* \| (`[^|]+`) \|", (DOCS / "reproduce.md").read_text(), re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    configs = [file.stem for file in (ROOT / "configs").glob("*.py")]
    assert [config for config in configs if not any(fnmatch(config, name) for name in names)] == []
    assert [name for name in names if not any(fnmatch(config, name) for config in configs)] == []


def test_the_audit_reads_every_lock():
    """As docs/security.md says."""
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "audit.yml").read_text())["jobs"]
    audited = [row["lock"] for row in jobs["audit"]["strategy"]["matrix"]["include"]]
    assert sorted(audited) == sorted(path.name for path in ROOT.glob("requirements*.lock"))


@each_page
def test_named_commands_and_configs_exist(page):
    text = page.read_text()
    named = set(re.findall(r"(?:^|[`$] ?)seqdigits ([a-z][a-z-]*)", text, re.MULTILINE))
    configs = set(re.findall(r"configs/([a-z0-9_]+)\.py", text))
    assert named <= COMMANDS.keys()
    assert all((ROOT / "configs" / f"{name}.py").exists() for name in configs)


def test_site_shows_files_outside_of_the_guides_as_paths():
    spec = importlib.util.spec_from_file_location("site_links", DOCS / "site_links.py")
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    text = "[configs/](../configs), [the card](../seqdigits/shipped/scene.md#limits), [Data](data.md#digits)"
    assert hook.on_page_markdown(text, page=None) == (
        "`configs/`, the card (`seqdigits/shipped/scene.md`), [Data](data.md#digits)"
    )
