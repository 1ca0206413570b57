"""Encoding: a photo becomes a container (the paper's Downscaling Module).

`encoder` calls the other modules:

    options, budget    check the arguments
    original           keeps the photo's own file instead, if that is smaller

With an overall rate, planes are lossless:

    downscale          makes a plane of the whole picture for every rate
    rate_map           chooses a rate for each block, by means of
      distortion         the error of each block at each rate after bicubic upscaling
      predict            the error that the network is expected to leave of that
      allocate           the choice of least error within the budget of samples

With any other budget, they are lossy:

    budget_search      finds the quality that keeps a number of bytes or reaches a PSNR
    lossy              codes the photo at one quality, by means of
      operating_points   what a quality means for each plane, and what an error is worth
      survey, trial      what the photo needs and loses at each rate, by fast encodes
      block_bytes        the share of each block in that
      network_effect     the error that the network is expected to leave
      candidates         the choice of least error and bytes
      real_effect        the network's real output, at high efforts
"""
