//! Redirects a pod's TCP traffic to its sidecar: options to rules, applied and verified.
//!
//! The init container of a meshed pod runs this once, before anything else in the pod. What it
//! leaves behind is a handful of rules in the `nat` tables of the pod's own network namespace:
//! outbound connections go to the sidecar's outbound port, inbound ones to its inbound port, and
//! the sidecar's own go where they are meant to. Nothing of it keeps running.
//!
//! ```text
//!  outbound                                       inbound
//!  application                                    client
//!      | connects to 10.1.2.3:80                      | connects to <pod>:80
//!  OUTPUT                                         PREROUTING
//!      | first rule                                   | last rule
//!  NETTING_OUTBOUND                               NETTING_INBOUND
//!      | made by the sidecar?    -> 10.1.2.3:80       | admin port?       -> sidecar's admin port
//!      | to loopback, skipped?   -> 10.1.2.3:80       | skipped?          -> application
//!      v                                              v
//!  sidecar, 127.0.0.1:15001                       sidecar, <pod>:15006
//! ```
//!
//! In reading order:
//!
//! 1. [`Args`]: the flags and `NETTING_*` variables, as text.
//! 2. [`Options`]: the same, checked, with all that is wrong reported at once.
//! 3. [`render`] (`rules`): options to rules. Pure, and the only place where it is decided what
//!    happens to a connection.
//! 4. [`nat_table`]: what a table holds of Netting's, read from `iptables-save`, and the
//!    transaction that leads from one such state to another. Pure. Applying, applying again,
//!    cleaning up and rolling back are all "from what is there to what should be".
//! 5. [`iptables`]: the commands of both backends, run, and what their failures mean.
//! 6. `survey` and [`apply`]: which backend to try first, and then both families or none.
//! 7. [`verify`]: proves by a connection that the rules work.
//! 8. `dry_run`, `log` and [`run`]: the shell around it.
//!
//! ```
//! use clap::Parser;
//! use netting_iptables_init::{Args, Family, Options, render};
//!
//! let args = Args::try_parse_from(["netting-iptables-init", "--skip-outbound-ports=3306"])?;
//! let options = Options::try_from(&args)?;
//! assert!(render(&options, Family::V4).contains("--dport 3306"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod apply;
pub mod iptables;
pub mod nat_table;
pub mod pod;
pub mod verify;

mod args;
mod dry_run;
mod family;
mod log;
mod options;
mod rules;
mod run;
mod survey;

pub use args::{Args, Command};
pub use family::Family;
pub use options::{Cidrs, Invalid, Options, PortRange, PortSet, Problem};
pub use rules::render;
pub use run::run;
