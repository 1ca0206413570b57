"""Training of JointSR: pictures (`pool`, `coded_pool`), batches (`sampler`), the loop (`loop`), the command (`cli`)."""
