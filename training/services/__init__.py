"""Every write about datasets, runs, rounds, model versions and generations."""
