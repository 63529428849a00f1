"""Reddit: posts to one subreddit or the account's own profile, and comments."""
