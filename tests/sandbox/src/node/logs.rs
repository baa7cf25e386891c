//! Containers' output, in files of the form that container runtimes write (CRI).
//!
//! See <https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md>:
//! each line is `<RFC 3339 time> <stdout|stderr> <F|P> <text>`, where P is a part of a longer one.

mod read;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

pub(crate) use read::{Options, stream};

/// Longer lines are written in parts, as containerd does.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// The log of one run of a container.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    path: PathBuf,
}

impl LogFile {
    /// # Errors
    /// When the file can't be created.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let _ = std::fs::remove_file(end_mark(path));
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// A full disk loses lines, but ends no container.
    fn append(&mut self, stream: &str, whole: bool, line: &[u8]) {
        let mut entry = format!(
            "{:.9} {stream} {} ",
            Timestamp::now(),
            if whole { "F" } else { "P" }
        )
        .into_bytes();
        entry.extend_from_slice(line);
        entry.push(b'\n');
        if let Err(error) = self.file.write_all(&entry) {
            tracing::warn!(%error, path = %self.path.display(), "could not write a log");
        }
    }

    /// Tells those who follow the log that nothing more comes.
    pub(crate) fn finish(&mut self) {
        if let Err(error) = File::create(end_mark(&self.path)) {
            tracing::debug!(%error, "could not mark the end of a log");
        }
    }
}

fn end_mark(path: &Path) -> PathBuf {
    path.with_extension("end")
}

/// Copies a container's stream to its log until the stream ends.
pub(crate) async fn copy(
    pipe: impl AsyncRead + Unpin,
    stream: &'static str,
    log: Arc<Mutex<LogFile>>,
) {
    let mut reader = BufReader::with_capacity(LINE_BYTES_MAX, pipe);
    let mut line = Vec::new();
    loop {
        let chunk = match reader.fill_buf().await {
            Ok([]) | Err(_) => break,
            Ok(chunk) => chunk,
        };
        let room = LINE_BYTES_MAX - line.len();
        let end = chunk.iter().take(room).position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(chunk.len().min(room));
        line.extend_from_slice(&chunk[..taken]);
        reader.consume(taken + usize::from(end.is_some()));
        if end.is_some() || line.len() == LINE_BYTES_MAX {
            log.lock().append(stream, end.is_some(), &line);
            line.clear();
        }
    }
    if !line.is_empty() {
        log.lock().append(stream, true, &line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn copied(output: &[u8]) -> Vec<(String, Vec<u8>)> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("0.log");
        let log = LogFile::create(&path).expect("a log");
        copy(output, "stdout", Arc::new(Mutex::new(log))).await;
        let written = std::fs::read(&path).expect("a log");
        let lines = written.split_inclusive(|byte| *byte == b'\n');
        lines
            .map(|line| {
                let line = line.strip_suffix(b"\n").expect("a whole line");
                let mut parts = line.splitn(4, |byte| *byte == b' ');
                let time = String::from_utf8_lossy(parts.next().expect("a time")).into_owned();
                assert!(
                    time.parse::<Timestamp>().is_ok() && time.len() == 30,
                    "{time}"
                );
                assert_eq!(parts.next(), Some(&b"stdout"[..]));
                let tag = String::from_utf8_lossy(parts.next().expect("a tag")).into_owned();
                (tag, parts.next().expect("text").to_vec())
            })
            .collect()
    }

    #[tokio::test]
    async fn every_line_is_written_and_the_last_needs_no_end() {
        let whole = |text: &[u8]| ("F".to_owned(), text.to_vec());
        assert_eq!(copied(b"").await, []);
        assert_eq!(
            copied(b"one\n\n two \xff\nlast").await,
            [
                whole(b"one"),
                whole(b""),
                whole(b" two \xff"),
                whole(b"last")
            ]
        );
    }

    #[tokio::test]
    async fn a_long_line_is_written_in_parts() {
        let mut output = vec![b'x'; LINE_BYTES_MAX + 3];
        output.push(b'\n');
        let parts = copied(&output).await;
        let shape: Vec<(&str, usize)> = parts
            .iter()
            .map(|(tag, text)| (tag.as_str(), text.len()))
            .collect();
        assert_eq!(shape, [("P", LINE_BYTES_MAX), ("F", 3)]);
    }
}
