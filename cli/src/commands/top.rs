//! `netting top`: `stat` and `edges`, live in the terminal.

mod board;
mod frame;
mod screen;
#[cfg(test)]
mod tests;

use std::{io, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};

use crate::{
    cluster::{self, Cluster, Scope},
    commands::{edges::held_by_all, stat::window},
    exit::{Exit, Usage},
    output, stat,
};

use board::{Board, Seen};
use frame::View;
use screen::Screen;

const EXAMPLES: &str = "\
Examples:
  netting top -n shop
  netting top -A --every 5s

Keys: w workloads, e edges, q quit.";

/// Of which pods, and how often.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Of which namespaces.
    #[command(flatten)]
    scope: Scope,

    /// How often to look
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = window)]
    every: Duration,
}

impl Args {
    /// Shows it until `q`.
    ///
    /// # Errors
    /// If this is no terminal, or the cluster can't be asked.
    pub async fn run(self, cluster: &cluster::Flags) -> anyhow::Result<Exit> {
        // Asked before anything else, for nothing else would help.
        if !screen::is_there() {
            let instead = "this is no terminal: use `netting stat` or `netting edges` for scripts";
            return Err(Usage(instead.to_owned()).into());
        }
        // That may take as long as a login does: until then the terminal is as it was, and its
        // keys interrupt as always.
        let cluster = cluster.connect().await?;
        let namespace = self.scope.in_cluster(&cluster);
        let mut resized = signal(SignalKind::window_change())?;
        // From here on the terminal is given back also if somebody else ends it.
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let screen = Screen::enter()?;
        let mut keys = screen.keys();
        let mut is_typing = true;
        let mut board = Board::new(namespace, output::colours(&io::stdout()));
        let look = |view, at| Box::pin(look(&cluster, namespace, view, at));
        let mut looking = look(board.view(), Instant::now());
        loop {
            screen.show(&board.frame(screen.rows()))?;
            let before = board.view();
            tokio::select! {
                key = keys.recv(), if is_typing => match key {
                    Some('q' | '\u{3}' | '\u{4}') => return Ok(Exit::Fine),
                    Some('e') => board.switch(View::Edges),
                    Some('w') => board.switch(View::Workloads),
                    Some(_) => {}
                    None => is_typing = false,
                },
                _ = resized.recv() => {}
                _ = terminated.recv() => return Ok(Exit::Fine),
                _ = interrupted.recv() => return Ok(Exit::Fine),
                seen = &mut looking => {
                    board.see(seen)?;
                    looking = look(board.view(), Instant::now() + self.every);
                }
            }
            if board.view() != before {
                looking = look(board.view(), Instant::now());
            }
        }
    }
}

/// Looks, at that time or soon after.
async fn look(
    cluster: &Cluster,
    namespace: Option<&str>,
    view: View,
    at: Instant,
) -> anyhow::Result<Seen> {
    sleep_until(at).await;
    Ok(match view {
        View::Workloads => Seen::Workloads(stat::look_at_all(cluster, namespace).await?),
        View::Edges => {
            let held = held_by_all(cluster, namespace).await?;
            Seen::Edges(Instant::now(), held)
        }
    })
}
