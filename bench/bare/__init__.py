"""A bare loop: the same rows and messages as amends for one saga, batched, with no product code and no error handling.

It shows what a durable saga cannot avoid. It cannot compensate, retry, time out, wait or be operated.
"""
