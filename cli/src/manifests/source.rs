//! The files of `k8s/base` and `k8s/overlays`, as they were when this was built.

/// A file of `k8s/`: its path below that, and its text.
pub(super) type File = (&'static str, &'static str);

macro_rules! files {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/", $path)))),+]
    };
}

/// All of them.
pub(super) const FILES: &[File] = files![
    "base/catalog.yaml",
    "base/kustomization.yaml",
    "base/mutatingwebhookconfiguration.yaml",
    "base/namespace.yaml",
    "base/networkpolicies.yaml",
    "base/resourcequota.yaml",
    "base/webhook.yaml",
    "overlays/before-1.28/kustomization.yaml",
    "overlays/default/kustomization.yaml",
    "overlays/ha/kustomization.yaml",
    "overlays/ha/poddisruptionbudgets.yaml",
    "overlays/kind/kustomization.yaml",
];
