//! The one order in which a Netting process ends: a signal, not ready, stop
//! accepting, finish what is in flight, deadline, abort. A second signal means now.

use std::{
    future::{Future, pending},
    io,
    time::Duration,
};

use crate::{Drain, Drained, Readiness, drain::Lost, signals::Signals};

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
    ///
    /// # Errors
    /// If it drained because a task is gone that was needed ([`Drain::vital`]).
    pub async fn run(self, drain: &Drain, timeout: Duration) -> Result<Drained, Lost> {
        self.run_until(drain, timeout, pending()).await
    }

    /// Waits for a signal, or for `done` to say why the process is not needed any
    /// longer; then drains.
    ///
    /// # Errors
    /// If it drained because a task is gone that was needed ([`Drain::vital`]).
    pub async fn run_until(
        mut self,
        drain: &Drain,
        timeout: Duration,
        done: impl Future<Output = &'static str>,
    ) -> Result<Drained, Lost> {
        let mut lost = None;
        let why = tokio::select! {
            signal = self.signals.next() => signal,
            why = done => why,
            gone = drain.lost() => lost.insert(gone).task,
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
        lost.map_or(Ok(drained), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lost_task_ends_the_process_in_order_and_is_an_error() {
        let readiness = Readiness::new();
        let shutdown = Shutdown::install(&readiness).expect("signals can be handled");
        let drain = Drain::new();
        let seen = drain.clone();
        drain.spawn(async move { seen.started().await });
        drain.spawn(drain.vital("the watch", async { panic!("as the test says") }));
        let ended = shutdown.run(&drain, Duration::from_secs(30)).await;
        assert_eq!(ended, Err(Lost { task: "the watch" }));
        assert_eq!(readiness.missing(), ["not draining"]);
        assert_eq!(drain.tasks(), 0, "they finished what they had");
    }
}
