//! Writes a bundle: as a directory, or as one file.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use flate2::{Compression, write::GzEncoder};

use crate::exit::Usage;

/// Files by their paths, which have no `..` and no root.
pub(super) type Bundle = BTreeMap<String, String>;

/// Where a bundle goes.
#[derive(Debug)]
pub(super) enum Archive {
    Directory(PathBuf),
    TarGz { path: PathBuf, file: File },
}

impl Archive {
    /// # Errors
    /// If there is something already, or it can't be written there.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let doing = || format!("could not write {}", path.display());
        if path.exists() {
            let why = format!(
                "{} is there already; choose another name by --to",
                path.display()
            );
            return Err(Usage(why).into());
        }
        if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
            let file = File::create_new(path).with_context(doing)?;
            return Ok(Self::TarGz {
                path: path.to_owned(),
                file,
            });
        }
        fs::create_dir_all(path).with_context(doing)?;
        Ok(Self::Directory(path.to_owned()))
    }

    /// # Errors
    /// If it can't be written.
    pub(super) fn write(self, bundle: &Bundle) -> anyhow::Result<()> {
        match self {
            Self::Directory(root) => {
                for (path, content) in bundle {
                    let path = root.join(path);
                    let doing = || format!("could not write {}", path.display());
                    let parent = path.parent().expect("it is below the root");
                    fs::create_dir_all(parent).with_context(doing)?;
                    fs::write(&path, content).with_context(doing)?;
                }
                Ok(())
            }
            Self::TarGz { path, file } => {
                let doing = || format!("could not write {}", path.display());
                tar_gz(file, bundle).with_context(doing)
            }
        }
    }
}

fn tar_gz(file: File, bundle: &Bundle) -> std::io::Result<()> {
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

    #[test]
    fn what_is_there_already_is_not_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let refused = Archive::create(dir.path()).expect_err("it is there");
        assert!(refused.is::<Usage>(), "{refused}");
        let file = dir.path().join("bundle.tgz");
        Archive::create(&file).expect("there is nothing of that name");
        assert!(Archive::create(&file).is_err());
    }

    #[test]
    fn a_directory_and_an_archive_hold_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        let (tree, file) = (dir.path().join("tree"), dir.path().join("bundle.tar.gz"));
        for path in [&tree, &file] {
            let archive = Archive::create(path).expect("there is nothing of that name");
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
