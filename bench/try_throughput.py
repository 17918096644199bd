import json
import sys

from bench.closed import closed_loop, settle
from bench.contestants.amends import amends
from bench.contestants.bare import bare
from bench.servers import servers

n = int(sys.argv[1])
f = int(sys.argv[2])
who = sys.argv[3].split(",")
with servers() as s:
    for w in who:
        ctx = bare(s) if w == "bare" else amends(s, batch=int(w[6:] or 1))
        with ctx as c:
            r = closed_loop(c, s, sagas=n, in_flight=f)
            settle(c)
            sys.stdout.write(f"{w} {json.dumps(r)}\n")
