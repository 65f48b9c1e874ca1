"""The explorer: a local web page that shows the maps of a study and predicts impressions of new faces.

Input: a results folder. Output: pages for a browser on the same computer. The server listens on the loopback
address only and requires a token (:mod:`traitlens.explorer.access`). It writes no files and sends nothing
elsewhere.
"""
