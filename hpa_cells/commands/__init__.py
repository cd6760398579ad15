"""One module a verb of ``hpa-cells``."""
