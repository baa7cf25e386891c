//! Files that change all at once, the way the kubelet writes them: a link `..data` leads to the
//! directory of the newest state, and each file is a link through it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Component, Path};

use anyhow::{Context as _, ensure};

use super::content::Files;
use super::owner::Owner;

const CURRENT: &str = "..data";

/// Makes `dir` hold exactly these files; does nothing if it does already.
pub(super) fn write(dir: &Path, files: &Files, owner: &Owner) -> anyhow::Result<()> {
    let current = fs::read_link(dir.join(CURRENT)).ok();
    if let Some(current) = &current
        && holds(&dir.join(current), files)
    {
        return Ok(());
    }
    let version = k8s_openapi::jiff::Timestamp::now().as_nanosecond();
    let name = format!("..{version}");
    let state = dir.join(&name);
    for (path, file) in files {
        let plain = Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        ensure!(
            plain && !path.is_empty(),
            "path {path:?} must be relative and without .."
        );
        let place = state.join(path);
        fs::create_dir_all(place.parent().unwrap_or(&state))
            .and_then(|()| fs::write(&place, &file.content))
            .and_then(|()| fs::set_permissions(&place, Permissions::from_mode(file.mode)))
            .and_then(|()| chown(&place, owner.user, owner.group))
            .with_context(|| format!("write {path:?}"))?;
    }
    fs::create_dir_all(&state).context("create the new state")?;
    let next = dir.join("..data_tmp");
    let _ = fs::remove_file(&next);
    symlink(&name, &next).context("link the new state")?;
    fs::rename(&next, dir.join(CURRENT)).context("switch to the new state")?;
    link_names(dir, files).context("link the files")?;
    if let Some(old) = current {
        let _ = fs::remove_dir_all(dir.join(old));
    }
    Ok(())
}

/// The names at the top lead through `..data`; those of files that are gone are removed.
fn link_names(dir: &Path, files: &Files) -> std::io::Result<()> {
    let top = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
    let names: std::collections::BTreeSet<String> = files.keys().map(|path| top(path)).collect();
    for name in &names {
        let link = dir.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(CURRENT).join(name), link)?;
        }
    }
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !names.contains(&name) {
            fs::remove_file(dir.join(name))?;
        }
    }
    Ok(())
}

fn holds(state: &Path, files: &Files) -> bool {
    let same = files.iter().all(|(path, file)| {
        let place = state.join(path);
        fs::read(&place).is_ok_and(|content| content == file.content)
            && fs::metadata(&place).is_ok_and(|meta| meta.permissions().mode() & 0o777 == file.mode)
    });
    same && count(state) == files.len()
}

fn count(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            if entry.path().is_dir() {
                count(&entry.path())
            } else {
                1
            }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::super::content::File;
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        let file = |content: &str| File {
            content: content.into(),
            mode: 0o640,
        };
        list.iter()
            .map(|(path, content)| ((*path).to_owned(), file(content)))
            .collect()
    }

    fn read(dir: &Path, path: &str) -> Option<String> {
        fs::read_to_string(dir.join(path)).ok()
    }

    #[test]
    fn refuses_paths_that_lead_elsewhere() {
        let dir = tempfile::tempdir().expect("a directory");
        for path in ["../up", "/etc/passwd", "a/../../b", ""] {
            let written = write(dir.path(), &files(&[(path, "x")]), &Owner::default());
            assert!(written.is_err(), "{path}");
        }
        assert!(!dir.path().join("..data").exists());
    }

    #[test]
    fn replaces_all_files_at_once_and_only_when_they_differ() {
        let dir = tempfile::tempdir().expect("a directory");
        let (dir, owner) = (dir.path(), Owner::default());
        let first = files(&[("token", "one"), ("sub/key", "k")]);
        write(dir, &first, &owner).expect("written");
        let state = fs::read_link(dir.join("..data")).expect("a link");
        write(dir, &first, &owner).expect("written again");
        assert_eq!(fs::read_link(dir.join("..data")).expect("a link"), state);
        assert_eq!(read(dir, "sub/key").as_deref(), Some("k"));
        write(dir, &files(&[("token", "two")]), &owner).expect("written anew");
        assert_eq!(read(dir, "token").as_deref(), Some("two"));
        assert_eq!(read(dir, "sub/key"), None);
        assert!(!dir.join(state).exists());
        let mode = fs::metadata(dir.join("token"))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640);
    }
}
