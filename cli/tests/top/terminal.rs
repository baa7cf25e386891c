//! A terminal with the command in it.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::Stdio,
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// How long anything may take to be shown, and the command to end.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Terminal {
    /// The side of whoever looks and types.
    outer: OwnedFd,
    /// The command's side, kept to see how it leaves it.
    inner: OwnedFd,
    child: Child,
    shown: Receiver<Vec<u8>>,
    bytes: Vec<u8>,
    /// All that was shown so far.
    pub(crate) text: String,
    /// How much of it has been waited for.
    looked_at: usize,
    /// How keys and lines were treated before the command began.
    pub(crate) modes_before: Termios,
}

impl Terminal {
    /// Runs it in a terminal of so many rows.
    pub(crate) fn run(command: &str, arguments: &[&str], rows: u16) -> Self {
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
        grantpt(&outer).expect("it is ours");
        unlockpt(&outer).expect("it is ours");
        let path = ptsname(&outer, Vec::new()).expect("it has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let inner = rustix::fs::open(&path, flags, Mode::empty()).expect("it can be opened");
        resize(&outer, rows);
        let modes_before = modes(&inner);
        let stdio = || Stdio::from(inner.try_clone().expect("it can be shared"));
        // It becomes the command's own terminal, so that the command hears of its size.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait", command])
            .args(arguments)
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .kill_on_drop(true)
            .spawn()
            .expect("setsid of util-linux is there");
        let (send, shown) = mpsc::channel();
        let mut reader = File::from(outer.try_clone().expect("it can be shared"));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = reader.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            outer,
            inner,
            child,
            shown,
            bytes: Vec::new(),
            text: String::new(),
            looked_at: 0,
            modes_before,
        }
    }

    /// Waits until this has been shown after what was waited for last. Returns what was shown
    /// in between.
    pub(crate) fn until(&mut self, says: &str) -> &str {
        while !self.text[self.looked_at..].contains(says) {
            let more = self.shown.recv_timeout(PATIENCE);
            let more = more.unwrap_or_else(|_| panic!("{says:?} is not shown: {:?}", self.text));
            self.bytes.extend(more);
            // All of it anew, since a character may come in two pieces.
            self.text = String::from_utf8_lossy(&self.bytes).into_owned();
        }
        let found = self.text[self.looked_at..].find(says);
        let (begin, length) = (self.looked_at, found.expect("it was just there"));
        self.looked_at += length + says.len();
        &self.text[begin..begin + length]
    }

    pub(crate) fn press(&mut self, key: &str) {
        let mut outer = File::from(self.outer.try_clone().expect("it can be shared"));
        outer.write_all(key.as_bytes()).expect("it takes keys");
    }

    pub(crate) fn resize(&self, rows: u16) {
        resize(&self.outer, rows);
    }

    /// How keys and lines are treated now.
    pub(crate) fn modes(&self) -> Termios {
        modes(&self.inner)
    }

    /// Sends the command a signal, as another process does.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw).expect("it has not ended");
        kill_process(pid, signal).expect("it is ours");
    }

    /// Waits for its end, and returns its exit code; `None` if a signal has ended it.
    pub(crate) async fn end(&mut self) -> Option<i32> {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("it does not end: {:?}", self.text));
        ended.expect("nobody else waits for it").code()
    }
}

fn modes(terminal: &OwnedFd) -> Termios {
    tcgetattr(terminal).expect("it is a terminal")
}

fn resize(terminal: &OwnedFd, rows: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).expect("it is a terminal");
}
