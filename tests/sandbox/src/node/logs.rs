//! Containers' output as `kubectl logs` wants it. A log is what the container wrote, as it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::containers::end_mark;

/// How often a followed log is looked at for more.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(50);

/// Of one read.
const CHUNK_BYTES: u64 = 64 * 1024;

/// The query of `/containerLogs`, named as in the API (`PodLogOptions`); others are ignored.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Options {
    pub(crate) follow: bool,
    pub(crate) previous: bool,
    pub(crate) tail_lines: Option<usize>,
}

/// A log's text, until its end or, when following, the container's end.
///
/// # Errors
/// When there is no such log.
pub(crate) async fn stream(
    path: &Path,
    options: Options,
) -> std::io::Result<impl Stream<Item = std::io::Result<Bytes>> + Send + use<>> {
    let text = tokio::fs::read(path).await?;
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let lines: Vec<&[u8]> = lines.collect();
    let skipped = lines.len() - options.tail_lines.unwrap_or(lines.len()).min(lines.len());
    let skipped: usize = lines[..skipped].iter().map(|line| line.len()).sum();
    let start = (path.to_owned(), skipped as u64);
    Ok(stream::unfold(start, move |(path, offset)| async move {
        let chunk = next(&path, offset, options.follow).await.transpose()?;
        let read = chunk.as_ref().map_or(0, Bytes::len) as u64;
        Some((chunk, (path, offset + read)))
    }))
}

async fn next(path: &PathBuf, offset: u64, follow: bool) -> std::io::Result<Option<Bytes>> {
    loop {
        // Looked at before reading: what was written until then is read after it.
        let ended = end_mark(path).exists();
        let mut file = match tokio::fs::File::open(path).await {
            // It went with its pod.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        file.seek(std::io::SeekFrom::Start(offset)).await?;
        let mut chunk = Vec::new();
        file.take(CHUNK_BYTES).read_to_end(&mut chunk).await?;
        match chunk.is_empty() {
            false => return Ok(Some(chunk.into())),
            true if ended || !follow => return Ok(None),
            true => tokio::time::sleep(FOLLOW_INTERVAL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_log_that_is_not_there_is_an_error() {
        let path = Path::new("/nowhere/0.log");
        assert!(stream(path, Options::default()).await.is_err());
    }

    #[tokio::test]
    async fn gives_what_was_asked_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("0.log");
        std::fs::write(&path, "one\n\ntwo \u{fc}\nthree").expect("a log");
        std::fs::write(end_mark(&path), "").expect("an end");
        for (follow, tail_lines, expected) in [
            (false, None, "one\n\ntwo \u{fc}\nthree"),
            (true, None, "one\n\ntwo \u{fc}\nthree"),
            (false, Some(2), "two \u{fc}\nthree"),
            (true, Some(0), ""),
            (false, Some(9), "one\n\ntwo \u{fc}\nthree"),
        ] {
            let options = Options {
                follow,
                previous: false,
                tail_lines,
            };
            let chunks = stream(&path, options).await.expect("a stream");
            let chunks: Vec<Bytes> = chunks.try_collect().await.expect("text");
            assert_eq!(
                String::from_utf8_lossy(&chunks.concat()),
                expected,
                "{options:?}"
            );
        }
    }
}
