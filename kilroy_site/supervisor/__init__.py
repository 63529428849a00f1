"""`manage.py up`: every process of an installation under one parent, started together and stopped together."""
