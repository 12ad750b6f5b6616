"""The version that the layer and the agent share: they are released together."""

__version__ = "0.1.0"
