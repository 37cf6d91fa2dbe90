"""The tracking session that both doors drive: ROS nodes, and bags read frame by frame.

Data flows one way:  image -> FeatureTracker -> FrameMatches -> SurfaceTracker (with depth) -> SurfaceFrame.
"""
from .feature_tracker import FeatureTracker
from .frames import FeatureFrame, FrameMatches, SurfaceFrame, rescale_pixels
from .match_carrier import MatchCarrier
from .surface_tracker import SurfaceTracker

__all__ = ["FeatureFrame", "FeatureTracker", "FrameMatches", "MatchCarrier", "SurfaceFrame", "SurfaceTracker", "rescale_pixels"]
