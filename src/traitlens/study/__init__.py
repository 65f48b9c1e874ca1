"""Studies: settings, tables and images, read and checked.

Input: a folder with `study.toml`, images and tables. Output: a :class:`~traitlens.study.reading.Study`
without faults, or one error that lists every fault.
"""
