//! `netting check`: what is well and what is not.

pub(super) mod ask;
mod rights;

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{
    check::{Finding, Report, Severity, finding::counted},
    cluster,
    exit::Exit,
    output::{self, Tone},
};

/// Between two looks while waiting.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  netting check --before-install     can this cluster have a mesh?
  netting check                      is the mesh well?
  netting check --wait=2m            wait until it is, for two minutes at most
  netting check -n shop -o json      of one namespace's pods, for programs

Exit codes: 0 well (warnings may be told), 1 something failed, 2 something could not be asked.";

/// What is checked.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only whether the cluster can have a mesh
    #[arg(long)]
    before_install: bool,

    /// Look again until nothing fails any more and all answer that may be asked, for so
    /// long at most
    #[arg(
        long,
        value_name = "DURATION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "5m",
        value_parser = humantime::parse_duration
    )]
    wait: Option<Duration>,

    /// Only the pods of this namespace; by default those of all
    #[arg(short = 'n', long, value_name = "NAME")]
    namespace: Option<String>,

    /// How to print it.
    #[command(flatten)]
    output: output::Flags,
}

impl Args {
    /// Looks, and prints what was found.
    ///
    /// # Errors
    /// If the cluster can't be asked at all.
    pub async fn run(self, cluster: &cluster::Flags) -> anyhow::Result<Exit> {
        let cluster = cluster.connect().await?;
        let begun = Instant::now();
        let report = loop {
            let facts = ask::facts(&cluster, self.before_install, self.namespace.as_deref()).await;
            let report = Report::of(&facts);
            let patience = self
                .wait
                .unwrap_or_default()
                .saturating_sub(begun.elapsed());
            let left = report.may_pass();
            if left == 0 || patience.is_zero() {
                break report;
            }
            eprintln!("waiting: {} left", counted(left, "finding"));
            sleep(LOOK_AGAIN.min(patience)).await;
        };
        self.output
            .print_text(&report, |colours| render(&report, colours))?;
        Ok(report.exit())
    }
}

/// For people: by section, each finding with what to do below it.
fn render(report: &Report, colours: bool) -> String {
    let mut text = String::new();
    let mut section = None;
    for one in &report.findings {
        if section != Some(one.section) {
            section = Some(one.section);
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}{}", one.section.as_str());
        }
        finding(&mut text, one, colours);
    }
    let count = |severity| {
        report
            .findings
            .iter()
            .filter(|one| one.severity == severity)
            .count()
    };
    let failures = counted(count(Severity::Failure), "failure");
    let warnings = counted(count(Severity::Warning), "warning");
    let unknown = count(Severity::Unknown);
    let _ = writeln!(text, "\n{failures}, {warnings}, {unknown} not asked");
    text
}

fn finding(text: &mut String, one: &Finding, colours: bool) {
    let (sign, tone) = match one.severity {
        Severity::Good => ("+", Tone::Good),
        Severity::Note => ("-", Tone::Faint),
        Severity::Unknown => ("?", Tone::Warning),
        Severity::Warning => ("!", Tone::Warning),
        Severity::Failure => ("x", Tone::Bad),
    };
    let sign = tone.paint(sign, colours);
    let colon = if one.subject.is_empty() { "" } else { ": " };
    let _ = writeln!(text, "  {sign} {}{colon}{}", one.subject, one.message);
    if !one.advice.is_empty() {
        let _ = writeln!(text, "      {}", Tone::Faint.paint(&one.advice, colours));
    }
}
