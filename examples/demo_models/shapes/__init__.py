"""A detector of coloured circles and squares: how it was trained, and the scenes it was trained on."""
