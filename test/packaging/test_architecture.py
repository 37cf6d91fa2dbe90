"""The rooms of docs/architecture.md: which may import which, no circles, no folder too full to search."""
from __future__ import annotations

import ast
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {"dalf_core": "dalf_core", "dalf_ros": "dalf_ros", "training": "dalf_training"}     # folder: package
MOST_FILES = 16             # side by side in a folder

EVERYBODY = {"dalf_core.files", "dalf_ros.errors", "dalf_ros.late_answers"}     # rooms and files that may be imported by all above them
# A room may import itself and those named here; the name of a package stands for the files on top of it.
MAY_IMPORT = {
    "dalf_core.files": {"dalf_core"},
    "dalf_core.features": {"dalf_core"},
    "dalf_core.matching": {"dalf_core"},
    "dalf_core.registration": {"dalf_core"},
    "dalf_core.recordings": {"dalf_core"},
    "dalf_core.image_registration": {"dalf_core"},
    "dalf_core.image_matching": {"dalf_core", "dalf_core.features", "dalf_core.matching", "dalf_core.image_registration"},
    "dalf_core.templates": {"dalf_core", "dalf_core.features", "dalf_core.matching", "dalf_core.image_matching",
                            "dalf_core.registration"},
    "dalf_core.tracking": {"dalf_core", "dalf_core.features", "dalf_core.matching", "dalf_core.image_registration",
                           "dalf_core.image_matching", "dalf_core.registration", "dalf_core.templates"},
    "dalf_core.drawing": {"dalf_core", "dalf_core.features", "dalf_core.image_registration"},
    "dalf_core.viewing": {"dalf_core", "dalf_core.drawing", "dalf_core.image_registration"},
    "dalf_core.datasets": {"dalf_core", "dalf_core.image_registration"},
    "dalf_core.reports": {"dalf_core", "dalf_core.drawing", "dalf_core.image_registration"},
    "dalf_core.commands": {"dalf_core.viewing", "dalf_core", "dalf_core.features", "dalf_core.matching", "dalf_core.image_registration",
                           "dalf_core.image_matching", "dalf_core.templates", "dalf_core.tracking", "dalf_core.drawing",
                           "dalf_core.recordings"},
    "dalf_training.data": {"dalf_core", "dalf_core.features", "dalf_training"},
    "dalf_training.losses": {"dalf_core", "dalf_core.features", "dalf_training.data"},
    "dalf_training.evaluation": {"dalf_core", "dalf_core.features", "dalf_core.commands", "dalf_core.drawing", "dalf_training.data"},
    "dalf_ros.images": {"dalf_core"},
    "dalf_ros.conversions": {"dalf_ros.images", "dalf_core", "dalf_core.tracking", "dalf_core.templates", "dalf_core.drawing",
                             "dalf_core.image_registration", "dalf_core.matching"},
    "dalf_ros.bags": {"dalf_ros.images", "dalf_core", "dalf_core.recordings", "dalf_ros.conversions"},
    "dalf_ros.nodes": {"dalf_ros.images", "dalf_core", "dalf_core.tracking", "dalf_core.templates", "dalf_ros.conversions"},
    "dalf_ros.templates": {"dalf_core", "dalf_core.templates", "dalf_core.commands", "dalf_core.tracking", "dalf_ros", "dalf_ros.bags",
                           "dalf_ros.images", "dalf_ros.conversions", "dalf_ros.nodes", "dalf_ros.offline"},
    "dalf_ros.client": {"dalf_core", "dalf_core.templates", "dalf_ros.conversions", "dalf_ros.nodes"},
    "dalf_ros.objects": {"dalf_core", "dalf_core.templates", "dalf_core.tracking", "dalf_ros", "dalf_ros.conversions", "dalf_ros.nodes",
                         "dalf_ros.templates"},
    "dalf_ros.services": {"dalf_core", "dalf_core.matching", "dalf_core.tracking", "dalf_core.templates", "dalf_core.drawing",
                          "dalf_ros.images", "dalf_ros.conversions", "dalf_ros.nodes", "dalf_ros.templates"},
    "dalf_ros.view": {"dalf_core", "dalf_core.commands", "dalf_core.viewing", "dalf_ros.conversions", "dalf_ros.nodes"},
    "dalf_ros.offline": {"dalf_ros.images", "dalf_core", "dalf_core.tracking", "dalf_core.templates", "dalf_core.matching",
                         "dalf_core.drawing", "dalf_core.image_registration", "dalf_core.recordings", "dalf_core.viewing",
                         "dalf_core.reports", "dalf_core.datasets", "dalf_ros.bags", "dalf_ros.conversions"},
    "dalf_ros.many": {"dalf_core", "dalf_core.commands", "dalf_core.recordings", "dalf_ros", "dalf_ros.bags", "dalf_ros.offline"},
    "dalf_ros.launch_support": {"dalf_ros.bags", "dalf_ros.conversions", "dalf_ros.nodes"},
    "dalf_ros.simulation": {"dalf_ros.images", "dalf_core", "dalf_ros.bags", "dalf_ros.conversions"},
}
BASIS = {"camera", "compiled", "depth", "depth_alignment", "depth_units", "lens", "options", "sixteen_bit", "stopwatch", "surface",
         "torch_device", "types"}      # files of dalf_core that import no room
