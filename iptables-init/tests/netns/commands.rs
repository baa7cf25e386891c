//! A directory for `PATH` with just the commands that a test wants to be there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::pod::{Pod, Run, init_command};

pub(crate) struct Commands(TempDir);

impl Commands {
    /// No commands at all.
    pub(crate) fn none() -> Self {
        Self(TempDir::new().expect("there is a temporary directory"))
    }

    /// The commands of both backends and families as they are installed.
    pub(crate) fn real() -> Self {
        let mut commands = Self::none();
        for family in ["iptables", "ip6tables"] {
            for backend in ["nft", "legacy"] {
                for verb in ["save", "restore"] {
                    let name = format!("{family}-{backend}-{verb}");
                    commands = commands.link(&name, &name);
                }
            }
        }
        commands
    }

    /// Makes `name` another name for an installed command.
    pub(crate) fn link(self, name: &str, installed: &str) -> Self {
        symlink(find(installed), self.0.path().join(name)).expect("the name is free");
        self
    }

    /// Removes `name` if it is there.
    pub(crate) fn missing(self, name: &str) -> Self {
        let _ = fs::remove_file(self.0.path().join(name));
        self
    }

    /// Makes `name` a command that does what `script` says; it has no `PATH` to speak of.
    pub(crate) fn fake(self, name: &str, script: &str) -> Self {
        let this = self.missing(name);
        let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/netns/fake-command");
        symlink(fake, this.0.path().join(name)).expect("the name is free");
        let file = this.0.path().join(format!("{name}.sh"));
        fs::write(file, script).expect("the temporary directory can be written");
        this
    }

    /// Makes `name` a command that says `words` and fails.
    pub(crate) fn failing(self, name: &str, code: u8, words: &str) -> Self {
        let words = words.replace('\'', r"'\''");
        self.fake(name, &format!("echo '{words}' >&2; exit {code}"))
    }

    /// Runs the init container's binary with nothing else in `PATH`.
    pub(crate) fn init(&self, pod: &Pod, flags: &[&str]) -> Run {
        let mut command = init_command(flags);
        command.env("PATH", self.0.path());
        pod.ns.run(&mut command)
    }
}

fn find(name: &str) -> PathBuf {
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is not installed; these tests need iptables"))
}
