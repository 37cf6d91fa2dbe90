"""Pictures of features, matches, warps and surfaces."""
