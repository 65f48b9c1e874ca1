"""The explorer: a local page to look at a study's maps, and to see a new face as its groups of raters would.

Comes in: a results folder. Goes out: pages to a browser on the same computer, and to nobody else: the server
listens on the loopback address only, behind a token (:mod:`traitlens.explorer.access`). It writes nothing and
sends nothing anywhere.
"""
