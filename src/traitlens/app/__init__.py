"""The app: a local page that takes a study from pictures to report without a terminal.

Input: pictures and a table of ratings, chosen in the browser. Output: a study's folder. All choices are
saved in the study's folder immediately, so that a reload or the end of the server loses nothing; long tasks
run in a separate process. The page is served to this computer only and protected by a token
(:mod:`traitlens.explorer.access`).
"""
