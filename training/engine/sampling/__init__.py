"""Drawing posts from a causal language model: one engine for posts, candidates, the playground and the API.

`filters` chooses a token per row, `decoders` compute the logits with a key-value cache, `linears` are the products
inside of them, `texts` turns tokens into whole characters and keeps a text within its limit, `scheduler` lets requests
share a batch.

Each sample has its own stream of random numbers, made from (seed, index) alone, and every token is the inverse of the
cumulative distribution at the stream's next number. So a sample does not depend on which others share its batch, beyond
the rounding of float sums, whose order may change with the batch: a token flips only where the number falls within that
rounding of a border (about 1e-7 of probability in float32, 1e-3 in bfloat16). Log-probabilities are those of the
unmodified policy (temperature 1, no filter), whatever the text was drawn with: that is what a policy gradient needs.
"""
