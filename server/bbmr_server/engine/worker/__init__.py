"""The worker process in which the network runs on one device, and how the server talks to it."""
