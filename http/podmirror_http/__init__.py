"""Sans-I/O HTTP/1 on bytes that were seen passively.

This package does no I/O, reads no clock and imports nothing else of ours.
"""
