"""Imports go one way, and no folder overflows: the layout that docs/architecture.md draws."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# From the ground up, a line a floor. A module belongs to the longest name here that begins its
# own, and imports from its own room and from floors below.
FLOORS = (
    ("transforms", "serving"),
    ("model.configs", "model.calibration"),
    ("model.layers",),
    ("model.imn", "model.baselines", "model.retrieval", "model.attribute_match"),
    ("model.presets", "model.length_groups", "model.replicas"),
    ("model.scorer",),
    ("model.ranker",),
    ("model.training", "model.export"),
    ("model",),
    ("pipeline.errors", "pipeline.progress"),
    ("pipeline.examples",),
    ("pipeline.configs",),
    ("pipeline.connections", "pipeline.schema", "pipeline.validation", "pipeline.ingest"),
    ("pipeline.evaluation", "pipeline.release"),
    ("pipeline",),
    ("pipeline.local",),
    ("recommend", "experiments"),
    ("benchmarks",),
    ("examples", "local_runner", "kubeflow_runner"),
)
ROOMS = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MOST_FILES = 14
FOLDERS = sorted({room.split(".")[0] for room in ROOMS if (ROOT / room.split(".")[0]).is_dir()})
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for pattern in (*(f"{folder}/**/*.py" for folder in FOLDERS), "*_runner.py")
    for path in ROOT.glob(pattern)
}


def room(module: str) -> str:
    parts = module.split(".")
    names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next(name for name in names if name in ROOMS)


def imports(source: str) -> set[str]:
    """The modules of ours that a source imports, at its top or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    # `from pipeline import gate` names a module, `from pipeline.gate import judge` a thing in one.
    owners = {name if name in MODULES else name.rpartition(".")[0] for name in names}
    return {owner for owner in owners if owner in MODULES}


def wrong_way(module: str, imported: set[str]) -> list[str]:
    own = room(module)
    return sorted(
        name for name in imported if room(name) != own and ROOMS[room(name)] >= ROOMS[own]
    )


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_one_way(module):
    wrong = wrong_way(module, imports(MODULES[module].read_text(encoding="utf-8")))
    assert not wrong, f"{module} is below, or beside, what it imports: {', '.join(wrong)}"


def test_files_of_a_room_import_each_other_without_a_circle():
    found = {module: imports(path.read_text("utf-8")) for module, path in MODULES.items()}
    while found:
        free = {module for module, names in found.items() if not (names - {module}) & found.keys()}
        assert free, f"These import each other in a circle: {', '.join(sorted(found))}"
        found = {module: names for module, names in found.items() if module not in free}


def test_an_import_of_the_wrong_way_is_seen():
    source = "def later():\n    from pipeline.evaluation import gate\n"
    assert wrong_way("model.ranker", imports(source)) == ["pipeline.evaluation.gate"]
    assert wrong_way("model.training.loop", imports("import model.export.signatures")) == [
        "model.export.signatures"
    ]
    assert not wrong_way("pipeline.pipeline", imports(source))


@pytest.mark.parametrize(
    "folder",
    sorted(
        {
            path.parent.relative_to(ROOT)
            for top in (*FOLDERS, "tests")
            for path in ROOT.glob(f"{top}/**/*.py")
        }
    ),
    ids=str,
)
def test_no_folder_overflows(folder):
    files = [path.name for path in (ROOT / folder).glob("*.py") if path.name != "__init__.py"]
    assert len(files) <= MOST_FILES, f"{folder} holds {len(files)} files: {sorted(files)}"
