"""The bench: what gatekeeper promises about time, memory and processors, beside the field's tools in the same run.

PYTHONPATH=tests .venv/bin/python -m bench [--quick | --times N] [--only ROW]... [--strict]
"""
