"""The delivery campaign: real workers, six imitated platforms, and everything that can go wrong, on purpose."""
