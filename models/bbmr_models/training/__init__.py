"""Training of JointSR: pictures (`pool`, `coded`), batches (`sampler`), the loop (`loop`), the command (`cli`).

`schedule` decides the learning rate of a step, and `loss` what the network is trained for.
"""
