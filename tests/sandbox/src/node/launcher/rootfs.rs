//! Puts a container's root file system together and moves into it.
//!
//! The system directories are the node's, read-only; everything else is the container's own, in
//! memory: an image here is a directory of binaries, and brings no system with it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::spec::{ContainerSpec, Mount};

const SYSTEM_DIRS: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Parts of the node's /etc that its binaries need: Debian's iptables is a link through
/// /etc/alternatives.
const SYSTEM_ETC: [&str; 6] = [
    "alternatives",
    "ssl",
    "ld.so.cache",
    "protocols",
    "services",
    "ethertypes",
];

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

const NO_DATA: Option<&str> = None;

/// Makes the calling process, which must be the first of new mount, pid and hostname namespaces,
/// see only the container's files.
///
/// # Errors
/// What couldn't be mounted, and why.
pub(crate) fn enter(spec: &ContainerSpec) -> anyhow::Result<()> {
    nix::unistd::sethostname(&spec.hostname)
        .with_context(|| format!("set the hostname {}", spec.hostname))?;
    mount(
        NO_DATA,
        "/",
        NO_DATA,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        NO_DATA,
    )
    .context("keep the container's mounts to itself")?;
    let root = spec.root.as_path();
    mount_new(root, "tmpfs", MsFlags::empty(), "mode=0755")?;
    system_dirs(root)?;
    etc(root, spec)?;
    devices(root)?;
    kernel(root)?;
    for (dir, mode) in [
        ("tmp", 0o1777),
        ("run", 0o755),
        ("var", 0o755),
        ("root", 0o700),
    ] {
        make_dir(&root.join(dir), mode)?;
    }
    symlink("../run", root.join("var/run")).context("link /var/run")?;
    bind(
        &Mount {
            source: spec.image.clone(),
            target: "/netting".into(),
            read_only: true,
        },
        root,
    )?;
    for mount in &spec.mounts {
        bind(mount, root)?;
    }
    pivot(root)?;
    if spec.read_only_root {
        remount_read_only(Path::new("/"))?;
    }
    Ok(())
}

fn system_dirs(root: &Path) -> anyhow::Result<()> {
    for name in SYSTEM_DIRS {
        let source = Path::new("/").join(name);
        match fs::read_link(&source) {
            // Never absolute: mounts are made through these links before the root is moved.
            Ok(link) => symlink(link.strip_prefix("/").unwrap_or(&link), root.join(name))
                .with_context(|| format!("link /{name}"))?,
            Err(_) if source.is_dir() => bind_read_only(&source, root)?,
            Err(_) => (),
        }
    }
    Ok(())
}

fn etc(root: &Path, spec: &ContainerSpec) -> anyhow::Result<()> {
    make_dir(&root.join("etc"), 0o755)?;
    for name in SYSTEM_ETC {
        let source = Path::new("/etc").join(name);
        if source.exists() {
            bind_read_only(&source, root)?;
        }
    }
    for (name, content) in &spec.etc {
        let path = root.join("etc").join(name);
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn devices(root: &Path) -> anyhow::Result<()> {
    let dev = root.join("dev");
    mount_new(&dev, "tmpfs", MsFlags::MS_NOSUID, "mode=0755")?;
    for name in DEVICES {
        let device = Path::new("/dev").join(name);
        bind(
            &Mount {
                source: device.clone(),
                target: device,
                read_only: false,
            },
            root,
        )?;
    }
    let data = "newinstance,ptmxmode=0666,mode=0620";
    mount_new(
        &dev.join("pts"),
        "devpts",
        MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
        data,
    )?;
    let hidden = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
    mount_new(&dev.join("shm"), "tmpfs", hidden, "mode=1777,size=65536k")?;
    let links = [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ];
    for (to, name) in links {
        symlink(to, dev.join(name)).with_context(|| format!("link /dev/{name}"))?;
    }
    Ok(())
}

/// `/proc/sys` stays writable for the sysctls of the network namespace, as the kernel itself asks
/// for capabilities there.
fn kernel(root: &Path) -> anyhow::Result<()> {
    let hidden = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
    mount_new(&root.join("proc"), "proc", hidden, "")?;
    mount_new(&root.join("sys"), "sysfs", hidden | MsFlags::MS_RDONLY, "")
}

fn bind_read_only(source: &Path, root: &Path) -> anyhow::Result<()> {
    bind(
        &Mount {
            source: source.to_owned(),
            target: source.to_owned(),
            read_only: true,
        },
        root,
    )
}

fn bind(what: &Mount, root: &Path) -> anyhow::Result<()> {
    let Mount {
        source,
        target,
        read_only,
    } = what;
    let place = inside(root, target)?;
    let said = || format!("mount {} at {}", source.display(), target.display());
    if source.is_dir() {
        fs::create_dir_all(&place).with_context(said)?;
    } else if !place.exists() {
        fs::create_dir_all(place.parent().unwrap_or(root)).with_context(said)?;
        File::create(&place).with_context(said)?;
    }
    let real = fs::canonicalize(&place).with_context(said)?;
    ensure!(
        real.starts_with(root),
        "{} leads out of the container",
        target.display()
    );
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source), &place, NO_DATA, flags, NO_DATA).with_context(said)?;
    if *read_only {
        remount_read_only(&place)
    } else {
        Ok(())
    }
}

fn remount_read_only(place: &Path) -> anyhow::Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(NO_DATA, place, NO_DATA, flags, NO_DATA)
        .with_context(|| format!("make {} read-only", place.display()))
}

fn mount_new(place: &Path, kind: &str, flags: MsFlags, data: &str) -> anyhow::Result<()> {
    fs::create_dir_all(place)
        .map_err(anyhow::Error::from)
        .and_then(|()| Ok(mount(Some(kind), place, Some(kind), flags, Some(data))?))
        .with_context(|| format!("mount {kind} at {}", place.display()))
}

fn make_dir(path: &Path, mode: u32) -> anyhow::Result<()> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .with_context(|| format!("create {}", path.display()))
}

/// Where `target` is below `root`, with the links of the system directories (`/bin` to `usr/bin`)
/// left to the kernel; `..` would lead out.
fn inside(root: &Path, target: &Path) -> anyhow::Result<PathBuf> {
    ensure!(
        target.is_absolute() && !target.components().any(|part| part == Component::ParentDir),
        "a container's mount path is absolute and without ..: {}",
        target.display()
    );
    Ok(root.join(
        target
            .strip_prefix("/")
            .expect("an absolute path begins with /"),
    ))
}

/// See pivot_root(2): with both arguments the same, the old root is stacked below the new one and
/// can be detached at once.
fn pivot(root: &Path) -> anyhow::Result<()> {
    std::env::set_current_dir(root).context("change to the new root")?;
    nix::unistd::pivot_root(".", ".").context("move to the new root")?;
    umount2(".", MntFlags::MNT_DETACH).context("detach the old root")?;
    std::env::set_current_dir("/").context("change to /")
}
