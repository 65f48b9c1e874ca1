"""What the researcher brought: settings, tables and images, read and checked.

Comes in: a folder with `study.toml`, images and tables. Goes out: a :class:`~traitlens.study.reading.Study`
whose tables hold no fault, or one error that lists every fault.
"""
