//! A pod's volumes, as directories of the node's.

mod content;
mod owner;
mod tokens;

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};

use super::launcher::Mount;
use content::Files;
pub(crate) use content::Source;
use owner::Owner;

/// How often what a pod's volumes are made of is looked at again, as the kubelet does about once a
/// minute; tokens are renewed on the way.
const REFRESH_INTERVAL: Duration = Duration::from_secs(30);

/// The volumes of one pod.
#[derive(Debug)]
pub(crate) struct Volumes {
    /// Where each volume is on the node.
    paths: HashMap<String, PathBuf>,
    /// Those whose content comes from the API.
    refreshed: Vec<Volume>,
    owner: Owner,
}

impl Volumes {
    /// Makes all volumes of a pod below `dir`.
    ///
    /// # Errors
    /// The first volume that can't be made, and why; everything may be tried again.
    pub(crate) async fn prepare(
        dir: &Path,
        spec: &PodSpec,
        source: &mut Source,
    ) -> anyhow::Result<Self> {
        let mut volumes = Self {
            paths: HashMap::new(),
            refreshed: Vec::new(),
            owner: Owner::of(spec),
        };
        for volume in spec.volumes.iter().flatten() {
            let path = dir.join(&volume.name);
            let prepared = volumes.prepare_one(path, volume, source).await;
            let path = prepared.with_context(|| format!("volume {:?}", volume.name))?;
            volumes.paths.insert(volume.name.clone(), path);
        }
        Ok(volumes)
    }

    async fn prepare_one(
        &mut self,
        path: PathBuf,
        volume: &Volume,
        source: &mut Source,
    ) -> anyhow::Result<PathBuf> {
        if let Some(on_host) = &volume.host_path {
            ensure!(
                Path::new(&on_host.path).exists(),
                "there is no {} on the node",
                on_host.path
            );
            return Ok(PathBuf::from(&on_host.path));
        }
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        if volume.empty_dir.is_some() {
            let mut mode = 0o777;
            if let Some(group) = self.owner.group {
                chown(&path, None, Some(group)).context("give it to the pod's fsGroup")?;
                mode |= 0o2000;
            }
            let opened = fs::set_permissions(&path, Permissions::from_mode(mode));
            opened.context("open it to everyone")?;
        } else if let Some(files) = source.files(volume, &self.owner).await? {
            write(&path, &files, &self.owner)?;
            self.refreshed.push(volume.clone());
        } else {
            bail!(
                "its type is not supported on this node; it has emptyDir, configMap, secret, \
                 downwardAPI, projected and hostPath"
            );
        }
        Ok(path)
    }

    /// Writes what changed until it is dropped. Failures leave what is there.
    pub(crate) async fn refresh(&self, mut source: Source) {
        loop {
            tokio::time::sleep(REFRESH_INTERVAL).await;
            for volume in &self.refreshed {
                let written = match source.files(volume, &self.owner).await {
                    Ok(files) => {
                        let files = files.unwrap_or_default();
                        write(&self.paths[&volume.name], &files, &self.owner)
                    }
                    Err(error) => Err(error),
                };
                if let Err(error) = written {
                    let error = format!("{error:#}");
                    tracing::warn!(error, volume = volume.name, "could not refresh a volume");
                }
            }
        }
    }

    /// What a container sees of the pod's volumes, parents before children.
    ///
    /// # Errors
    /// A mount of a part of a volume, or of a volume that the pod hasn't.
    pub(crate) fn mounts(&self, container: &Container) -> anyhow::Result<Vec<Mount>> {
        let mut mounts = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            let said = || format!("volume mount {:?}", mount.mount_path);
            let part = mount.sub_path.as_ref().or(mount.sub_path_expr.as_ref());
            let whole = part.is_none_or(String::is_empty);
            let source = self.paths.get(&mount.name).filter(|_| whole);
            let source =
                source.context("only whole volumes of the pod can be mounted on this node");
            mounts.push(Mount {
                source: source.with_context(said)?.clone(),
                target: Path::new("/").join(&mount.mount_path),
                read_only: mount.read_only.unwrap_or(false),
            });
        }
        mounts.sort_by_key(|mount| mount.target.components().count());
        Ok(mounts)
    }
}

/// Removes everything below `dir`; what another agent left, too.
pub(crate) fn remove(dir: &Path) {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, dir = %dir.display(), "could not remove a directory");
        }
        _ => {}
    }
}

/// Makes `dir` hold these files, each of which changes all at once.
fn write(dir: &Path, files: &Files, owner: &Owner) -> anyhow::Result<()> {
    for (path, file) in files {
        let plain = Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        ensure!(
            plain && !path.is_empty(),
            "path {path:?} must be relative and without .."
        );
        let place = dir.join(path);
        if fs::read(&place).is_ok_and(|content| content == file.content) {
            continue;
        }
        let partial = place.with_added_extension("partial");
        fs::create_dir_all(place.parent().unwrap_or(dir))
            .and_then(|()| fs::write(&partial, &file.content))
            .and_then(|()| fs::set_permissions(&partial, Permissions::from_mode(file.mode)))
            .and_then(|()| chown(&partial, owner.user, owner.group))
            .and_then(|()| fs::rename(&partial, &place))
            .with_context(|| format!("write {path:?}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::content::File;
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

    #[test]
    fn refuses_paths_that_lead_elsewhere() {
        let dir = tempfile::tempdir().expect("a directory");
        for path in ["../up", "/etc/passwd", "a/../../b", ""] {
            let written = write(dir.path(), &files(&[(path, "x")]), &Owner::default());
            assert!(written.is_err(), "{path}");
        }
    }

    #[test]
    fn writes_what_changed() {
        let dir = tempfile::tempdir().expect("a directory");
        let read = |path: &str| fs::read_to_string(dir.path().join(path)).ok();
        for content in ["one", "two", "two"] {
            let files = files(&[("token", content), ("sub/key", "k")]);
            write(dir.path(), &files, &Owner::default()).expect("written");
            assert_eq!(read("token").as_deref(), Some(content));
        }
        assert_eq!(read("sub/key").as_deref(), Some("k"));
        let mode = fs::metadata(dir.path().join("token"))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640);
    }
}
