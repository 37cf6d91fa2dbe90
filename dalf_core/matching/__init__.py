"""From two sets of features to verified matches, and the keyframes that bridge large deformations."""
