"""The small Kubernetes API client that the kinds of a cluster share: one way in, one watch for each thing watched.

Knows no kind: what an object must be is not judged here. Loaded only where a declaration asks for it.
"""
