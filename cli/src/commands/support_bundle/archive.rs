//! Writes a bundle: as a directory, or as one file.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use flate2::{Compression, write::GzEncoder};

use crate::exit::Usage;

/// Files by their paths, which have no `..` and no root.
pub(super) type Bundle = BTreeMap<String, String>;

/// Where a bundle goes. Until it is whole, nothing is there.
#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    /// Beside it: what is written, before it gets its name.
    part: PathBuf,
    is_file: bool,
}

impl Archive {
    /// Finds out whether one can be written there, and leaves nothing behind.
    ///
    /// # Errors
    /// If there is something already, or it can't be written there.
    pub(super) fn at(path: &Path) -> anyhow::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.exists() {
            let why = format!(
                "{} is there already; choose another name by --to",
                path.display()
            );
            return Err(Usage(why).into());
        }
        let archive = Self {
            path: path.to_owned(),
            part: path.with_file_name(format!(".{name}.{}.part", process::id())),
            is_file: name.ends_with(".tar.gz") || name.ends_with(".tgz"),
        };
        let tried = archive.prepare(&Bundle::new());
        archive.told(tried.and_then(|()| archive.discard()))?;
        Ok(archive)
    }

    /// # Errors
    /// If it can't be written, or somebody else has taken the name meanwhile.
    pub(super) fn write(&self, bundle: &Bundle) -> anyhow::Result<()> {
        let written = self.prepare(bundle).and_then(|()| self.publish());
        if written.is_err() {
            // What went wrong first is what is told.
            let _ = self.discard();
        }
        self.told(written)
    }

    fn prepare(&self, bundle: &Bundle) -> io::Result<()> {
        self.discard()?;
        if self.is_file {
            tar_gz(File::create_new(&self.part)?, bundle)
        } else {
            tree(&self.part, bundle)
        }
    }

    fn publish(&self) -> io::Result<()> {
        if self.is_file {
            // Takes the name, as renaming would replace a file of somebody else's; it
            // doesn't replace a directory with something in it.
            File::create_new(&self.path)?;
        }
        fs::rename(&self.part, &self.path)
    }

    fn discard(&self) -> io::Result<()> {
        let removed = if self.is_file {
            fs::remove_file(&self.part)
        } else {
            fs::remove_dir_all(&self.part)
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn told(&self, done: io::Result<()>) -> anyhow::Result<()> {
        done.with_context(|| format!("could not write {}", self.path.display()))
    }
}

fn tree(root: &Path, bundle: &Bundle) -> io::Result<()> {
    fs::create_dir_all(root)?;
    for (path, content) in bundle {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("it is below the root"))?;
        fs::write(&path, content)?;
    }
    Ok(())
}

fn tar_gz(file: File, bundle: &Bundle) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for (path, content) in bundle {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(now.as_ref().map_or(0, |since| since.as_secs()));
        let path = format!("netting-support/{path}");
        tar.append_data(&mut header, path, content.as_bytes())?;
    }
    tar.into_inner()?.finish()?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn bundle() -> Bundle {
        [
            ("README.txt", "read me"),
            ("pods/shop/web-1.yaml", "kind: Pod\n"),
        ]
        .map(|(path, content)| (path.to_owned(), content.to_owned()))
        .into()
    }

    fn names_in(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("it is there");
        let names = entries.map(|entry| entry.expect("it can be listed").file_name());
        names.map(|name| name.to_string_lossy().into()).collect()
    }

    #[test]
    fn what_is_there_already_is_not_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let refused = Archive::at(dir.path()).expect_err("it is there");
        assert!(refused.is::<Usage>(), "{refused}");
        for name in ["bundle.tgz", "bundle"] {
            let path = dir.path().join(name);
            let archive = Archive::at(&path).expect("there is nothing of that name");
            archive.write(&bundle()).expect("it can be written");
            let refused = Archive::at(&path).expect_err("it is there");
            assert!(refused.is::<Usage>(), "{refused}");
        }
    }

    #[test]
    fn until_it_is_whole_nothing_is_there() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["bundle.tgz", "bundle"] {
            let path = dir.path().join(name);
            // One that was interrupted, and the next.
            for _ in 0..2 {
                Archive::at(&path).expect("there is nothing of that name");
                assert!(names_in(dir.path()).is_empty());
            }
        }
    }

    #[test]
    fn a_name_that_is_taken_meanwhile_stays_whose_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["bundle.tgz", "bundle"] {
            let path = dir.path().join(name);
            let archive = Archive::at(&path).expect("there is nothing of that name");
            fs::write(&path, "mine").expect("there is room for a file");
            archive.write(&bundle()).expect_err("it is somebody else's");
            assert_eq!(fs::read_to_string(&path).expect("it is there"), "mine");
        }
        let mut names = names_in(dir.path());
        names.sort();
        assert_eq!(names, ["bundle", "bundle.tgz"]);
    }

    #[test]
    fn a_directory_and_an_archive_hold_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        let (tree, file) = (dir.path().join("tree"), dir.path().join("bundle.tar.gz"));
        for path in [&tree, &file] {
            let archive = Archive::at(path).expect("there is nothing of that name");
            archive.write(&bundle()).expect("it can be written");
        }
        let packed = File::open(&file).expect("it was written");
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(packed));
        let mut names = Vec::new();
        for entry in tar.entries().expect("an archive") {
            let mut entry = entry.expect("a file");
            let path = entry.path().expect("a path").into_owned();
            let name = path
                .strip_prefix("netting-support")
                .expect("one directory")
                .to_owned();
            let mut content = String::new();
            entry.read_to_string(&mut content).expect("text");
            let same = fs::read_to_string(tree.join(&name)).expect("it is there too");
            assert_eq!(content, same);
            names.push(name.to_string_lossy().into_owned());
        }
        assert_eq!(names, ["README.txt", "pods/shop/web-1.yaml"]);
    }
}
