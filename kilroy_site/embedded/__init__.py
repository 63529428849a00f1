"""PostgreSQL and a Redis-protocol server from wheels, run as children of whoever asked for them.

`postgres.database_url(var)` and `redis.redis_url(var)` tell where the servers of a data folder listen without starting
anything, so settings may import them. `running` starts what is missing for the length of a block.
"""
