"""The Helm chart on a real Kubernetes API server."""
