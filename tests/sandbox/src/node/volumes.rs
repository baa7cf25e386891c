//! A pod's volumes, as directories of the node's.

mod atomic;
mod content;
mod owner;
mod tokens;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, HostPathVolumeSource, PodSpec, Volume, VolumeMount,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::env::expand;
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
    dir: PathBuf,
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
            dir: dir.to_owned(),
            paths: HashMap::new(),
            refreshed: Vec::new(),
            owner: Owner::of(spec),
        };
        for volume in spec.volumes.iter().flatten() {
            let path = volumes
                .prepare_one(volume, source)
                .await
                .with_context(|| format!("volume {:?}", volume.name))?;
            volumes.paths.insert(volume.name.clone(), path);
        }
        Ok(volumes)
    }

    async fn prepare_one(
        &mut self,
        volume: &Volume,
        source: &mut Source,
    ) -> anyhow::Result<PathBuf> {
        if let Some(host_path) = &volume.host_path {
            return on_host(host_path);
        }
        let path = self.dir.join(&volume.name);
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        if let Some(empty_dir) = &volume.empty_dir {
            self.empty_dir(&path, empty_dir)?;
        } else if let Some(files) = source.files(volume, &self.owner).await? {
            self.fill(&path, &files)?;
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
                    Ok(Some(files)) => self.fill(&self.dir.join(&volume.name), &files),
                    Ok(None) => Ok(()),
                    Err(error) => Err(error),
                };
                if let Err(error) = written {
                    let error = format!("{error:#}");
                    tracing::warn!(error, volume = volume.name, "could not refresh a volume");
                }
            }
        }
    }

    fn empty_dir(&self, path: &Path, empty_dir: &EmptyDirVolumeSource) -> anyhow::Result<()> {
        // A try before may have mounted it.
        let mounted = fs::symlink_metadata(path)?.permissions().mode() & 0o777 == 0o777;
        if empty_dir.medium.as_deref() == Some("Memory") && !mounted {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            mount(Some("tmpfs"), path, Some("tmpfs"), flags, None::<&str>)
                .context("mount a tmpfs")?;
        }
        let mut mode = 0o777;
        if let Some(group) = self.owner.group {
            chown(path, None, Some(group)).context("give it to the pod's fsGroup")?;
            mode |= 0o2000;
        }
        fs::set_permissions(path, Permissions::from_mode(mode)).context("open it to everyone")
    }

    fn fill(&self, path: &Path, files: &Files) -> anyhow::Result<()> {
        atomic::write(path, files, &self.owner)
    }

    /// What a container sees of the pod's volumes, parents before children.
    ///
    /// # Errors
    /// A mount of a volume that the pod hasn't, or of a path that leads out of it.
    pub(crate) fn mounts(
        &self,
        container: &Container,
        variables: &BTreeMap<String, String>,
    ) -> anyhow::Result<Vec<Mount>> {
        let mut mounts = Vec::new();
        for volume_mount in container.volume_mounts.iter().flatten() {
            let source = self
                .mount_source(volume_mount, variables)
                .with_context(|| format!("volume mount {:?}", volume_mount.mount_path))?;
            mounts.push(Mount {
                source,
                target: Path::new("/").join(&volume_mount.mount_path),
                read_only: volume_mount.read_only.unwrap_or(false),
            });
        }
        mounts.sort_by_key(|mount| mount.target.components().count());
        Ok(mounts)
    }

    fn mount_source(
        &self,
        mount: &VolumeMount,
        variables: &BTreeMap<String, String>,
    ) -> anyhow::Result<PathBuf> {
        let volume = self
            .paths
            .get(&mount.name)
            .ok_or_else(|| anyhow!("the pod has no volume {:?}", mount.name))?;
        let sub_path = match (&mount.sub_path, &mount.sub_path_expr) {
            (Some(path), _) if !path.is_empty() => path.clone(),
            (_, Some(path)) => expand(path, |name| variables.get(name).cloned()),
            _ => return Ok(volume.clone()),
        };
        ensure!(
            !Path::new(&sub_path).is_absolute() && !sub_path.split('/').any(|part| part == ".."),
            "subPath {sub_path:?} must be relative and without .."
        );
        let path = volume.join(&sub_path);
        if !path.exists() {
            fs::create_dir_all(&path).with_context(|| format!("create subPath {sub_path:?}"))?;
            fs::set_permissions(&path, Permissions::from_mode(0o777))?;
        }
        let real = path
            .canonicalize()
            .with_context(|| format!("find subPath {sub_path:?}"))?;
        ensure!(
            real.starts_with(volume.canonicalize()?),
            "subPath {sub_path:?} leads out of it"
        );
        Ok(real)
    }
}

/// Unmounts and removes everything below `dir`; what another agent left, too.
pub(crate) fn remove(dir: &Path) {
    let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap_or_default();
    let prefix = format!("{}/", dir.display());
    for place in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        if place.starts_with(&prefix)
            && let Err(error) = umount2(place, MntFlags::MNT_DETACH)
        {
            tracing::warn!(%error, place, "could not unmount a volume");
        }
    }
    match fs::remove_dir_all(dir) {
        Ok(()) => (),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (),
        Err(error) => tracing::warn!(%error, dir = %dir.display(), "could not remove a directory"),
    }
}

/// See <https://kubernetes.io/docs/concepts/storage/volumes/#hostpath-volume-types>.
fn on_host(host_path: &HostPathVolumeSource) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(&host_path.path);
    let kind = host_path.type_.as_deref().unwrap_or_default();
    match kind {
        "DirectoryOrCreate" => fs::create_dir_all(&path)?,
        "FileOrCreate" if !path.exists() => fs::write(&path, "")?,
        _ => (),
    }
    let found = fs::metadata(&path).with_context(|| format!("hostPath {}", path.display()))?;
    let fits = match kind {
        "Directory" | "DirectoryOrCreate" => found.is_dir(),
        "File" | "FileOrCreate" => found.is_file(),
        _ => true,
    };
    ensure!(
        fits,
        "hostPath type check failed: {} is not a {kind}",
        path.display()
    );
    Ok(path)
}
