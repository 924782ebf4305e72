"""Processes of their own that begin at once: what they import is loaded by one server, from which each is forked."""

import multiprocessing

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    [
        "trustrace.cli.app",
        "trustrace.measures.measure",
        "trustrace.report.page",
        "trustrace.studies.foreseen.forecast",
        "trustrace.studies.measuring",
        "trustrace.studies.trace",
        "transformers",
    ]
)
