"""Which pictures of a folder are colour, depth and mask, and which of them belong together, by the layouts that datasets have."""
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

COLOR, DEPTH, MASK = ("color", "colour", "rgb", "image", "images"), ("depth", "depths"), ("mask", "masks")
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".pgm", ".ppm")
DEPTH_FILES = (".png", ".tif", ".tiff", ".pgm", ".npy")
TUM_LISTS = ("associations.txt", "associated.txt", "association.txt", "associate.txt")
TUM_METRES_PER_UNIT = 1 / 5000      # https://cvg.cit.tum.de/data/datasets/rgbd-dataset/file_formats
NANOSECONDS = 1_000_000_000
KNOWN = ("a TUM RGB-D folder (rgb/, depth/, associations.txt), or color/ and depth/ (also rgb/, images/; optional mask/) whose names "
         "agree in their numbers, or pictures NAME.color.png and NAME.depth.png beside each other")


@dataclass(frozen=True)
class Entry:
    """One frame. depth, mask: None where the folder holds none. gap_ns: how far off the nearest depth is, where that is why."""

    stamp_ns: int
    color: Path
    depth: Path | None = None
    mask: Path | None = None
    gap_ns: int | None = None


@dataclass(frozen=True)
class Layout:
    """The frames in order. name: what the folder was taken for, in words. metres_per_unit: of its depth; None: as its type says."""

    name: str
    entries: list[Entry]
    has_depth: bool
    has_mask: bool
    metres_per_unit: float | None = None


def find_layout(folder: Path, fps: float, tolerance_s: float) -> Layout:
    """The folder's frames. fps: where names are mere numbers. tolerance_s: of stamps. ValueError: of no layout that is known, or empty."""
    color, depth, mask = (folder_below(folder, names) for names in (COLOR, DEPTH, MASK))
    if color is not None and depth is not None and (lists := _tum_lists(folder)):
        return _tum(folder, lists, int(tolerance_s * NANOSECONDS))
    if color is not None:
        colors = pictures_in(color, PICTURES)
        depths = [] if depth is None else pictures_in(depth, DEPTH_FILES)
        masks = [] if mask is None else pictures_in(mask, PICTURES)
        name = ", ".join(f"{role} {place.name}/" for role, place in (("colour", color), ("depth", depth), ("mask", mask)) if place)
        return _layout(f"folders of pictures ({name})", colors, depths, masks, fps, tolerance_s)
    here = pictures_in(folder, DEPTH_FILES + PICTURES)
    roles = {role: [path for path in here if _role(path) == role] for role in ("color", "depth", "mask")}
    if not roles["color"]:
        raise ValueError(f"{folder} holds no pictures in a layout that is known: {KNOWN}")
    name = "pictures beside each other (" + ", ".join(f"*{role}*" for role, paths in roles.items() if paths) + ")"
    return _layout(name, roles["color"], roles["depth"], roles["mask"], fps, tolerance_s)


