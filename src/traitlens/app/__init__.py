"""The app: a local page that takes a study from pictures to report without a terminal.

Input: pictures and a table of ratings, chosen in the browser. Output: a study folder. Every choice is saved
in the study folder at once, so reloading the page or stopping the server loses nothing. Long tasks run in a
separate process. The page is served to this computer only and protected by a token
(:mod:`traitlens.explorer.access`).
"""
