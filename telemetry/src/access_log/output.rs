//! Where lines are written to.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, IoSlice, Write as _},
    ops::Deref,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

/// How often a file is looked for that has been moved away from its path.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A pipe that others have made non-blocking, and that is full, is tried again so often.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nowhere, but perhaps by OTLP.
    None,
    /// The process's standard output.
    Stdout,
    /// Its standard error, where its log is.
    Stderr,
    /// The end of this file. It is opened anew when it has been moved away.
    File(PathBuf),
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            path if path.starts_with('/') && !path.ends_with('/') => Ok(Self::File(path.into())),
            other => Err(format!(
                "\"{other}\" is no place for a log; use stdout, stderr, none, or the whole path of a file"
            )),
        }
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// One that is open.
#[derive(Debug)]
pub(super) struct Sink {
    file: File,
    /// Where others may move it away from.
    path: Option<PathBuf>,
    looked: Instant,
}

impl Sink {
    /// Nothing, if there is none to be opened.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub(super) fn open(output: &Output) -> io::Result<Option<Self>> {
        let (file, path) = match output {
            Output::None => return Ok(None),
            Output::Stdout => (same(io::stdout().as_fd())?, None),
            Output::Stderr => (same(io::stderr().as_fd())?, None),
            Output::File(path) => (open(path)?, Some(path.clone())),
        };
        let looked = Instant::now();
        Ok(Some(Self { file, path, looked }))
    }

    /// Writes all of it, together.
    ///
    /// # Errors
    /// If not all of it could be written.
    pub(super) fn write(&mut self, parts: &[impl Deref<Target = [u8]>]) -> io::Result<()> {
        self.look()?;
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut slices = &mut slices[..];
        // Empty ones are left out, or nothing would look like the end.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match self.file.write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(wrote) => IoSlice::advance_slices(&mut slices, wrote),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(TRY_AGAIN);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Opens the file anew if it is not at its path any longer.
    fn look(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        if self.looked.elapsed() < LOOK_EVERY {
            return Ok(());
        }
        self.looked = Instant::now();
        let ours = self.file.metadata()?;
        let there = fs::metadata(path);
        let is_ours = |there: &Metadata| (there.dev(), there.ino()) == (ours.dev(), ours.ino());
        if !there.as_ref().is_ok_and(is_ours) {
            self.file = open(path)?;
        }
        Ok(())
    }
}

/// The same, without the standard library's buffer before it.
fn same(fd: BorrowedFd<'_>) -> io::Result<File> {
    Ok(fd.try_clone_to_owned()?.into())
}

fn open(path: &Path) -> io::Result<File> {
    // Paths and addresses are for who runs the pod.
    let mode = 0o640;
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(mode)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_place() {
        for text in ["", "syslog", "log.txt", "./log", "/var/log/", "file:///log"] {
            assert!(text.parse::<Output>().is_err(), "{text}");
        }
        for text in ["stdout", "stderr", "none", "/var/log/access.log"] {
            let output: Output = text.parse().expect("it is a place");
            assert_eq!(output.to_string(), text);
        }
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew() {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("access.log");
        let output = Output::File(path.clone());
        let sink = Sink::open(&output).expect("it can be opened");
        let mut sink = sink.expect("it is a file");
        let nothing = Vec::new();
        let written = sink.write(&[b"one\n".to_vec(), nothing, b"two\n".to_vec()]);
        written.expect("it can be written");
        let moved = directory.path().join("access.log.1");
        fs::rename(&path, &moved).expect("it can be moved");
        // As if it were later.
        sink.looked = sink
            .looked
            .checked_sub(LOOK_EVERY)
            .expect("the machine is up");
        sink.write(&[b"three\n".to_vec()])
            .expect("it can be written");
        let read = |path: &Path| fs::read_to_string(path).expect("it is there");
        assert_eq!(
            (read(&moved).as_str(), read(&path).as_str()),
            ("one\ntwo\n", "three\n")
        );
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error() {
        let output = Output::File("/nowhere/access.log".into());
        assert!(Sink::open(&output).is_err());
        assert!(
            Sink::open(&Output::None)
                .expect("nothing is opened")
                .is_none()
        );
    }
}
