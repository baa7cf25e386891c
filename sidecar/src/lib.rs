//! The proxy beside every meshed application.
//!
//! iptables redirects the pod's TCP connections here. An outbound one goes to an
//! endpoint that the catalog names for its original destination, or on to that
//! destination itself; an inbound one to the application. In reading order:
//!
//! - [`proxy`]: the life of a connection, both ways;
//! - [`intercept`], [`route`]: where it was going, and what its addresses decide;
//! - [`protocol`], [`detect`]: what it carries;
//! - [`view`]: what is known of the addresses in use;
//! - [`destination`]: one of them, and the choice among its endpoints;
//! - [`balance`], [`ejection`], [`budget`], [`policy`]: what that choice, and a
//!   retry, depend on;
//! - `http1`, `http2`, `http`: requests, each for itself;
//! - [`connect`], [`relay`]: the upstream, and the bytes both ways;
//! - [`subscriber`]: the stream that fills the view;
//! - [`probe`]: the application's probes, asked for the kubelet;
//! - [`wait`]: what keeps containers from starting before the sidecar is ready;
//! - [`linger`]: how long the sidecar stays for its application;
//! - [`worker`], [`listener`]: the threads, and what they accept;
//! - [`memory`]: what they held, given back;
//! - [`access_log`], [`dump`], [`run`], [`args`]: the shell around these.
//!
//! [`stream`] has what all of them do to a socket, [`tcp_info`] and [`vanished`] what it
//! tells of its peer, [`addr`] the roles of an address, [`ports`] sets of ports, [`reason`] the names of all decisions.

pub mod access_log;
pub mod addr;
#[cfg(test)]
mod allocations;
pub mod args;
pub mod balance;
pub mod budget;
pub mod connect;
pub mod destination;
pub mod detect;
pub mod dump;
pub mod ejection;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod http;
mod http1;
mod http2;
pub mod intercept;
pub mod linger;
pub mod listener;
pub mod memory;
pub mod policy;
pub mod ports;
pub mod probe;
pub mod protocol;
pub mod proxy;
pub mod reason;
pub mod relay;
pub mod route;
pub mod run;
pub mod stream;
pub mod subscriber;
pub mod tcp_info;
pub mod vanished;
pub mod view;
pub mod wait;
pub mod worker;

pub use args::Args;
pub use run::main;