def folder_below(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The first of the names that is a folder in it, in small or capital letters."""
    places = {place.name.lower(): place for place in folder.iterdir() if place.is_dir()}
    return next((places[name] for name in names if name in places), None)


def pictures_in(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Its files with these endings, hidden ones left out, in the order of their numbers."""
    files = (path for path in folder.iterdir() if path.suffix.lower() in endings and path.name[0] != "." and path.is_file())
    return sorted(files, key=_order)


def _order(path: Path) -> tuple[int, float, str]:
    """By number where there is one (9 before 10), else by name."""
    number = number_of(path)
    return (1, 0.0, path.name) if number is None else (0, number, path.name)


def number_of(path: Path) -> float | None:
    """The number in a file's name: seconds (1305031102.175304), else its longest run of digits, the last of equal ones; None without."""
    found = re.findall(r"\d{9,}\.\d+", path.name[:-len(path.suffix)] if path.suffix else path.name)
    if found:
        return float(found[-1])
    runs = re.findall(r"\d+", path.stem)
    return float(max(reversed(runs), key=len)) if runs else None


def _role(path: Path) -> str:
    words = re.split(r"[^a-z]+", path.stem.lower())
    return next((role for role, names in (("depth", DEPTH), ("mask", MASK), ("color", COLOR)) if set(words) & set(names)), "")


def _layout(name: str, colors: list[Path], depths: list[Path], masks: list[Path], fps: float, tolerance_s: float) -> Layout:
    if not colors:
        raise ValueError(f"{name}: there is no colour picture ({', '.join(PICTURES)}) in it")
    seconds = [number_of(path) for path in colors]
    is_stamped = all(number is not None and "." in path.stem and number > 1e8 for number, path in zip(seconds, colors))
    if is_stamped:
        stamps = [_stamp(path) for path in colors]
        find_depth = _nearest(depths, int(tolerance_s * NANOSECONDS))
    else:
        stamps = [round(index * NANOSECONDS / fps) for index in range(len(colors))]
        find_depth = _same_number(depths, "depth")
    find_mask = _same_number(masks, "mask")
    entries = []
    for stamp_ns, path in zip(stamps, colors):
        depth, gap_ns = find_depth(path)
        entries.append(Entry(stamp_ns, path, depth, find_mask(path)[0], gap_ns))
    if depths and not is_stamped and not any(entry.depth for entry in entries):
        raise ValueError(f"{name}: no depth image belongs to a colour one: their numbers never agree ({colors[0].name}, {depths[0].name})")
    return Layout(name, entries, bool(depths), bool(masks))


Find = Callable[[Path], tuple[Path | None, int | None]]         # a colour picture to its depth image, or the gap to the nearest


def _same_number(paths: list[Path], role: str) -> Find:
    """By the same stem, else by the same number."""
    stems = {path.stem: path for path in paths}
    numbers: dict[float | None, list[Path]] = {}
    for path in paths:
        numbers.setdefault(number_of(path), []).append(path)

    def find(color: Path) -> tuple[Path | None, int | None]:
        alike = [stems[color.stem]] if color.stem in stems else numbers.get(number_of(color), [])
        if len(alike) > 1:
            raise ValueError(f"{alike[0].name} and {alike[1].name} have the same number: which is the {role} of {color.name}?")
        return (alike[0] if alike else None), None

    return find


def _nearest(paths: list[Path], tolerance_ns: int) -> Find:
    """By the nearest stamp."""
    stamps = [(_stamp(path), path) for path in paths]

    def find(color: Path) -> tuple[Path | None, int | None]:
        if not stamps:
            return None, None
        gap_ns, path = min((abs(stamp - _stamp(color)), path) for stamp, path in stamps)
        return (path, None) if gap_ns <= tolerance_ns else (None, gap_ns)

    return find


def _stamp(path: Path) -> int:
    """Nanoseconds of a name in seconds; exact, which a float is not."""
    return _nanoseconds(re.findall(r"\d{9,}\.\d+", path.name[:-len(path.suffix)])[-1])


def _nanoseconds(seconds: str) -> int:
    whole, _, part = seconds.partition(".")
    return int(whole) * NANOSECONDS + int((part + "0" * 9)[:9])


def _tum_lists(folder: Path) -> list[Path]:
    """The file that associates colour and depth, or the two that list them."""
    for name in TUM_LISTS:
        if (folder / name).is_file():
            return [folder / name]
    both = [folder / "rgb.txt", folder / "depth.txt"]
    return both if all(path.is_file() for path in both) else []


def _tum(folder: Path, lists: list[Path], tolerance_ns: int) -> Layout:
    """As the TUM RGB-D benchmark lists its frames: lines of stamp and file, colour and depth in one line or in two files."""
    if len(lists) == 1:
        rows = _rows(lists[0], 4)
        first_is_depth = all(Path(row[1]).parts[0].lower() in DEPTH for row in rows)
        rows = [row[2:] + row[:2] for row in rows] if first_is_depth else rows
        entries = [Entry(_nanoseconds(row[0]), folder / row[1], folder / row[3]) for row in rows]
    else:
        depths = [(_nanoseconds(stamp), folder / name) for stamp, name in _rows(lists[1], 2)]
        entries = []
        for stamp, name in _rows(lists[0], 2):
            gap_ns, depth = min((abs(other - _nanoseconds(stamp)), path) for other, path in depths)
            is_near = gap_ns <= tolerance_ns
            entries.append(Entry(_nanoseconds(stamp), folder / name, depth if is_near else None, None, None if is_near else gap_ns))
    name = f"a TUM RGB-D folder ({', '.join(path.name for path in lists)}; depth in 1/5000 m)"
    return Layout(name, sorted(entries, key=lambda entry: entry.stamp_ns), True, False, TUM_METRES_PER_UNIT)


def _rows(path: Path, columns: int) -> list[list[str]]:
    lines = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip() and line[0] != "#"]
    for line in lines:
        if len(line) < columns or not all(re.fullmatch(r"\d+(\.\d*)?", word) for word in line[:columns:2]):
            raise ValueError(f"{path}: a line is not of {columns // 2} stamps and files: {' '.join(line)[:80]}")
    if not lines:
        raise ValueError(f"{path} lists nothing")
    return [line[:columns] for line in lines]
