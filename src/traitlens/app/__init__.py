"""The app: one local page that takes a study from a folder of pictures to its report, without a terminal.

Input: pictures and a table of ratings that are chosen in the browser. Output: a study's folder like any
other. What was chosen is written to the study's folder at once, so that a reload, or the end of the server,
loses nothing; long work runs in a process of its own. The page is served to this computer only, behind a
token (:mod:`traitlens.explorer.access`).
"""
