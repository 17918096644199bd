"""Who takes part in the benchmark; each runs the saga of bench/order.py on the servers it is given."""
