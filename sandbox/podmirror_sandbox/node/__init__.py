"""Process 1 of the sandbox's namespaces: network, pods, containers, logs."""
