"""Training on coded pictures that were made once: `dataset` makes and reads them, `data` draws batches."""
