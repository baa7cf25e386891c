//! What every long-running Netting process needs: logging, signals and drain, readiness, admin HTTP.
