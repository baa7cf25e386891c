//! SIGTERM and SIGINT: the first asks, the second means now.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells its holders how often the process has been asked to end.
#[derive(Debug, Clone)]
pub struct Terminate {
    requests: watch::Receiver<u32>,
}

impl Terminate {
    /// Listens to SIGTERM and SIGINT for the rest of the process's life.
    ///
    /// # Errors
    ///
    /// The kernel refused a handler.
    pub fn on_signals() -> io::Result<Self> {
        let mut sigterm = signal(SignalKind::terminate())?;
        let mut sigint = signal(SignalKind::interrupt())?;
        let (ask, terminate) = Self::by_hand();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = sigterm.recv() => {}
                    _ = sigint.recv() => {}
                }
                ask.ask();
            }
        });
        Ok(terminate)
    }

    /// A pair for callers that decide themselves when to end, such as tests.
    #[must_use]
    pub fn by_hand() -> (Ask, Self) {
        let (sender, requests) = watch::channel(0);
        (Ask { requests: sender }, Self { requests })
    }

    /// Returns once the process has been asked to end, at once if it was before.
    pub async fn requested(&mut self) {
        self.requested_times(1).await;
    }

    /// Returns once it has been asked twice: whoever asks again doesn't want to wait.
    pub async fn insisted(&mut self) {
        self.requested_times(2).await;
    }

    async fn requested_times(&mut self, times: u32) {
        if self
            .requests
            .wait_for(|asked| *asked >= times)
            .await
            .is_err()
        {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }
}

/// The asking side of [`Terminate`].
#[derive(Debug)]
pub struct Ask {
    requests: watch::Sender<u32>,
}

impl Ask {
    /// Asks once more.
    pub fn ask(&self) {
        self.requests
            .send_modify(|asked| *asked = asked.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn asking_once_is_not_insisting() {
        let (ask, mut terminate) = Terminate::by_hand();
        ask.ask();
        terminate.requested().await;
        let insisted = tokio::time::timeout(Duration::from_millis(10), terminate.insisted());
        assert!(insisted.await.is_err(), "one request already insists");
        ask.ask();
        terminate.insisted().await;
    }

    #[tokio::test]
    async fn nobody_left_to_ask_is_not_a_request() {
        let (ask, mut terminate) = Terminate::by_hand();
        drop(ask);
        let requested = tokio::time::timeout(Duration::from_millis(10), terminate.requested());
        assert!(requested.await.is_err(), "ended without being asked");
    }
}
