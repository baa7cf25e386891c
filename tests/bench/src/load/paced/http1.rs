//! HTTP/1.1 with keep-alive: one request after the other, answers with a Content-Length.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};

use super::Dialect;

pub(super) struct Http1 {
    request: Vec<u8>,
    /// Requests so far.
    asked: u32,
    /// Answers so far.
    answered: u32,
    /// The beginning of an answer.
    begun: Vec<u8>,
}

impl Http1 {
    pub(super) fn new(target: SocketAddr) -> Self {
        Self {
            request: format!("GET / HTTP/1.1\r\nHost: {target}\r\n\r\n").into(),
            asked: 0,
            answered: 0,
            begun: Vec::new(),
        }
    }
}

impl Dialect for Http1 {
    fn greeting(&self) -> Vec<u8> {
        Vec::new()
    }

    fn request(&mut self) -> (u32, Vec<u8>) {
        self.asked += 1;
        (self.asked, self.request.clone())
    }

    fn read(&mut self, bytes: &[u8]) -> anyhow::Result<(Vec<u32>, Vec<u8>)> {
        self.begun.extend_from_slice(bytes);
        let mut answered = Vec::new();
        while let Some(length) = length_of_first(&self.begun)?
            && length <= self.begun.len()
        {
            self.begun.drain(..length);
            self.answered += 1;
            answered.push(self.answered);
        }
        Ok((answered, Vec::new()))
    }
}

/// Length of the first answer with its body, once its head is there.
fn length_of_first(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(end) = bytes.windows(END.len()).position(|at| at == END) else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).context("the head is no text")?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "not 200: {head}");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_it = name.eq_ignore_ascii_case("content-length");
        is_it.then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.with_context(|| format!("no Content-Length: {head}"))?;
    Ok(Some(end + END.len() + length))
}
