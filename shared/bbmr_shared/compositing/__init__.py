"""Compositing: decoded planes and a rate map become one canvas, whole, in part or small. No network."""
