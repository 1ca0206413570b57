"""Bytes against quality: bbmr beside AVIF, JPEG XL, WebP and JPEG on a folder of photos."""
