"""The agent: runs beside the target, sniffs its packets and streams each connection's bytes to the layer."""
