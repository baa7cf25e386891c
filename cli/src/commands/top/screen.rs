//! The terminal, given back as it was.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{
    InputModes, LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use tokio::sync::mpsc;

/// Another screen than the shell's, no cursor, no wrapping of long lines.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Of a terminal that doesn't say.
const ROWS: usize = 24;
/// Keys that were typed and not looked at yet.
const KEYS_MAX: usize = 16;

/// Whether there is a terminal to show anything in, and to read keys from.
pub(super) fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// A terminal that shows one thing after the other, until it is dropped.
pub(super) struct Screen {
    before: Termios,
}

impl Screen {
    /// Takes over the terminal, which [`is_there`].
    pub(super) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut keys = before.clone();
        // Keys come one by one and unseen, the one that interrupts included.
        let lines = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        keys.local_modes.remove(lines);
        // None of them holds up what is shown, and with it whoever looks for keys.
        keys.input_modes.remove(InputModes::IXON);
        tcsetattr(io::stdin(), OptionalActions::Now, &keys)?;
        let screen = Self { before };
        screen.show(ENTER)?;
        Ok(screen)
    }

    pub(super) fn rows(&self) -> usize {
        let size = tcgetwinsize(io::stdout());
        let rows = size.map_or(0, |size| usize::from(size.ws_row));
        if rows == 0 { ROWS } else { rows }
    }

    /// Writes at once.
    pub(super) fn show(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// What is typed. It is read by a thread that ends with the process: there is no
    /// way to stop waiting for a key.
    pub(super) fn keys(&self) -> mpsc::Receiver<char> {
        let (typed, keys) = mpsc::channel(KEYS_MAX);
        std::thread::spawn(move || {
            for byte in io::stdin().lock().bytes() {
                let Ok(byte) = byte else { return };
                if typed.blocking_send(char::from(byte)).is_err() {
                    return;
                }
            }
        });
        keys
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nobody left to tell of a terminal that went away.
        let _ = self.show(LEAVE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
