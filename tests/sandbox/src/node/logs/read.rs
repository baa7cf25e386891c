//! Logs as `kubectl logs` wants them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::end_mark;

/// How often a followed log is looked at for more.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(50);

/// Of one read.
const CHUNK_BYTES: u64 = 64 * 1024;

/// The query of `/containerLogs`, named as in the API (`PodLogOptions`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Options {
    pub(crate) follow: bool,
    pub(crate) previous: bool,
    pub(crate) timestamps: bool,
    pub(crate) tail_lines: Option<usize>,
    pub(crate) since_seconds: Option<i64>,
    pub(crate) since_time: Option<Timestamp>,
    pub(crate) limit_bytes: Option<usize>,
}

impl Options {
    fn since(&self) -> Option<Timestamp> {
        let ago = self
            .since_seconds
            .map(|secs| Timestamp::now() - SignedDuration::from_secs(secs));
        ago.or(self.since_time)
    }
}

/// Where in a log a reader is.
struct Reader {
    path: PathBuf,
    options: Options,
    offset: u64,
    /// A line that hasn't been written to its end.
    partial: Vec<u8>,
    sent: usize,
    since: Option<Timestamp>,
}

/// A log's lines, until its end or, when following, the container's end.
///
/// # Errors
/// When there is no such log.
pub(crate) async fn stream(
    path: &Path,
    options: Options,
) -> std::io::Result<impl Stream<Item = std::io::Result<Bytes>> + Send + use<>> {
    let since = options.since();
    let mut reader = Reader {
        path: path.to_owned(),
        options,
        offset: 0,
        partial: Vec::new(),
        sent: 0,
        since,
    };
    tokio::fs::metadata(path).await?;
    let first = match reader.options.tail_lines {
        None => None,
        Some(lines) => Some(reader.tail(lines).await?),
    };
    Ok(stream::unfold(
        (reader, first),
        async |(mut reader, first)| {
            let next = match first {
                Some(first) if !first.is_empty() => Ok(Some(first)),
                _ => reader.next().await,
            };
            Some((next.transpose()?, (reader, None)))
        },
    ))
}

impl Reader {
    async fn tail(&mut self, count: usize) -> std::io::Result<Bytes> {
        let mut all = Vec::new();
        while let Some(chunk) = self.read().await? {
            all.extend_from_slice(&chunk);
        }
        let lines: Vec<&[u8]> = all.split_inclusive(|byte| *byte == b'\n').collect();
        let text = lines[lines.len().saturating_sub(count)..].concat();
        Ok(self.limited(text))
    }

    async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        loop {
            if self
                .options
                .limit_bytes
                .is_some_and(|limit| self.sent >= limit)
            {
                return Ok(None);
            }
            // Looked at before reading: what was written until then is read after it.
            let ended = end_mark(&self.path).exists() || !self.path.exists();
            match self.read().await? {
                Some(text) if text.is_empty() => (),
                Some(text) => return Ok(Some(self.limited(text))),
                None if ended || !self.options.follow => return Ok(None),
                None => tokio::time::sleep(FOLLOW_INTERVAL).await,
            }
        }
    }

    /// The text of the lines that have been written since; `None` if there are none.
    async fn read(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut file = match tokio::fs::File::open(&self.path).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        file.seek(std::io::SeekFrom::Start(self.offset)).await?;
        let read = file
            .take(CHUNK_BYTES)
            .read_to_end(&mut self.partial)
            .await?;
        if read == 0 {
            return Ok(None);
        }
        self.offset += read as u64;
        let whole = self
            .partial
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let rest = self.partial.split_off(whole);
        let lines = std::mem::replace(&mut self.partial, rest);
        Ok(Some(text(&lines, self.since, self.options.timestamps)))
    }

    fn limited(&mut self, mut text: Vec<u8>) -> Bytes {
        if let Some(limit) = self.options.limit_bytes {
            text.truncate(limit - self.sent);
        }
        self.sent += text.len();
        Bytes::from(text)
    }
}

/// The containers' own words from whole lines of a log.
fn text(lines: &[u8], since: Option<Timestamp>, timestamps: bool) -> Vec<u8> {
    let mut text = Vec::new();
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let (Some(time), Some(_), Some(tag), Some(said)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let time = String::from_utf8_lossy(time);
        let early = since.is_some_and(|since| time.parse().is_ok_and(|at: Timestamp| at < since));
        if early {
            continue;
        }
        if timestamps {
            text.extend_from_slice(time.as_bytes());
            text.push(b' ');
        }
        let part = tag == b"P";
        text.extend_from_slice(if part {
            said.strip_suffix(b"\n").unwrap_or(said)
        } else {
            said
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::*;

    const LOG: &str = "2026-01-01T00:00:00.000000000Z stdout F one\n\
                       2026-01-01T00:00:01.000000000Z stderr P two \n\
                       2026-01-01T00:00:01.000000000Z stderr F halves\n\
                       garbage\n\
                       2026-01-01T00:00:02.000000000Z stdout F three\n";

    async fn read(options: Options) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("0.log");
        std::fs::write(&path, LOG).expect("a log");
        std::fs::write(path.with_extension("end"), "").expect("an end");
        let chunks = stream(&path, options).await.expect("a stream");
        let chunks: Vec<Bytes> = chunks.try_collect().await.expect("text");
        String::from_utf8(chunks.concat()).expect("text")
    }

    #[tokio::test]
    async fn a_log_that_is_not_there_is_an_error() {
        assert!(
            stream(Path::new("/nowhere/0.log"), Options::default())
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn gives_what_was_asked_for() {
        let all = Options::default;
        for (options, expected) in [
            (all(), "one\ntwo halves\nthree\n"),
            (
                Options {
                    follow: true,
                    ..all()
                },
                "one\ntwo halves\nthree\n",
            ),
            (
                Options {
                    tail_lines: Some(1),
                    ..all()
                },
                "three\n",
            ),
            (
                Options {
                    tail_lines: Some(0),
                    ..all()
                },
                "",
            ),
            (
                Options {
                    tail_lines: Some(9),
                    ..all()
                },
                "one\ntwo halves\nthree\n",
            ),
            (
                Options {
                    limit_bytes: Some(5),
                    ..all()
                },
                "one\nt",
            ),
            (
                Options {
                    since_seconds: Some(1),
                    ..all()
                },
                "",
            ),
            (
                Options {
                    since_time: "2026-01-01T00:00:02Z".parse().ok(),
                    ..all()
                },
                "three\n",
            ),
            (
                Options {
                    timestamps: true,
                    tail_lines: Some(1),
                    ..all()
                },
                "2026-01-01T00:00:02.000000000Z three\n",
            ),
        ] {
            assert_eq!(read(options.clone()).await, expected, "{options:?}");
        }
    }
}
