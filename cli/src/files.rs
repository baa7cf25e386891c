//! Manifests that are given as files, or on stdin.

use std::{
    fs, io,
    io::{IsTerminal as _, Read},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::exit::Usage;

/// The largest file that is read; the largest object that Kubernetes stores is 3 MiB.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A file's text, and what it's called in messages.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path as it was given, or `stdin`.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Reads all of them, `-` for stdin, before anything is done about one.
///
/// # Errors
/// [`Usage`] if one can't be read, is a directory, no text, or too large.
pub fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<File>> {
    paths.iter().map(|path| read_one(path)).collect()
}

fn read_one(path: &Path) -> anyhow::Result<File> {
    let stdin = path.as_os_str() == "-";
    let name = if stdin {
        "stdin".to_owned()
    } else {
        path.display().to_string()
    };
    let text = if stdin {
        if io::stdin().is_terminal() {
            eprintln!("netting: reading from the terminal; end with Ctrl-D");
        }
        read_text(&mut io::stdin().lock())
    } else if path.is_dir() {
        return Err(Usage(format!("{name} is a directory; name the files in it")).into());
    } else {
        fs::File::open(path).and_then(|mut file| read_text(&mut file))
    };
    let text = text
        .map_err(|error| Usage(error.to_string()))
        .with_context(|| format!("could not read {name}"))?;
    Ok(File { name, text })
}

fn read_text(from: &mut dyn Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let mebibytes = FILE_BYTES_MAX / 1024 / 1024;
        return Err(io::Error::other(format!(
            "it is larger than {mebibytes} MiB; split it"
        )));
    }
    // Windows' editors begin files with it, and no parser of YAML expects it within a file.
    Ok(match text.strip_prefix('\u{feff}') {
        Some(text) => text.to_owned(),
        None => text,
    })
}

/// All of them as one text, in which each still begins a document of its own.
#[must_use]
pub fn join(texts: impl IntoIterator<Item = String>) -> String {
    let mut joined = String::new();
    for text in texts {
        if !joined.is_empty() {
            if !joined.ends_with('\n') {
                joined.push('\n');
            }
            if !text.starts_with("---") {
                joined.push_str("---\n");
            }
        }
        joined.push_str(&text);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Exit;

    #[test]
    fn what_cannot_be_read_is_named_and_is_wrong_usage() {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let binary = dir.path().join("binary.yaml");
        fs::write(&binary, [0xff, 0xfe, 0x00]).expect("there is room for a file");
        for (path, says) in [
            (dir.path().to_owned(), "is a directory"),
            (
                dir.path().join("missing.yaml"),
                "missing.yaml: No such file",
            ),
            (binary, "binary.yaml: stream did not contain valid UTF-8"),
        ] {
            let refused = read(&[path]).expect_err("it can't be read");
            assert_eq!(Exit::of(&refused), Exit::CannotAsk);
            let refused = format!("{refused:#}");
            assert!(refused.contains(says), "{refused}");
        }
    }

    #[test]
    fn a_file_that_never_ends_is_refused() {
        let refused = read_text(&mut io::repeat(b'x')).expect_err("it is too large");
        assert!(
            refused.to_string().contains("larger than 64 MiB"),
            "{refused}"
        );
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_key() {
        let text = read_text(&mut "\u{feff}kind: Pod\n".as_bytes()).expect("it is text");
        assert_eq!(text, "kind: Pod\n");
    }

    #[test]
    fn joined_files_are_documents_of_their_own() {
        let texts = ["a: 1", "---\nb: 2\n", "c: 3\n"].map(ToOwned::to_owned);
        assert_eq!(join(texts), "a: 1\n---\nb: 2\n---\nc: 3\n");
        assert_eq!(join(["# one\n".to_owned()]), "# one\n");
    }
}
