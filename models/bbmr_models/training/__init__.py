"""Training of JointSR: the pool of pictures (`pool`), rate maps and batches (`batches`), the loop (`loop`)."""
