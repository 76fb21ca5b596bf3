"""Where declarations come from: strings become `model.Declaration` records, or every problem is collected at once.

Text and its origin only: what a kind or an option means is not known here.
"""
