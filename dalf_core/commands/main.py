"""`dalf COMMAND …`: what pip installs. Each command is an entry point of the group "dalf.commands", so that no package knows the others."""
from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points

GROUP = "dalf.commands"
# What pip must be asked for beside the library, by the first module that is found missing.
EXTRAS = {"av": "video", "pyvista": "video", "rosbags": "ros-bags", "apsw": "ros-bags", "mcap": "ros-bags", "ruamel": "ros-bags",
          "zstandard": "ros-bags", "jinja2": "ros-bags", "kornia": "train", "yaml": "train", "tensorboard": "train", "onnx": "export",
          "onnxscript": "export", "onnxruntime": "export", "warp": "cuda", "ray": "many", "fsspec": "many", "pyarrow": "datasets",
          "pygltflib": "datasets"}
IN_SEVERAL = {"matplotlib": "video,train"}


def main(args: list[str] | None = None) -> int:
    """Exit status: the command's; 2 for one that does not exist; 1 where a Python package is missing."""
    arguments = sys.argv[1:] if args is None else args
    commands = {point.name: point for point in entry_points(group=GROUP)}
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage(commands))
        return 0
    name, *rest = arguments
    if name not in commands:
        print(f"dalf: there is no command {name!r}\n\n{usage(commands)}", file=sys.stderr)
        return 2
    try:
        return commands[name].load()(rest)
    except ModuleNotFoundError as error:
        print(f"dalf {name}: {missing(error)}", file=sys.stderr)
        return 1


def usage(commands: dict[str, EntryPoint]) -> str:
    """The commands that are installed."""
    return f"usage: dalf COMMAND ...\n\ncommands: {', '.join(sorted(commands))}\ndalf COMMAND --help lists its options"


def missing(error: ModuleNotFoundError) -> str:
    """Which package is missing, and what to type."""
    module = (error.name or str(error)).partition(".")[0]
    extra = EXTRAS.get(module) or IN_SEVERAL.get(module)
    mend = f"dalf[{extra}]" if extra else module
    return f"the Python module {module!r} is missing for {sys.executable}. Install it: {sys.executable} -m pip install '{mend}'"


if __name__ == "__main__":
    sys.exit(main())
