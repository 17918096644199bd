"""The benchmark: amends beside a bare loop, DBOS and Celery, on real servers. `make bench`; docs/performance.md."""
