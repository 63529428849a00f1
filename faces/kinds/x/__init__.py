"""X, by its interface v2 and a developer app of the account's owner."""
