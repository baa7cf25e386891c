//! Bytes that no well-behaved peer sends, written by hand: what makes two readers of
//! one connection disagree, and what makes one of them work or remember too much.

#[path = "../harness/lib.rs"]
mod harness;

mod app;
mod floods;
mod frames;
mod hpack;
mod http2;
mod malformed;
mod pieces;
mod responses;
mod smuggling;
mod stalled;
mod states;