FOREIGN = {"dalf_core": {"rclpy", "dalf", "dalf_ros", "dalf_training", "cv_bridge", "rosbags", "sensor_msgs"},
           "dalf_training": {"rclpy", "dalf", "dalf_ros", "cv_bridge", "rosbags", "sensor_msgs"}, "dalf_ros": {"dalf_training"}}


def module_name(path: Path) -> str:
    """dalf_core/features/pipeline.py as dalf_core.features.pipeline; a folder's __init__.py as the folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join((ROOMS[parts[0]], *parts[1:])).removesuffix(".__init__")


MODULES = {module_name(path): path for folder in ROOMS for path in sorted((ROOT / folder).rglob("*.py"))}


def imports_of(name: str) -> set[str]:
    """Everything that a module imports, as absolute names; of our own packages the module, wherever in the file it stands."""
    path, found = MODULES[name], set()
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {item.name for item in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = package[:len(package) - node.level + 1] if node.level else []
            base = ".".join([*source, *([node.module] if node.module else [])])
            found |= {full if (full := f"{base}.{item.name}") in MODULES else base for item in node.names}
    return found - {name}


def room_of(name: str) -> str:
    """The folder that a module is in."""
    return name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]


def own_imports(name: str) -> set[str]:
    return imports_of(name) & MODULES.keys()


def test_no_circles() -> None:
    # dalf_core's own __init__ names the public classes for type checkers alone
    graph = {name: own_imports(name) for name in MODULES if name != "dalf_core"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("package", FOREIGN)
def test_what_a_package_never_imports(package: str) -> None:
    bad = [(name, other) for name in MODULES if name.split(".")[0] == package for other in imports_of(name)
           if other.split(".")[0] in FOREIGN[package]]
    assert not bad


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_arrows_between_rooms(room: str) -> None:
    inside = [name for name in MODULES if f"{name}.".startswith(f"{room}.")]
    assert inside, f"there is no {room}"
    bad = [(name, other) for name in inside for other in own_imports(name)
           if not f"{other}.".startswith(f"{room}.") and not {other, room_of(other)} & (MAY_IMPORT[room] | EVERYBODY)]
    assert not bad


def test_the_basis_imports_no_room() -> None:
    bad = [(name, other) for name in BASIS for other in own_imports(f"dalf_core.{name}") if room_of(other) not in {"dalf_core"} | EVERYBODY]
    assert not bad


def test_folders_stay_small() -> None:
    count = Counter(path.parent for folder in (*ROOMS, "benchmarks", "launch", "test") for path in (ROOT / folder).rglob("*.py"))
    assert {str(folder.relative_to(ROOT)): files for folder, files in count.items() if files > MOST_FILES} == {}


def test_every_folder_says_what_lives_there() -> None:
    silent = [name for name, path in MODULES.items() if path.name == "__init__.py" and not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_the_page_names_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) <= 66
    folders = {path.parent.relative_to(ROOT).as_posix() for path in MODULES.values()}
    assert not [folder for folder in folders if f"`{folder}/`" not in page]
