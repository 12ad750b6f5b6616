"""The layer: runs on your machine, injects the agent and delivers the mirrored connections."""
