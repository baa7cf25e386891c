//! The proxy beside every meshed application.
