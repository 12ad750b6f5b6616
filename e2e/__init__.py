"""Scenarios against a cluster: the sandbox, or the one that KUBECONFIG names."""
