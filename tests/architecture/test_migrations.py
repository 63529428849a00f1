"""An upgrade works while the version before it still runs: migrations expand, and only a later release contracts.

Looked at are migrations after those of BASELINE, which no installation but a new one will ever meet.
"""
