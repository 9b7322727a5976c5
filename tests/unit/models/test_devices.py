import ast
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

import trimtab.models
from trimtab.errors import BadInput
from trimtab.models.devices import BRIDGE, Placement, Requested, gaudi_available, place

# The modules that a training image needs; an image for the first Gaudi has Python 3.10 and torch 2.6.
TRAINER = ("devices", "fit", "networks", "preprocess", "encode", "data", "calibrate", "threshold", "recipe", "split")
NEWER_THAN_310 = {
    "datetime": {"UTC"},
    "enum": {"StrEnum"},
    "typing": {"Self", "assert_never", "reveal_type", "override"},
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PT_HPU_LAZY_MODE", "PT_HPU_RECIPE_CACHE_CONFIG"):
        monkeypatch.setenv(name, "unset")
        monkeypatch.delenv(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The bridge as a module that is found by import, and the `torch.hpu` that it brings."""
    for name in ("habana_frameworks", "habana_frameworks.torch", BRIDGE):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    card = SimpleNamespace(present=True)
    card.is_available = lambda: card.present
    monkeypatch.setattr(torch, "hpu", card, raising=False)
    return card


def test_without_accelerators_auto_is_the_cpu() -> None:
    assert place() == Placement("cpu")
    assert not gaudi_available()


def test_gaudi_is_found_and_used_in_bfloat16_compiled(bridge: SimpleNamespace, tmp_path: Path) -> None:
    assert place(recipe_cache=tmp_path) == Placement("hpu", half=torch.bfloat16, compile_backend="hpu_backend")
    assert os.environ["PT_HPU_LAZY_MODE"] == "0"
    assert os.environ["PT_HPU_RECIPE_CACHE_CONFIG"] == f"{tmp_path},False,1024"


def test_a_bridge_without_a_card_is_not_gaudi(bridge: SimpleNamespace) -> None:
    bridge.present = False
    assert place().device == "cpu"
    with pytest.raises(BadInput, match="hpu"):
        place("hpu")


def test_lazy_mode_is_off_before_the_bridge_is_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "habana_frameworks" / "torch"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "core.py").write_text("import os\nSEEN = os.environ.get('PT_HPU_LAZY_MODE')\n")
    monkeypatch.syspath_prepend(tmp_path)
    gaudi_available()
    assert sys.modules[BRIDGE].SEEN == "0"
    for name in [name for name in sys.modules if name.startswith("habana_frameworks")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("device", ["cuda", "hpu"])
def test_asking_for_what_is_absent_says_so(device: Requested) -> None:
    with pytest.raises(BadInput, match=device):
        place(device)


def test_cuda_uses_bfloat16_where_the_card_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for has, expected in ((True, torch.bfloat16), (False, None)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has=has: has)
        assert place() == Placement("cuda", half=expected)


def test_compilation_goes_through_gaudis_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    def compile_network(network: nn.Module, *, backend: str) -> nn.Module:
        heard.append(backend)
        return network

    monkeypatch.setattr(torch, "compile", compile_network)
    network = nn.Linear(2, 1)
    assert Placement("hpu", compile_backend="hpu_backend").compiled(network) is network
    assert Placement("cpu").compiled(network) is network
    assert heard == ["hpu_backend"]


def test_only_weight_matrices_decay_and_the_rate_is_a_tensor() -> None:
    optimizer = Placement("cpu").optimizer(nn.Linear(2, 1), learning_rate=torch.tensor(0.1), weight_decay=0.3)
    assert [(group["weight_decay"], len(group["params"])) for group in optimizer.param_groups] == [(0.3, 1), (0.0, 1)]
    assert isinstance(optimizer.param_groups[0]["lr"], torch.Tensor)


def test_on_gaudi_the_optimizer_never_asks_the_host() -> None:
    optimizer = Placement("hpu").optimizer(nn.Linear(2, 1), learning_rate=torch.tensor(0.1), weight_decay=0.3)
    assert all(group["capturable"] and not group["fused"] for group in optimizer.param_groups)


def test_a_fit_on_the_cpu_keeps_to_its_threads_and_gives_them_back() -> None:
    before = torch.get_num_threads()
    with Placement("cpu", threads=3).limited():
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before
    with Placement("cuda").limited():
        assert torch.get_num_threads() == before


def test_autocast_is_off_on_the_cpu() -> None:
    with Placement("cpu").autocast():
        assert nn.Linear(2, 1)(torch.ones(1, 2)).dtype == torch.float32
    with Placement("cpu", half=torch.bfloat16).autocast():
        assert nn.Linear(2, 1)(torch.ones(1, 2)).dtype == torch.bfloat16


@pytest.mark.parametrize("module", TRAINER)
def test_the_trainer_is_python_310(module: str) -> None:
    source = (Path(trimtab.models.__file__).parent / f"{module}.py").read_text()
    tree = ast.parse(source, feature_version=(3, 10))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            newer = {alias.name for alias in node.names} & NEWER_THAN_310.get(node.module or "", set())
            assert not newer
        assert not isinstance(node, getattr(ast, "TryStar", ()))
        assert not (isinstance(node, ast.Import) and "tomllib" in {alias.name for alias in node.names})
