"""Readers against bytes that nobody meant to write.

Every place where a file or an answer enters the package is a target: a function of bytes that may succeed or raise a
:class:`~trustrace.core.errors.TrustraceError`, and nothing else; within a second, and without much memory. What once did something else
lies under ``tests/fuzz_corpus`` and is read again by the test suite.

    python -m fuzz --cases 100000                       # every target, mutations of valid files
    python -m fuzz --target statements_csv --seconds 60
    python -m fuzz --engine atheris --cases 3000        # guided by coverage; pip install atheris
"""
