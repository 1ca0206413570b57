"""The commands of `bbmr-client`, one module per group; each imports what it needs when it runs."""
