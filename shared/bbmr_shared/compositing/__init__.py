"""Compositing: decoded planes and a rate map become one canvas: the whole picture, a region or a thumbnail.

No network runs here.
"""
