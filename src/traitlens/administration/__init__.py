"""Installation and clusters: what is in place, and batch scripts."""
