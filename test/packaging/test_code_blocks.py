"""Every code block of README.md and docs/: Python runs, the options, arguments and parameters of commands exist; what is neither says why.

A block that cannot be run or checked carries a comment just before it: <!-- not run: the reason -->.
"""
from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import runpy
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = re.compile(r"<!-- not run: \S.*-->")
RUN_MODULES = {name: f"dalf_ros.{name}" for name in ("demo", "play", "record", "simulate", "register", "report")} | {
    name: f"dalf_core.commands.{name}" for name in ("match", "video", "live", "export", "template", "retrieve")} | {
    "register-many": "dalf_ros.many.command", "export-dataset": "dalf_ros.export_dataset", "view": "dalf_ros.view.command",
    "train": "dalf_training.command", "evaluate": "dalf_training.evaluate"}
NODES = ("feature_node", "registration_node", "tracker")
SHELL = {"cd", "echo", "git", "for", "done", "source", "mkdir", "touch", "sudo", "pip", "rosdep", "uv"}      # not ours
STAND_INS = {"N": "1", "M": "1"}


@dataclass(frozen=True)
class Block:
    """A code block: where it stands, its language ("" if not told), its text, and the line of text before it."""

    page: Path
    line: int
    language: str
    text: str
    before: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"

    @property
    def python(self) -> bool:
        return self.language == "python"


def blocks(page: Path) -> list[Block]:
    """The fenced and the indented code blocks of a page."""
    lines, found, number = page.read_text(encoding="utf-8").splitlines(), [], 0
    while number < len(lines):
        start = number
        before = next((line for line in reversed(lines[:start]) if line.strip()), "")
        if fence := re.fullmatch(r"\s*```(\w*)", lines[number]):
            number = next(n for n in range(start + 1, len(lines)) if lines[n].strip() == "```")
            found.append(Block(page, start + 1, fence[1], "\n".join(lines[start + 1:number]), before))
        elif re.match(r" {4}\S", lines[number]) and (start == 0 or not lines[start - 1].strip()) and not before.startswith(("- ", "* ")):
            while number < len(lines) and (lines[number].startswith("    ") or not lines[number].strip()):
                number += 1
            number -= 1
            found.append(Block(page, start + 1, "", "\n".join(line[4:] for line in lines[start:number + 1]).rstrip(), before))
        number += 1
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]
CHECKED = [block for block in BLOCKS if not NOT_RUN.fullmatch(block.before.strip())]


def commands(text: str) -> list[list[str]]:
    """The words of every command of a shell block; [optional] words are taken, alternatives a|b by their first."""
    joined = re.sub(r"\\\n\s*", " ", text)
    words = []
    for line in joined.splitlines():
        if line.count("[") == line.count("]") and "[--" in line:
            line = line.replace("[", "").replace("]", "")
        line = re.sub(r"<\((.*?)\)", "FILE", line)
        command: list[str] = []
        for token in [*shlex.split(line.replace(";", " ; "), comments=True), ";"]:
            if token not in ("&&", ";", "do"):
                command.append(re.sub(r"^([a-z_.]+)\|.*", r"\1", token))
            elif command:
                words.append(command)
                command = []
    return words


class Parsed(BaseException):
    """The command line was understood."""


def parses(monkeypatch: pytest.MonkeyPatch, start, arguments: list[str]) -> None:
    """`start()` reads the command line `arguments` by argparse, understands it, and is stopped there."""
    known = argparse.ArgumentParser.parse_known_args

    def stopped(parser, args=None, namespace=None):
        _, unknown = known(parser, args, namespace)
        assert not unknown, f"{unknown} are unknown to {parser.prog}"
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", stopped)
    monkeypatch.setattr(sys, "argv", ["program", *[STAND_INS.get(word, word) for word in arguments]])
    with pytest.raises(Parsed):
        start()


def check_module(monkeypatch, module: str, arguments: list[str]) -> None:
    if module.removeprefix("dalf_ros.") in NODES:
        return check_ros_arguments(module.removeprefix("dalf_ros."), arguments)
    if module == "dalf_training":
        module = "dalf_training.command"
    if module == "dalf_ros.demo":
        module = "dalf_ros.demo.command"
    main = importlib.import_module(module).main
    parses(monkeypatch, lambda: main([STAND_INS.get(word, word) for word in arguments]), arguments)


