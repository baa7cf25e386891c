//! `netting top`: `stat` and `edges`, live in the terminal.

mod frame;
mod screen;

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    cluster::{self, Cluster, Scope},
    commands::{edges::held_by_all, stat::window},
    edges::{self, Held},
    exit::{Exit, Usage},
    stat::{self, Look},
};

use frame::{Frame, View};
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

/// What is shown, and what it was shown of last.
struct State {
    view: View,
    look: Option<Look>,
    held: Held,
    looked: Instant,
    lines: String,
}

impl Args {
    /// Shows it until `q`.
    ///
    /// # Errors
    /// If this is no terminal, or the cluster can't be asked.
    pub async fn run(self, cluster: &cluster::Flags) -> anyhow::Result<Exit> {
        let screen = Screen::enter().ok_or_else(|| {
            Usage(
                "this is no terminal: use `netting stat` or `netting edges` for scripts".to_owned(),
            )
        });
        // Asked before anything else, for nothing else would help.
        let screen = screen?;
        let cluster = cluster.connect().await?;
        let namespace = self.scope.in_cluster(&cluster);
        let mut keys = screen.keys();
        // The terminal is given back also if somebody else ends it.
        let mut ended = signal(SignalKind::terminate())?;
        let mut state = State {
            view: View::Workloads,
            look: None,
            held: BTreeMap::new(),
            looked: Instant::now(),
            lines: "looking…\n".to_owned(),
        };
        loop {
            screen.show(&state.frame(namespace, screen.rows()))?;
            state.refresh(&cluster, namespace).await?;
            screen.show(&state.frame(namespace, screen.rows()))?;
            let key = tokio::select! {
                key = next_key(&mut keys, state.looked + self.every) => key,
                _ = ended.recv() => Some('q'),
            };
            match key {
                Some('q' | '\u{3}' | '\u{4}') => return Ok(Exit::Fine),
                Some('e') => state.switch(View::Edges),
                Some('w') => state.switch(View::Workloads),
                _ => {}
            }
        }
    }
}

impl State {
    fn switch(&mut self, view: View) {
        if self.view != view {
            self.view = view;
            self.lines = "looking…\n".to_owned();
        }
    }

    async fn refresh(&mut self, cluster: &Cluster, namespace: Option<&str>) -> anyhow::Result<()> {
        let before = self.looked;
        match self.view {
            View::Workloads => {
                let look = stat::look_at_all(cluster, namespace).await?;
                if let Some(earlier) = self.look.replace(look) {
                    let mut rows =
                        stat::rows(&earlier, self.look.as_ref().expect("it was just put there"));
                    rows.sort_by(|a, b| b.requests_per_second.total_cmp(&a.requests_per_second));
                    self.lines = stat::table(&rows).render(false, true);
                }
            }
            View::Edges => {
                let held = held_by_all(cluster, namespace).await?;
                let earlier = std::mem::replace(&mut self.held, held);
                if !earlier.is_empty() {
                    let mut edges = edges::edges(&earlier, &self.held, before.elapsed());
                    edges.sort_by(|a, b| b.requests_per_second.total_cmp(&a.requests_per_second));
                    self.lines = edges::table(&edges).render(false, true);
                }
            }
        }
        self.looked = Instant::now();
        Ok(())
    }

    fn frame(&self, namespace: Option<&str>, rows: usize) -> String {
        let frame = Frame {
            view: self.view,
            namespace: namespace.unwrap_or("all namespaces"),
            lines: &self.lines,
        };
        frame.render(rows)
    }
}

/// The next key, or nothing at that time.
async fn next_key(keys: &mut mpsc::Receiver<char>, until: Instant) -> Option<char> {
    match timeout_at(until, keys.recv()).await {
        Ok(Some(key)) => Some(key),
        // Nobody types any more.
        Ok(None) => {
            sleep(until.duration_since(Instant::now())).await;
            None
        }
        Err(_) => None,
    }
}
