//! Exit codes, the same for every command.

use std::{io, process::ExitCode};

use crate::{Args, cluster::CannotAsk};

/// Does what the command line says, and tells an error to whoever reads stderr.
#[tokio::main]
pub async fn run(args: Args) -> ExitCode {
    let exit = match args.run().await {
        Ok(exit) => exit,
        Err(error) => {
            let exit = Exit::of(&error);
            if exit != Exit::Fine {
                eprintln!("netting: {error:#}");
            }
            exit
        }
    };
    exit.into()
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: what was asked for is done, or is well.
    Fine,
    /// 1: it failed, or what was asked about is not well.
    NotWell,
    /// 2: the command line is wrong, or there is no cluster that could be asked.
    CannotAsk,
}

/// The command line is not what the command needs, in a way that the parser of flags
/// can't know.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

impl Exit {
    /// What an error means. A reader of the output that went away, as `head` does,
    /// is none.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        let broken_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        if error.downcast_ref().is_some_and(broken_pipe) {
            return Self::Fine;
        }
        let cannot_ask = error
            .chain()
            .any(|cause| cause.is::<CannotAsk>() || cause.is::<Usage>());
        if cannot_ask {
            Self::CannotAsk
        } else {
            Self::NotWell
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Fine => Self::SUCCESS,
            Exit::NotWell => Self::from(1),
            Exit::CannotAsk => Self::from(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn what_cannot_be_asked_is_told_from_what_is_not_well() {
        let usage = Err::<(), _>(Usage("no file".to_owned())).context("could not inject");
        let usage = usage.expect_err("it is an error");
        assert_eq!(Exit::of(&usage), Exit::CannotAsk);
        assert_eq!(Exit::of(&anyhow::anyhow!("refused")), Exit::NotWell);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(Exit::of(&gone.into()), Exit::Fine);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Exit::of(&full.into()), Exit::NotWell);
    }
}
