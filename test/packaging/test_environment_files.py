"""The container, compose, devcontainer and pixi files name what there is in the repository, in the same versions."""
from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
STAGE_NAMES = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
COMMANDS = set(re.findall(r"^  ([a-z]+) ", subprocess.run([ROOT / "run", "help"], capture_output=True, text=True, check=True).stdout,
                          re.MULTILINE))


def stage(name: str) -> str:
    """The instructions of one stage, those of the stages it starts from included."""
    text = re.split(r"^(?=FROM )", DOCKERFILE, flags=re.MULTILINE)
    own = next(part for part in text if re.match(rf"FROM \S+ AS {name}\n", part))
    base = own.split()[1]
    return (stage(base) if base in STAGE_NAMES else "") + own


def pins(*names: str) -> dict[str, str]:
    """Package to version, as Python 3.12 takes them."""
    lines = [line.partition(" ;")[0] for name in names for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
             if line and not line.startswith("#") and "python_version >=" not in line]
    return dict(line.split("==") for line in lines)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))


def test_the_image_holds_the_system_packages_that_run_would_install() -> None:
    script = (ROOT / "run").read_text(encoding="utf-8")
    function = script[script.index("missing_system_packages() {"):script.index("# apt_install")]
    wanted = set(re.findall(r"lib\S+\.so\S* (lib[\w.+-]+)", function)) | {"g++", "python3-venv", "python3-dev"}
    assert len(wanted) >= 8
    for name in ("cpu", "cuda"):
        assert wanted <= set(stage(name).split())


def test_run_and_its_commands_and_requirements_exist() -> None:
    called = re.findall(r"\./run ([a-z]+)", DOCKERFILE)
    assert called and set(called) <= COMMANDS
    files = re.findall(r"requirements/\S+\.txt", DOCKERFILE)
    assert files and all((ROOT / file).is_file() for file in files)
    assert STAGE_NAMES == {"base", "camera", "cuda", "cpu"}


def test_every_ros_package_of_the_image_is_of_its_distribution() -> None:
    distribution = re.search(r"^FROM ros:([a-z]+)-ros-base AS base$", DOCKERFILE, re.MULTILINE)
    assert distribution
    assert set(re.findall(r"\bros-([a-z]+)-", DOCKERFILE)) == {distribution[1]}
    assert "ros-jazzy-cv-bridge" in stage("cpu")                # package.xml's one dependency outside ros-base that has Python code


def test_compose_builds_stages_and_runs_what_there_is(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert (ROOT / "docker" / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]).is_file() and service["build"]["target"] in STAGE_NAMES
        assert service["network_mode"] == service["ipc"] == "host"
    for name in ("tracker", "tracker-cuda"):
        command = compose["services"][name]["command"]
        assert command[0] in COMMANDS
        assert (ROOT / "launch" / command[command.index("dalf") + 1]).is_file()


def test_compose_gives_the_profiles_and_the_driver_options_of_the_pages(compose: dict[str, Any]) -> None:
    camera = compose["services"]["camera"]
    line = " ".join(camera["command"])
    assert f"`{line}`" in (ROOT / "docs" / "launch.md").read_text(encoding="utf-8")
    named = re.findall(r"/opt/dalf/(config/\S+)", " ".join(camera["environment"].values()))
    assert len(named) == 2 and all((ROOT / file).is_file() for file in named)


def test_devcontainer_builds_a_stage_and_sets_up_through_run() -> None:
    settings = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    build = settings["build"]
    assert (ROOT / ".devcontainer" / build["dockerfile"]).is_file() and build["target"] in STAGE_NAMES
    assert (ROOT / ".devcontainer" / build["context"]).resolve() == ROOT
    assert settings["postCreateCommand"].split()[0] == "./run" and settings["postCreateCommand"].split()[1] in COMMANDS


def test_pixi_has_the_versions_of_the_requirements() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 brings it")
    pixi = tomllib.loads((ROOT / "pixi.toml").read_text(encoding="utf-8"))
    wanted = pins("core", "tools", "test")
    del wanted["opencv-python-headless"]                        # conda's, as cv_bridge was built with
    given = {name: version.removeprefix("==") for name, version in pixi["pypi-dependencies"].items()}
    given |= {name: pixi["dependencies"][name] for name in ("numpy", "scipy")}
    assert given == wanted


def test_cyclone_profile_asks_for_a_buffer_but_does_not_insist() -> None:
    """With `min`, Cyclone DDS ends the process where the kernel's limit is lower."""
    space = "{https://cdds.io/config}"
    domain = ElementTree.parse(ROOT / "config" / "cyclonedds.xml").getroot().find(f"{space}Domain")
    assert domain is not None and domain.attrib == {"Id": "any"}
    size = domain.find(f"{space}Internal/{space}SocketReceiveBufferSize")
    assert size is not None and set(size.attrib) == {"max"}
    image_bytes, mib = 640 * 480 * 3, 2 ** 20
    assert int(size.attrib["max"].removesuffix("MiB")) * mib > 10 * image_bytes
