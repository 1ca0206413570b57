"""Coded crops for `bbmr-train --coded-share`, made beside the training. (The next `light` trains in `unet/`.)"""
