//! The proxy beside every meshed application.
//!
//! iptables redirects the pod's TCP connections here. An outbound one goes to an
//! endpoint that the catalog names for its original destination, or on to that
//! destination itself; an inbound one to the application. In reading order:
//!
//! - [`proxy`]: the life of a connection, both ways;
//! - [`intercept`], [`route`]: where it was going, and what its addresses decide;
//! - [`view`]: what is known of the addresses in use;
//! - [`destination`]: one of them, and the choice among its endpoints;
//! - [`balance`], [`ejection`], [`budget`], [`policy`]: what that choice, and a
//!   retry, depend on;
//! - [`connect`], [`relay`]: the upstream, and the bytes both ways;
//! - [`subscriber`], [`resolve`]: the stream that fills the view;
//! - [`probe`]: the application's probes, asked for the kubelet;
//! - [`listener`], [`dump`], [`run`], [`args`]: the shell around these.
//!
//! [`addr`] has the roles of an address, [`ports`] sets of ports, [`reason`] the
//! names of all decisions.

pub mod addr;
pub mod args;
pub mod balance;
pub mod budget;
pub mod connect;
pub mod destination;
pub mod dump;
pub mod ejection;
pub mod intercept;
pub mod listener;
pub mod policy;
pub mod ports;
pub mod probe;
pub mod proxy;
pub mod reason;
pub mod relay;
pub mod resolve;
pub mod route;
pub mod run;
pub mod subscriber;
pub mod view;

pub use args::Args;
pub use run::main;
