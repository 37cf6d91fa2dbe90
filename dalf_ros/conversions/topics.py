"""Names and types of the topics that the nodes publish and that result bags hold: relative names, remappable; their one home."""
from __future__ import annotations

FEATURES = "features"
MATCHES = "matches"
MATCHES_PREVIOUS = "matches/previous"
WARP = "warp"
DEBUG_IMAGE = "~/debug_image"
DEBUG_COMPRESSED = "~/debug_image/compressed"
REGISTERED_IMAGE = "~/registered_image"
POINTS = "surface/points"
MARKER = "surface/marker"
LANDMARKS = "surface/landmarks"
MESH = "surface/mesh"
REFERENCE = "surface/reference"
DEFORMATION = "deformation"
STATUS = "status"
PREDICTION = "surface/prediction"

TYPES = {
    FEATURES: "dalf/msg/FeatureArray",
    MATCHES: "dalf/msg/MatchArray",
    MATCHES_PREVIOUS: "dalf/msg/MatchArray",
    WARP: "dalf/msg/ImageWarp",
    DEBUG_IMAGE: "sensor_msgs/msg/Image",
    DEBUG_COMPRESSED: "sensor_msgs/msg/CompressedImage",
    REGISTERED_IMAGE: "sensor_msgs/msg/Image",
    POINTS: "sensor_msgs/msg/PointCloud2",
    MARKER: "visualization_msgs/msg/Marker",
    LANDMARKS: "visualization_msgs/msg/Marker",
    MESH: "dalf/msg/SurfaceMesh",
    REFERENCE: "dalf/msg/SurfaceMesh",
    DEFORMATION: "dalf/msg/DeformationField",
    STATUS: "dalf/msg/RegistrationStatus",
    PREDICTION: "dalf/msg/LandmarkPrediction",
}
FEATURE_TOPICS = (FEATURES, MATCHES, MATCHES_PREVIOUS, WARP, DEBUG_IMAGE, DEBUG_COMPRESSED, REGISTERED_IMAGE)
SURFACE_TOPICS = (POINTS, MARKER, LANDMARKS, MESH, REFERENCE, DEFORMATION, STATUS, PREDICTION)
LATCHED = (REFERENCE,)                  # kept for subscribers that come late
ON_DEMAND = (DEBUG_IMAGE, DEBUG_COMPRESSED, REGISTERED_IMAGE, WARP, MATCHES_PREVIOUS, POINTS, MARKER, LANDMARKS, MESH, DEFORMATION,
             FEATURES, PREDICTION)      # made only while someone subscribes
