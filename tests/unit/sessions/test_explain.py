from pathlib import Path

import pytest

from trimtab.errors import BadInput
from trimtab.sessions.spec import AttributeColumn, dump_spec, load_spec, shipped_specs

SPEC = """\
name: shop
columns:
  bought: {role: label}
  lcp: {role: kpi, direction: lower, layer: frontend}
  device: {role: attribute}
"""


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        (
            "role: kpi,",
            "role: kpi, controlable: true,",
            "columns.lcp: 'controlable' is not a field of role 'kpi'; did you",
        ),
        ("role: kpi,", "role: kpi, zzz: 1,", "fields are description, role, unit, direction"),
        ("role: kpi", "role: kpy", "columns.lcp: 'kpy' is not a role; did you mean 'kpi'?"),
        ("role: kpi", "role: 7th", "roles are id, unit, timestamp"),
        ("role: kpi, ", "", "columns.lcp: field 'role' is required"),
        ("direction: lower, ", "", "columns.lcp: field 'direction' of role 'kpi' is required"),
        ("layer: frontend", "layer: front", "columns.lcp.layer: 'front' is not one of 'frontend', 'backend'"),
        ("name: shop", "name: shop\nqualty: {}", "'qualty' is not a field; did you mean 'quality'?"),
        (
            "name: shop",
            "name: shop\nquality: {leak_acu: 0.9}",
            "quality: 'leak_acu' is not a field; did you mean 'leak_auc'",
        ),
        ("name: shop", "name: My Shop", "name: String should match pattern"),
        ("role: label", "role: ignore", "no column has role 'label'"),
        ("device: {role: attribute}", "won: {role: label}", "role 'label' is given to 2 columns (bought, won)"),
        ("device: {role: attribute}", "lcp: {role: ignore}", "line 5: 'lcp' is given twice"),
        ("device: {role: attribute}", "at: {role: timestamp, timezone: Europe/Berln}", "did you mean 'Europe/Berlin'?"),
        ("role: attribute", "role: attribute, categories: [yes, no]", "columns.device.categories: quote values"),
        ("role: attribute", "role: attribute, minimum: 0", "are for kind 'numeric'"),
        ("role: attribute", "role: attribute, kind: numeric, categories: [a]", "is for kind 'categorical'"),
        ("role: kpi,", "role: kpi, minimum: 3, maximum: 1,", "columns.lcp: minimum 3 is above maximum 1"),
        (SPEC, "- a list", "is not a mapping"),
        (SPEC, "name: [", "is not valid YAML"),
    ],
)
def test_a_wrong_spec_is_explained(written: str, instead: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC.replace(written, instead))
    with pytest.raises(BadInput) as error:
        load_spec(str(path))
    assert said in error.value.message
    assert "spec.yaml" in error.value.message
    assert error.value.remedy


def test_an_unknown_name_suggests_a_shipped_spec() -> None:
    with pytest.raises(BadInput, match="did you mean 'online_shoppers'"):
        load_spec("online_shopper")


def test_numeric_categories_are_text(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC.replace("role: attribute", "role: attribute, categories: [1, 2]"))
    device = load_spec(str(path)).columns["device"]
    assert isinstance(device, AttributeColumn)
    assert device.categories == ("1", "2")


@pytest.mark.parametrize("name", shipped_specs())
def test_shipped_specs_survive_being_written(name: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(dump_spec(load_spec(name)))
    assert load_spec(str(path)) == load_spec(name)
