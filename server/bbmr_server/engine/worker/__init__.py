"""The worker: a process that runs the network on one device. Also the server's side of it."""
