"""The tracking session that both doors drive: ROS nodes, and bags read frame by frame.

Data flows one way:  image -> image half -> FrameMatches -> SurfaceTracker (with depth) -> SurfaceFrame.
The image half is a FeatureTracker, driven by a SequentialTracker (recordings) or a BackgroundTracker (live), which carry matches to the
images that DALF does not see. One thing flows back to them: where the surface expects keypoints (matching.prediction).
A TemplateTracker, which needs no depth, registers the images of a film to one of them.
"""
from .background_tracker import BackgroundTracker
from .feature_tracker import FeatureTracker
from .frames import FeatureFrame, FrameMatches, SurfaceFrame
from .match_carrier import MatchCarrier
from .sequential_tracker import SequentialTracker
from .surface_tracker import SurfaceTracker

__all__ = ["BackgroundTracker", "FeatureFrame", "FeatureTracker", "FrameMatches", "MatchCarrier", "SequentialTracker", "SurfaceFrame",
           "SurfaceTracker"]
