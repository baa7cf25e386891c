//! The node agent with real processes, namespaces and rules, against the embedded API.
//!
//! Each test has a box of its own: network and mount namespaces that go with its thread, whatever
//! became of the test. They need root, and say so without.

mod agent;
mod boxed;
mod containers;
mod deletion;
mod failures;
mod names;
mod network;
mod portforward;
mod probes;
mod volumes;
