"""Both kinds of agents against the same pod, measured side by side.

`rounds` runs what `probe` measures of one agent; `figures` holds it; `rows` and `verdict` say what it means; the rest renders.
"""
