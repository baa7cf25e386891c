//! HTTP/1 messages as text, compared but for what a proxy may and must change.

use std::io::{self, BufRead, Read as _};

use crate::process::shortened;

/// A request or a response.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) start: String,
    /// Lines as they came.
    pub(crate) headers: Vec<String>,
    /// Without the chunks around it; shortened if it is long.
    pub(crate) body: String,
    pub(crate) trailers: Vec<String>,
}

/// What describes one connection only (RFC 9110, section 7.6.1), and the framing,
/// which is each hop's own.
const HOP_BY_HOP: [&str; 5] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "date",
];

impl Message {
    /// The start line and headers of the next message; none at the end of the
    /// connection.
    pub(crate) fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut lines = lines_until_blank(reader)?.into_iter();
        Ok(lines.next().map(|start| Self {
            start,
            headers: lines.collect(),
            ..Self::default()
        }))
    }

    /// The value of the first header with a name, which is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Reads the body that the headers announce.
    pub(crate) fn read_body(&mut self, reader: &mut impl BufRead) -> io::Result<()> {
        let mut body = Vec::new();
        if self.header("transfer-encoding") == Some("chunked") {
            loop {
                let mut size = String::new();
                reader.read_line(&mut size)?;
                let size = size.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
                if size == 0 {
                    break;
                }
                reader.take(size).read_to_end(&mut body)?;
                reader.read_line(&mut String::new())?;
            }
            self.trailers = lines_until_blank(reader)?;
        }
        if let Some(length) = self.header("content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            reader.take(length).read_to_end(&mut body)?;
        }
        self.body = shortened(String::from_utf8_lossy(&body).into_owned());
        Ok(())
    }

    /// Without what is each connection's own. Headers of different names may change
    /// places; those of one name may not (RFC 9110, section 5.3). The space around a
    /// value is none of it (section 5.5).
    pub(crate) fn end_to_end(mut self) -> Self {
        self.headers.retain(|line| {
            let name = line.split(':').next().unwrap_or_default();
            !HOP_BY_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop))
        });
        for lines in [&mut self.headers, &mut self.trailers] {
            for line in lines.iter_mut() {
                if let Some((name, value)) = line.split_once(':') {
                    *line = format!("{name}: {}", value.trim());
                }
            }
            lines.sort_by_key(|line| {
                let name = line.split(':').next().unwrap_or_default();
                name.to_ascii_lowercase()
            });
        }
        self
    }
}

/// Lines without their ends, up to one that is empty.
fn lines_until_blank(reader: &mut impl BufRead) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line)?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            return Ok(lines);
        }
        lines.push(line.to_owned());
    }
}
