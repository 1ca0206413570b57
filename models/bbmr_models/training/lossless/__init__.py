"""Training on lossless planes: pictures (`pool`), crops with rates chosen while training (`sampler`), `data`."""