def check_ros_arguments(node: str, arguments: list[str]) -> None:
    """--ros-args -p PARAMETER:=VALUE -r TOPIC:=TOPIC: a node has that parameter, and its page names the topic."""
    from dalf_ros.nodes.parameters import TABLES

    nodes = ("feature_node", "registration_node") if node == "tracker" else (node,)
    known = {parameter.name for name in nodes for parameter in TABLES[name]}
    pages = "".join((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in nodes)
    assert arguments[:1] == ["--ros-args"] and len(arguments) % 2
    for flag, value in zip(arguments[1::2], arguments[2::2]):
        name, assigned, _ = value.partition(":=")
        assert flag in ("-p", "-r") and assigned, (flag, value)
        assert name in known if flag == "-p" else f"`{name}`" in pages, f"{node} has no {name}"


def check_launch(file: str, arguments: list[str]) -> None:
    source = importlib.util.spec_from_file_location("launched", ROOT / "launch" / file)
    assert source and source.loader and (ROOT / "launch" / file).exists(), f"there is no launch/{file}"
    pytest.importorskip("launch.actions", reason="this ROS brings no launch", exc_type=ImportError)
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    declared = {argument.name: argument for argument in module.generate_launch_description().get_launch_arguments()}
    for argument in arguments:
        name, assigned, value = argument.partition(":=")
        assert assigned and name in declared, f"{file} has no argument {argument}"
        choices = declared[name].choices
        assert not choices or value in choices, f"{argument}: {choices}"


def check_command(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """Raise where the command, or what it is given, does not exist."""
    match words:
        case ["./run", "exec", "bash", "-c", text]:
            for inner in commands(re.sub(r"^(\w+=\S+ )+", "", text)):
                check_command(monkeypatch, inner)
        case ["./run", "exec", *rest]:
            check_command(monkeypatch, rest)
        case ["./run", ("test" | "requirements" | "build" | "shell"), *_]:
            pass
        case ["./run" | "dalf", command, *arguments]:
            assert command in RUN_MODULES, f"there is no command {command}"
            module = RUN_MODULES[command]
            check_module(monkeypatch, module, arguments)
        case ["python" | "python3", "-m", module, *arguments] if module.startswith("dalf_"):
            check_module(monkeypatch, module, arguments)
        case ["python" | "python3", "-m", "pip" | "venv" | "colcon", *_]:
            pass
        case ["python", script, *arguments]:
            assert (ROOT / script).is_file(), f"there is no {script}"
            monkeypatch.syspath_prepend(str(ROOT / Path(script).parent))
            # not as "__main__": some start themselves anew with other variables of the environment
            parses(monkeypatch, lambda: runpy.run_path(str(ROOT / script), run_name="script")["main"](), arguments)
        case ["torchrun", *rest] if "dalf_training" in rest:
            check_module(monkeypatch, "dalf_training", [word for word in rest[rest.index("dalf_training") + 1:] if word != "..."])
        case ["ros2", "launch", "dalf", file, *arguments]:
            check_launch(file, arguments)
        case ["ros2", "run", "dalf", node, *arguments]:
            assert node in NODES
            check_ros_arguments(node, arguments)
        case [first, *_]:
            assert first in SHELL, f"neither run nor checked: {' '.join(words)}; mark the block with <!-- not run: the reason -->"


SHELL_LINES = [pytest.param(block, words, id=f"{block} {' '.join(words)[:40]}")
               for block in CHECKED if not block.python for words in commands(block.text)]


@pytest.mark.parametrize("block, words", SHELL_LINES)
def test_shell(block: Block, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert block.language in ("", "bash")
    check_command(monkeypatch, words)


def results_bag(path: Path) -> Path:
    """A bag of results as register writes them: a reference and one frame, with its status and a named point."""
    import numpy as np

    from dalf_ros.bags.bag_writer import BagWriter
    from dalf_ros.conversions.messages import header, surface_mesh

    head, vertices = header(10**18, "camera"), np.zeros((3, 3))
    point = {"name": "grasp", "position": {"x": 0.1, "y": 0.2, "z": 0.7}}
    with BagWriter(path) as bag:
        bag.write_results([("surface/reference", surface_mesh(head, head, 1, vertices, triangles=[[0, 1, 2]])),
                           ("surface/mesh", surface_mesh(head, head, 1, vertices)), ("status", {"header": head, "status": 1}),
                           ("points", {"header": head, "points": [point]})], 10**18)
    return path


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the pages' Python takes for given: two pictures, an extractor, matches, results of a run."""
    import cv2

    from dalf_core import DALF, match_images

    a, b = (cv2.imread(str(ROOT / "examples" / "data" / "color" / name)) for name in ("0.jpg", "1.jpg"))
    dalf = DALF(top_k=512)
    pair = match_images(a, b, dalf=dalf)
    return {"image_a": a, "image_b": b, "template_image": a, "image": b, "dalf": dalf, "template_xy": pair.points_a,
            "image_xy": pair.points_b, "xy": pair.points_a[:3], "results": results_bag(tmp_path_factory.mktemp("run") / "results")}


@pytest.mark.parametrize("block", [block for block in CHECKED if block.python], ids=str)
def test_python(block: Block, names: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = ROOT / "examples" / "as_printed.py"        # where the scripts of the pages stand: __file__
    exec(compile(block.text, str(block), "exec"), {**names, "__file__": str(script), "__name__": "__main__"})


def test_marks_stand_before_blocks() -> None:
    marked = sum(len(NOT_RUN.findall(page.read_text(encoding="utf-8"))) for page in PAGES)
    assert len(BLOCKS) > 25 and len(BLOCKS) - len(CHECKED) == marked


@pytest.mark.parametrize("text", ["./run matsch A B", "./run match A B --no-such-option",
                                  "ros2 launch dalf live.launch.py kamera:=realsense",
                                  "ros2 launch dalf live.launch.py camera:=no_such_camera", "ros2 launch dalf none.launch.py",
                                  "ros2 run dalf feature_node --ros-args -p no_such:=1", "python benchmarks/none.py", "frobnicate"])
def test_wrong_lines_are_found(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((AssertionError, SystemExit)):
        check_command(monkeypatch, shlex.split(text))
