"""Round trips of some code, counted on the way to the tests' PostgreSQL, whatever sends them."""

from __future__ import annotations

from sqlalchemy.engine import make_url

from bench.roundtrips import Counted


class RoundTrips:
    """Of one application name, in all databases, since the last look."""

    def __init__(self, proxy: Counted, application: str) -> None:
        self._proxy = proxy
        self._application = application
        self._seen = 0

    def more(self) -> int:
        """How many there were since the last look."""
        tallies = self._proxy.read().items()
        all_ = sum(tally.round_trips for client, tally in tallies if client.application == self._application)
        more, self._seen = all_ - self._seen, all_
        return more


def through(proxy: Counted, url: str) -> str:
    """The same database, by way of the proxy."""
    on_the_way = make_url(proxy.url)
    there = make_url(url).set(host=on_the_way.host, port=on_the_way.port)
    return there.update_query_dict(dict(on_the_way.query)).render_as_string(hide_password=False)
