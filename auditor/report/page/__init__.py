"""The one-file HTML report of a run.

`overview` computes what stands on top, `charts` draws it, `story` turns each trial into plain data,
`packing` compresses that data into the page, and `write` puts all into one file. The page's script
only lays out what `story` says: every text reaches the document as text, never as markup.
"""
