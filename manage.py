#!/usr/bin/env python
"""Kilroy's command line: `manage.py up` starts everything, `manage.py help` lists the rest."""

import sys

from kilroy_site.commandline import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
