"""The control plane of the sandbox: objects, the rules of changing them, and controllers. No module here does I/O."""
