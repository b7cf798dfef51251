"""Logging: a spool that costs a microsecond a point, and a committer that drains it into the tables exactly once."""
