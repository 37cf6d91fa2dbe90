"""Follow a surface through a film or the pictures of a folder, and tell where one of its points is in every frame."""
import sys
from pathlib import Path

from dalf_core import DALF, PictureSequence
from dalf_core.image_registration.video_reader import VideoReader
from dalf_core.recordings.picture_sequence import find_pictures
from dalf_core.tracking.template_tracking import TemplateTracker

name = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data"
pictures = find_pictures(name)
with PictureSequence(pictures) if pictures else VideoReader(name) as clip:
    reference = clip.frame(0)
    tracker = TemplateTracker(DALF(top_k=1024), reference)
    point = [reference.shape[1] / 2, reference.shape[0] / 2]
    for number, image in enumerate(clip):
        frame = tracker.process(image)
        if frame.warp is None:
            print(f"{number}: lost, {frame.reason}")
        else:
            print(f"{number}: {frame.method}, {frame.used} matches, the point is at {frame.warp.image_positions([point])[0].round(1)}")
