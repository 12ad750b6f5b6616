"""The HTTP side of the sandbox: what kubectl and the Kubernetes clients talk to."""
