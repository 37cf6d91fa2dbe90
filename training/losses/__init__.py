"""What the network is trained to minimise, and the layers and draws that serve it."""
