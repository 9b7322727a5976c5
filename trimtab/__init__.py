"""Trimtab: raise an online shop's conversion, and prove that you did.

Importing this package loads nothing heavy: torch, kfp, kubernetes and mlflow come in only with the parts that
need them.
"""

from importlib.metadata import version

__version__ = version("trimtab")
