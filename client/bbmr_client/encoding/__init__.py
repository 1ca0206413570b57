"""Encoding: a photo and an overall rate become a container (the paper's Downscaling Module).

`encoder` calls the other modules in this order:

    options      checks the arguments
    downscale    makes a plane of the whole picture for every rate
    rate_map     chooses a rate for each block, by means of
      distortion   the error of each block at each rate after bicubic upscaling
      predict      the error that the network is expected to leave of that
      allocate     the choice of least error within the budget of samples
    encoder      codes the blocks of each rate as one plane, and makes the container
    original     keeps the photo's own file instead, if that is smaller
"""
