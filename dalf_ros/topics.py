"""Names and types of the topics that the nodes publish and that result bags hold: relative names, remappable; their one home."""
from __future__ import annotations

FEATURES = "features"
MATCHES = "matches"
DEBUG_IMAGE = "~/debug_image"
POINTS = "surface/points"
MARKER = "surface/marker"
LANDMARKS = "surface/landmarks"
MESH = "surface/mesh"
REFERENCE = "surface/reference"
DEFORMATION = "deformation"
STATUS = "status"

TYPES = {
    FEATURES: "dalf/msg/FeatureArray",
    MATCHES: "dalf/msg/MatchArray",
    DEBUG_IMAGE: "sensor_msgs/msg/Image",
    POINTS: "sensor_msgs/msg/PointCloud2",
    MARKER: "visualization_msgs/msg/Marker",
    LANDMARKS: "visualization_msgs/msg/Marker",
    MESH: "dalf/msg/SurfaceMesh",
    REFERENCE: "dalf/msg/SurfaceMesh",
    DEFORMATION: "dalf/msg/DeformationField",
    STATUS: "dalf/msg/RegistrationStatus",
}
FEATURE_TOPICS = (FEATURES, MATCHES, DEBUG_IMAGE)
SURFACE_TOPICS = (POINTS, MARKER, LANDMARKS, MESH, REFERENCE, DEFORMATION, STATUS)
LATCHED = (REFERENCE,)                  # kept for subscribers that come late
ON_DEMAND = (DEBUG_IMAGE, POINTS, MARKER, LANDMARKS, MESH, DEFORMATION, FEATURES)   # made only while someone subscribes
