"""Training of the U-shaped network, the next `light`: coded pictures (`dataset`) and the loop (`trainer`)."""
