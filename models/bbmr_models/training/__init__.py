"""Training of JointSR: the loop (`loop`) and the command (`cli`), on one of two kinds of data.

`coded` has pictures with coding errors, made once, for `light`. `lossless` makes lossless planes while training, for
the paper's setting. `schedule` decides the learning rate of a step, and `loss` what the network is trained for.
"""
