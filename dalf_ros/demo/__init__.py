"""`./run demo`: a simulated cloth, followed offline and through live nodes, measured against its exact ground truth."""
