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
COVARIANCE = "surface/covariance"
REFERENCE = "surface/reference"
DEFORMATION = "deformation"
STATUS = "status"
PREDICTION = "surface/prediction"
TEMPLATE = "template"
SELECTION = "selection"
SELECTED_IMAGE = "~/selected_image"
CLICKED_POINT = "clicked_point"     # from RViz and Foxglove
NAMED_POINTS = "points"
POINT_POSES = "points/poses"
POINT_MARKERS = "points/markers"

# How images come, named as image_transport does.
PACKED = ("compressed", "compressedDepth", "zstd")      # on a topic of that name below the plain one
CLOUD = "points"        # an organised PointCloud2 on the plain topic, in place of depth images
IMAGE_TRANSPORTS = ("raw", "compressed", "zstd")
DEPTH_TRANSPORTS = ("raw", "compressedDepth", "compressed", "zstd", CLOUD)

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
    COVARIANCE: "dalf/msg/SurfaceCovariance",
    REFERENCE: "dalf/msg/SurfaceMesh",
    DEFORMATION: "dalf/msg/DeformationField",
    STATUS: "dalf/msg/RegistrationStatus",
    PREDICTION: "dalf/msg/LandmarkPrediction",
    TEMPLATE: "dalf/msg/Template",
    SELECTION: "dalf/msg/Template",
    SELECTED_IMAGE: "sensor_msgs/msg/Image",
    NAMED_POINTS: "dalf/msg/SurfacePoints",
    POINT_POSES: "geometry_msgs/msg/PoseArray",
    POINT_MARKERS: "visualization_msgs/msg/MarkerArray",
}
FEATURE_TOPICS = (FEATURES, MATCHES, MATCHES_PREVIOUS, WARP, DEBUG_IMAGE, DEBUG_COMPRESSED, REGISTERED_IMAGE, TEMPLATE)
POINT_TOPICS = (NAMED_POINTS, POINT_POSES, POINT_MARKERS)
SURFACE_TOPICS = (POINTS, MARKER, LANDMARKS, MESH, COVARIANCE, REFERENCE, DEFORMATION, STATUS, PREDICTION, SELECTION,
                  SELECTED_IMAGE, *POINT_TOPICS)
LATCHED = (REFERENCE, TEMPLATE, SELECTION, SELECTED_IMAGE)         # kept for subscribers that come late
ON_DEMAND = (DEBUG_IMAGE, DEBUG_COMPRESSED, REGISTERED_IMAGE, WARP, MATCHES_PREVIOUS, POINTS, MARKER, LANDMARKS, MESH, COVARIANCE,
             DEFORMATION, FEATURES, PREDICTION, *POINT_TOPICS)      # made only while someone subscribes


def of_transport(topic: str, transport: str) -> str:
    """The topic on which image_transport sends the images of `topic`; one that is named with its transport is taken as it is."""
    return topic if transport not in PACKED or topic.endswith(f"/{transport}") else f"{topic}/{transport}"


def camera_info_beside(image: str) -> str:
    """The camera_info topic of an image topic, as image_transport has it: in the same namespace, whatever the transport."""
    for transport in PACKED:
        image = image.removesuffix(f"/{transport}")
    return image.rpartition("/")[0] + "/camera_info"
