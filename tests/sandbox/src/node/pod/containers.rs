//! The order in which a pod's containers start and end. The rules are the kubelet's:
//! - init containers run one after the other; a sidecar (an init container that restarts always)
//!   lets the next one start as soon as it has started, and keeps running;
//! - main containers start one after the other, each when the postStart hook of the one before is
//!   over, and run beside each other;
//! - when the main containers are done, or the pod is deleted, all preStop hooks run at once and the
//!   main containers are told to end at once, the sidecars only when those are gone, the last one
//!   first, and nobody is left running much longer than the grace period.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::Life;
use super::keep::keep;
use super::state::Role;

/// A container that is kept running, until it is done or this is dropped.
struct Kept {
    role: Role,
    /// Whether it is its turn to end.
    turn: watch::Sender<bool>,
    task: AbortOnDropHandle<()>,
}

impl Kept {
    fn start(life: &Arc<Life>, number: usize) -> Self {
        let turn = watch::Sender::new(false);
        let task = tokio::spawn(keep(Arc::clone(life), number, turn.subscribe()));
        Self {
            role: life.state.borrow().slots[number].role,
            turn,
            task: AbortOnDropHandle::new(task),
        }
    }

    async fn done(&mut self) {
        // A task that has been waited for must not be waited for again.
        if !self.task.is_finished()
            && let Err(error) = (&mut self.task).await
        {
            tracing::error!(%error, "a container's task failed");
        }
    }
}

/// Runs all containers, from the first one's start to the last one's end.
pub(super) async fn run(life: &Arc<Life>) {
    let mut kept = Vec::new();
    tokio::select! {
        () = run_to_completion(life, &mut kept) => {}
        _ = life.deadline() => {}
    }
    life.end_within(life.grace());
    let (mut sidecars, mut others): (Vec<Kept>, Vec<Kept>) =
        kept.into_iter().partition(|one| one.role == Role::Sidecar);
    for one in &others {
        one.turn.send_replace(true);
    }
    for one in &mut others {
        one.done().await;
    }
    for one in sidecars.iter_mut().rev() {
        one.turn.send_replace(true);
        one.done().await;
    }
}

/// Returns when the main containers are done, or an init container has failed for good.
async fn run_to_completion(life: &Arc<Life>, kept: &mut Vec<Kept>) {
    let count = life.state.borrow().slots.len();
    for number in 0..count {
        let one = Kept::start(life, number);
        match one.role {
            Role::Main => {
                kept.push(one);
                let mut state = life.state.subscribe();
                let _ = state.wait_for(|state| state.slots[number].makes_way).await;
            }
            Role::Sidecar => {
                kept.push(one);
                let mut state = life.state.subscribe();
                // The pod's state lasts as long as the pod.
                let _ = state
                    .wait_for(|state| state.slots[number].was_started)
                    .await;
            }
            Role::Init => {
                // Kept where the pod's end finds it.
                kept.push(one);
                let one = kept.last_mut().expect("it was just added");
                one.done().await;
                if !life.state.borrow().slots[number].succeeded() {
                    return;
                }
            }
        }
    }
    for one in kept.iter_mut().filter(|one| one.role == Role::Main) {
        one.done().await;
    }
}
