"""The faces Kilroy ships with, one folder each; `faces/registry.py` names them."""
