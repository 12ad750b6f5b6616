"""The few Kubernetes calls that podmirror needs."""
