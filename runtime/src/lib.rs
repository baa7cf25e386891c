//! What every long-running Netting process needs, and nothing that knows what
//! the process is for. In reading order:
//!
//! - [`logging`]: one subscriber, whose filter can be changed while it runs;
//! - [`signals`]: SIGTERM and SIGINT, the second of which means now;
//! - [`drain`]: tracked tasks, told to finish, then made to, and those that must not end;
//! - [`readiness`]: named conditions, all of which must hold;
//! - [`slots`]: a bound for connections that nobody keeps others out by;
//! - [`accept`]: a port with such a bound;
//! - [`admin`]: the HTTP server on the admin port;
//! - [`process`]: the runtime, the exit code, and a port to listen on;
//! - [`shutdown`]: the one order in which all of these come to an end;
//! - [`resolve`]: names to addresses, also in a static binary;
//! - [`files`]: how many may be open.

pub mod accept;
pub mod admin;
pub mod drain;
pub mod files;
pub mod logging;
pub mod process;
pub mod readiness;
pub mod resolve;
pub mod shutdown;
pub mod signals;
pub mod slots;

pub use accept::Acceptor;
pub use drain::{Drain, Drained, Lost};
pub use process::{Process, listen};
pub use readiness::Readiness;
pub use shutdown::Shutdown;
pub use slots::{Holder, Slot, Slots};
