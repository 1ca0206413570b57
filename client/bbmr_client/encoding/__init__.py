"""Encoding: a photo and an overall rate become a container (the paper's Downscaling Module).

`encoder` is the whole of it; `options` checks its arguments; `downscale` makes the planes; `distortion` measures what
bicubic upscaling loses; `predict` estimates what the network leaves of that; `rate_map` chooses each block's rate with
`allocate`; `original` keeps the photo's own file.
"""
