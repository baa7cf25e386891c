//! Tasks that are told to finish, and after a while are made to.
//!
//! A server holds a [`Drain`], spawns what it accepts through it, and stops
//! accepting once [`Drain::started`] resolves. A task that holds something open
//! on its own account listens for that too; one that only finishes what it has
//! in hand needs to do nothing.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tracing::Instrument as _;

/// The view that servers and their tasks have of a drain. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    started: CancellationToken,
    aborted: CancellationToken,
    tasks: TaskTracker,
    spawned: Arc<AtomicU64>,
    lost: CancellationToken,
    first_lost: Arc<OnceLock<&'static str>>,
}

/// A task is gone that the process is of no use without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{task} ended")]
pub struct Lost {
    /// What it was.
    pub task: &'static str,
}

/// Counts as a task of its drain until it is dropped.
#[derive(Debug)]
pub struct Task {
    _token: TaskTrackerToken,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every task came to its own end.
    Complete,
    /// The deadline, or a second signal, ended what was still running.
    Aborted {
        /// How many tasks that were.
        tasks: usize,
    },
}

impl Drain {
    /// A drain that has not started, with no tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a task that the drain waits for. It keeps the caller's span, and is
    /// dropped where it stands if the drain is aborted.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawned.fetch_add(1, Ordering::Relaxed);
        let aborted = self.aborted.clone();
        let bounded = async move {
            tokio::select! {
                biased;
                () = task => {}
                () = aborted.cancelled() => {}
            }
        };
        self.tasks.spawn(bounded.in_current_span());
    }

    /// A task that the process is of no use without, for whoever spawns it: should it
    /// panic, or end before the drain has started, it is [`Drain::lost`].
    pub fn vital<F>(&self, name: &'static str, task: F) -> impl Future<Output = ()> + Send + use<F>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let drain = self.clone();
        let mut task = Box::pin(task);
        let mut caught = poll_fn(move |cx| {
            // Nothing of it is looked at again.
            let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx)));
            match polled {
                Ok(polled) => polled.map(|()| None),
                Err(panic) => Poll::Ready(Some(message(&*panic).to_owned())),
            }
        });
        async move {
            let panic = (&mut caught).await;
            if !drain.has_started() {
                tracing::error!(task = name, panic, "a task ended that is needed; ending");
                drain.first_lost.get_or_init(|| name);
                drain.lost.cancel();
            }
        }
    }

    /// Resolves once a vital task is gone, to the first.
    pub async fn lost(&self) -> Lost {
        self.lost.cancelled().await;
        let task = self.first_lost.get().copied().unwrap_or_default();
        Lost { task }
    }

    /// Counts as a task that runs elsewhere, such as on a thread of its own. Whoever
    /// holds it sees to it that it is dropped soon after [`Drain::aborted`] resolves.
    #[must_use]
    pub fn task(&self) -> Task {
        self.spawned.fetch_add(1, Ordering::Relaxed);
        Task {
            _token: self.tasks.token(),
        }
    }

    /// Resolves when what is left is not to be waited for any longer.
    pub async fn aborted(&self) {
        self.aborted.cancelled().await;
    }

    /// Resolves once the drain has started: accept nothing more, close what is idle.
    pub async fn started(&self) {
        self.started.cancelled().await;
    }

    /// Whether the drain has started.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.started.is_cancelled()
    }

    /// How many tasks are running.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// How many tasks there have been so far.
    #[must_use]
    pub fn spawned(&self) -> u64 {
        self.spawned.load(Ordering::Relaxed)
    }

    /// Starts the drain without waiting for it to end.
    pub fn start(&self) {
        self.started.cancel();
        self.tasks.close();
    }

    /// Starts the drain and waits for its tasks, until `timeout` is over or
    /// `hurry` resolves; then aborts those that are left.
    pub async fn run(&self, timeout: Duration, hurry: impl Future<Output = ()>) -> Drained {
        self.start();
        tokio::select! {
            biased;
            () = self.tasks.wait() => return Drained::Complete,
            () = tokio::time::sleep(timeout) => {}
            () = hurry => {}
        }
        let tasks = self.tasks.len();
        self.aborted.cancel();
        self.tasks.wait().await;
        Drained::Aborted { tasks }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn waits_for_tasks_that_finish_by_themselves() {
        let drain = Drain::new();
        let seen = drain.clone();
        drain.spawn(async move {
            seen.started().await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        });
        let begun = tokio::time::Instant::now();
        assert_eq!(drain.run(TIMEOUT, pending()).await, Drained::Complete);
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn aborts_what_is_left_at_the_deadline() {
        let drain = Drain::new();
        drain.spawn(pending());
        drain.spawn(async {});
        let begun = tokio::time::Instant::now();
        let drained = drain.run(TIMEOUT, pending()).await;
        assert_eq!(drained, Drained::Aborted { tasks: 1 });
        assert_eq!(begun.elapsed(), TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_tasks_that_run_elsewhere() {
        let drain = Drain::new();
        let (task, seen) = (drain.task(), drain.clone());
        let elsewhere = tokio::spawn(async move {
            seen.aborted().await;
            drop(task);
        });
        let drained = drain.run(TIMEOUT, pending()).await;
        assert_eq!(drained, Drained::Aborted { tasks: 1 });
        elsewhere.await.expect("it does not panic");
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_aborts_at_once() {
        let drain = Drain::new();
        drain.spawn(pending());
        let begun = tokio::time::Instant::now();
        let drained = drain.run(TIMEOUT, async {}).await;
        assert_eq!(drained, Drained::Aborted { tasks: 1 });
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_vital_task_that_panics_or_ends_is_lost() {
        for (name, panics) in [("the watch", true), ("the server", false)] {
            let drain = Drain::new();
            drain.spawn(drain.vital("what goes on", pending()));
            drain.spawn(drain.vital(name, async move {
                tokio::task::yield_now().await;
                assert!(!panics, "as the test says");
            }));
            let lost = tokio::time::timeout(TIMEOUT, drain.lost()).await;
            assert_eq!(lost, Ok(Lost { task: name }));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_vital_task_may_end_once_the_drain_has_started() {
        let drain = Drain::new();
        let seen = drain.clone();
        let server = async move { seen.started().await };
        drain.spawn(drain.vital("the server", server));
        assert_eq!(drain.run(TIMEOUT, pending()).await, Drained::Complete);
        let lost = tokio::time::timeout(TIMEOUT, drain.lost()).await;
        assert!(lost.is_err(), "it was meant to end");
    }

    #[tokio::test]
    async fn a_drain_without_tasks_is_over_at_once() {
        assert_eq!(
            Drain::new().run(TIMEOUT, pending()).await,
            Drained::Complete
        );
    }
}
