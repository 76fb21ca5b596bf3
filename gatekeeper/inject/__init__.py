"""Manifests in, manifests out: the container that waits is added, and every other byte stays as it was.

The text is never written anew. It is parsed for places only, what is added is put in between, and the outcome is parsed
again: where it is not the input and the addition, nothing is given out.
"""
