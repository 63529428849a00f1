"""How dates are written, by language: as the pages write them themselves."""
