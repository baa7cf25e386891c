use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;

use crate::apply::{self, Outcome};
use crate::log::{Level, log};
use crate::options::Action;
use crate::pod::Pod;
use crate::verify::{self, Verdict};
use crate::{Args, Invalid, Options, dry_run};

/// The exit code for options that are wrong, the same that clap uses.
const USAGE: u8 = 2;

/// Does what `args` say, and logs to standard error what came of it. The last line has the
/// outcome and the time it all took.
pub fn run(args: &Args) -> ExitCode {
    let started = Instant::now();
    let options = match Options::try_from(args) {
        Ok(options) => options,
        Err(Invalid(problems)) => {
            for problem in &problems {
                let fields: [(&str, &dyn Display); 2] =
                    [("flag", &problem.flag), ("error", &problem.reason)];
                log(Level::Error, "wrong option", &fields);
            }
            return ExitCode::from(USAGE);
        }
    };
    let result = act(&options);
    let elapsed = started.elapsed();
    let action = options.action.as_str();
    let elapsed_ms = format!("{:.1}", elapsed.as_secs_f64() * 1e3);
    match result {
        Ok(()) => {
            let fields: [(&str, &dyn Display); 2] =
                [("action", &action), ("elapsed_ms", &elapsed_ms)];
            log(Level::Info, "done", &fields);
            ExitCode::SUCCESS
        }
        Err(error) => {
            // `{:#}` puts the causes behind the error, on the same line.
            let error = format!("{error:#}");
            let fields: [(&str, &dyn Display); 3] = [
                ("action", &action),
                ("error", &error),
                ("elapsed_ms", &elapsed_ms),
            ];
            log(Level::Error, "failed", &fields);
            ExitCode::FAILURE
        }
    }
}

fn act(options: &Options) -> anyhow::Result<()> {
    if options.dry_run && options.action != Action::Verify {
        return print(&dry_run::plan(options));
    }
    let pod = Pod::of_this_process();
    match options.action {
        Action::Apply { then_verify } => {
            let outcomes = apply::apply(options, &pod)?;
            report(&outcomes, "rules applied");
            if then_verify {
                verify(options, &pod).context(
                    "the rules are in place, but redirection is not proven \
                     (--no-verify leaves the proof out)",
                )?;
            }
        }
        Action::Cleanup => report(&apply::clean_up(options, &pod)?, "rules removed"),
        Action::Verify => verify(options, &pod)?,
    }
    Ok(())
}

fn report(outcomes: &[Outcome], done: &'static str) {
    for outcome in outcomes {
        match outcome {
            Outcome::Done(iptables) => {
                let family = iptables.family.as_str();
                let fields: [(&str, &dyn Display); 2] =
                    [("family", &family), ("backend", &iptables.backend)];
                log(Level::Info, done, &fields);
            }
            Outcome::NothingThere(family) => {
                log(
                    Level::Info,
                    "nothing to remove",
                    &[("family", &family.as_str())],
                );
            }
            Outcome::NotNeeded(unavailable) => {
                let family = unavailable.family.as_str();
                let fields: [(&str, &dyn Display); 2] =
                    [("family", &family), ("reason", unavailable)];
                log(
                    Level::Info,
                    "family left out, as the pod has no address of it",
                    &fields,
                );
            }
        }
    }
}

fn verify(options: &Options, pod: &Pod) -> Result<(), verify::Error> {
    for verdict in verify::verify(options, pod)? {
        match verdict {
            Verdict::Proven {
                family,
                probe,
                seen_by,
                took,
            } => {
                let took_ms = format!("{:.1}", took.as_secs_f64() * 1e3);
                let fields: [(&str, &dyn Display); 4] = [
                    ("family", &family.as_str()),
                    ("probe", &probe),
                    ("seen_by", &seen_by),
                    ("took_ms", &took_ms),
                ];
                log(Level::Info, "redirection verified", &fields);
            }
            Verdict::NothingToProve { family, reason } => {
                let fields: [(&str, &dyn Display); 2] =
                    [("family", &family.as_str()), ("reason", &reason.as_str())];
                log(Level::Info, "nothing to verify", &fields);
            }
        }
    }
    Ok(())
}

/// Prints to standard output; a reader that has seen enough is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("could not print the plan")
        }
        _ => Ok(()),
    }
}
