"""Benchmarks of picture quality: PSNR, bytes and what each part of the method is worth."""
