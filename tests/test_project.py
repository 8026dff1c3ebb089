"""What the package promises as a project: its dependencies, its public names, and a cheap import."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest

import ship_geo

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"pystac-core": "pystac", "torch": "pytorch", "dask[array]": "dask"}
ONLY_CONDA = {"pip"}
DISTRIBUTION_NAMES = {"pystac": "pystac-core", "PIL": "pillow", "dask_jobqueue": "dask-jobqueue", "odc": "odc-geo"}
NEVER_IMPORTED = {"requests"}  # stands in for a declaration that torchgeo lacks
HEAVY = ("torch", "torchgeo", "lightning", "matplotlib", "rasterio", "xarray", "dask", "geopandas", "numpy")
PUBLIC = [
    "ArgumentError",
    "Assessment",
    "CheckpointError",
    "GridError",
    "OutputError",
    "ProductError",
    "Scene",
    "Sensor",
    "Ship",
    "ShipGeoError",
    "ShipPlusPlus",
    "ShipPlusPlus_Weights",
    "__version__",
    "assess",
    "find_scenes",
    "find_sensor",
    "open_scene",
    "pansharpen",
    "pansharpen_scene",
    "quality",
]


def read_project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def listed_requirements() -> list[str]:
    """Requirements of the package and of all its extras."""
    project = read_project()
    return [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]


def split(requirement: str) -> tuple[str, frozenset[str]]:
    """Name with its extra, and bounds in any order: ``"a[b]>=1,!=2"`` -> ``("a[b]", {">=1", "!=2"})``."""
    name, bounds = re.fullmatch(r"([\w.\-]+(?:\[\w+\])?)\s*(.*)", requirement).groups()
    return name, frozenset(part.strip() for part in bounds.split(",") if part.strip())


def test_environment_equals_pyproject() -> None:
    ours = [split(line) for line in listed_requirements() if not line.startswith("ship-geo")]
    wanted = {(CONDA_NAMES.get(name, name), bounds) for name, bounds in ours}
    wanted.add(split("python" + read_project()["requires-python"]))

    text = (ROOT / "environment.yml").read_text()
    lines = re.findall(r"^  - (.+)$", text.split("dependencies:")[1], flags=re.MULTILINE)
    found = [split(line) for line in lines]
    assert {item for item in found if item[0] not in ONLY_CONDA} == wanted
    assert len({name for name, _ in found}) == len(found)


def test_every_dependency_has_a_lower_bound_and_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for requirement in listed_requirements():
        lines = [line for line in text.splitlines() if line.strip().startswith(f'"{requirement}"')]
        assert lines, f"{requirement} does not stand on its own line"
        assert all(re.search(r"\", # \w.{10,}", line) for line in lines), f"{requirement} has no reason"
        assert ">=" in requirement or requirement.startswith("ship-geo["), f"{requirement} has no lower bound"


def imported_distributions() -> set[str]:
    """Distributions that the package imports anywhere, for types alone or inside functions, too."""
    trees = [ast.walk(ast.parse(path.read_text())) for path in (ROOT / "ship_geo").rglob("*.py")]
    names: set[str] = set()
    for node in chain.from_iterable(trees):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module.split(".")[0])
    return {DISTRIBUTION_NAMES.get(name, name) for name in names - sys.stdlib_module_names - {"ship_geo"}}


def declared_distributions() -> set[str]:
    return {split(requirement)[0].split("[")[0] for requirement in listed_requirements()}


def test_everything_imported_is_declared() -> None:
    assert imported_distributions() <= declared_distributions()


def test_everything_declared_for_users_is_imported() -> None:
    needed = {split(requirement)[0].split("[")[0] for requirement in read_project()["dependencies"]}
    assert needed - imported_distributions() <= NEVER_IMPORTED


def run_python(code: str) -> str:
    """Standard output of a fresh interpreter in the root of the project."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout


@pytest.mark.parametrize("use", ["dir(ship_geo)", "ship_geo.find_sensor('WV02')", "ship_geo.ArgumentError"])
def test_heavy_libraries_stay_unloaded(use: str) -> None:
    loaded = run_python(f"import sys, ship_geo; {use}; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


def test_import_takes_less_than_a_third_of_a_second() -> None:
    code = "import time; start = time.perf_counter(); import ship_geo; print(time.perf_counter() - start)"
    assert min(float(run_python(code)) for _ in range(3)) <= 0.3


def test_public_names_are_pinned() -> None:
    assert ship_geo.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(ship_geo))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_resolves(name: str) -> None:
    value = getattr(ship_geo, name)
    assert value is not None
    if callable(value):
        assert inspect.getdoc(value), f"{name} has no docstring"


def test_public_names_of_type_checkers_are_the_lazy_ones() -> None:
    assert sorted({*ship_geo._MODULE_OF, "__version__"}) == sorted(PUBLIC)
    block = (ROOT / "ship_geo" / "__init__.py").read_text().split("if TYPE_CHECKING:")[1].split("_MODULE_OF")[0]
    for name, module in ship_geo._MODULE_OF.items():
        assert re.search(rf"from {re.escape(module)} import [^)]*?\b{name}\b", block), f"{name} is not from {module}"


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'ship_geo' has no attribute 'pan_sharpen'"):
        _ = ship_geo.pan_sharpen


def test_version_is_that_of_the_installed_distribution() -> None:
    try:
        installed = metadata.version("ship-geo")
    except metadata.PackageNotFoundError:
        assert ship_geo.__version__ == "0+unknown"
    else:
        assert ship_geo.__version__ == installed == read_project()["version"]


def test_console_script_names_a_function() -> None:
    module, name = read_project()["scripts"]["ship-geo"].split(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_weights_fit_into_the_wheel() -> None:
    sizes = [path.stat().st_size for path in (ROOT / "ship_geo" / "weights").glob("*.safetensors")]
    assert sizes
    assert sum(sizes) <= 8 * 1024**2
