"""Compositions of the rooms: trace, pre-train, audit, demo. Contains no formula."""
