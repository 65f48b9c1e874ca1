"""Reading, checking, importing, simulating and exporting studies.

Input: a folder with `study.toml`, images and tables. Output: a checked
:class:`~traitlens.study.reading.Study`, or one error that lists every problem.
"""
