"""Proves things about a saga before it runs: explores what can happen to it, through the real machine (`exploring.py`).

abstracting.py   the definition without its data: lists have two items, every way of a `choose` is taken
barrier.py       what a participant does with a command: the barrier's rules, and what really happened
worlds.py        a saga, its participants, what is under way between them, and how much may still go wrong
moves.py         everything that can happen next
promises.py      what must hold (docs/invariants.md, 1 to 9)
exploring.py     every order of moves, within bounds; the shortest run to whatever breaks a promise
forecasts.py     what can be told without running it: how long it may take, what can never succeed
"""
