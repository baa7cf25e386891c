//! The one order in which a Netting process ends: a signal, not ready, stop
//! accepting, finish what is in flight, deadline, abort. A second signal means now.

use std::{io, time::Duration};

use crate::{Drain, Drained, Readiness, signals::Signals};

/// Waits for the end of the process and brings it about.
pub struct Shutdown {
    signals: Signals,
    draining: crate::readiness::Condition,
}

impl Shutdown {
    /// Listens for signals from now on.
    ///
    /// # Errors
    /// If the kernel refuses to install the signal handlers.
    pub fn install(readiness: &Readiness) -> io::Result<Self> {
        let draining = readiness.condition("not draining");
        draining.set(true);
        let signals = Signals::install()?;
        Ok(Self { signals, draining })
    }

    /// Waits for a signal, then drains.
    pub async fn run(mut self, drain: &Drain, timeout: Duration) -> Drained {
        let signal = self.signals.next().await;
        self.draining.set(false);
        tracing::info!(signal, tasks = drain.tasks(), ?timeout, "draining");
        let signals = &mut self.signals;
        let hurry = async {
            let signal = signals.next().await;
            tracing::warn!(signal, "second signal, not waiting any longer");
        };
        let drained = drain.run(timeout, hurry).await;
        match drained {
            Drained::Complete => tracing::info!("drained"),
            Drained::Aborted { tasks } => tracing::warn!(tasks, "aborted what was still running"),
        }
        drained
    }
}
