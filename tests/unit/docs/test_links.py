"""What a document or an error message points at is there."""

import re
from pathlib import Path

import pytest

from trimtab.profile import Profile, load_profile

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md"), *ROOT.glob("components/*/*.md")]
)
SOURCES = sorted([*ROOT.glob("trimtab/**/*.py"), *ROOT.glob("serving/**/*.py"), *ROOT.glob("pipelines/**/*.py")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert broken == []


def test_documents_that_the_code_names_exist() -> None:
    named = {name for source in SOURCES for name in re.findall(r"docs/[\w/-]+\.md", source.read_text(encoding="utf-8"))}
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_the_profile_in_the_guide_is_valid_and_its_fields_are_all_named(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")
    path = tmp_path / "laptop.yaml"
    path.write_text(re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)[0], encoding="utf-8")
    assert load_profile(str(path)).name == "laptop"
    fields = guide.split("## Other variables")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", fields, re.MULTILINE)) == sorted(Profile.model_fields)
