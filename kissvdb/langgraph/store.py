"""x"""


class KissStore:
    """x"""
