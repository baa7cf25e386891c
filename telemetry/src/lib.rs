//! Netting's instruments, and the exporters that carry them to whatever a team already runs.
