"""Saying so: what the verdict is told with. The rooms know nothing of one another."""
