//! The one order in which a Netting process ends: a signal, not ready, stop
//! accepting, finish what is in flight, deadline, abort. A second signal means now.

use std::{
    future::{Future, pending},
    io,
    time::Duration,
};

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
    pub async fn run(self, drain: &Drain, timeout: Duration) -> Drained {
        self.run_until(drain, timeout, pending()).await
    }

    /// Waits for a signal, or for `done` to say why the process is not needed any
    /// longer; then drains.
    pub async fn run_until(
        mut self,
        drain: &Drain,
        timeout: Duration,
        done: impl Future<Output = &'static str>,
    ) -> Drained {
        let why = tokio::select! {
            signal = self.signals.next() => signal,
            why = done => why,
        };
        self.draining.set(false);
        tracing::info!(why, tasks = drain.tasks(), ?timeout, "draining");
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
