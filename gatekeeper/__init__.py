"""gatekeeper holds a program's start until what it needs is really there."""

__version__ = "0.1.0"
