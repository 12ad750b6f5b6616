"""What crosses the port-forward between the layer and the agent: frames, and the sans-I/O protocol.

This package does no I/O, reads no clock and imports nothing else of ours.
"""
