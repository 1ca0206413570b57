"""Crops of pictures that went through a real codec: worker processes (`worker`) code them, and `pool` holds them."""
