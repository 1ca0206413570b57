"""Inference: runs a network over the fixed tiles of a picture, in torch or in ncnn."""
