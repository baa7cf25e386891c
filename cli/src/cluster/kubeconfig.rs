//! The kubeconfig: which files it is made of, as kubectl takes them.

use std::{
    env,
    ffi::OsStr,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use kube::config::{Kubeconfig, KubeconfigError};

/// What was found where a kubeconfig is looked for.
pub(super) enum Found {
    /// One, of the files that are there.
    Kubeconfig(Box<Kubeconfig>),
    /// None of these files, none of which was asked for by a flag, is there and has a
    /// context.
    Nothing(Vec<PathBuf>),
}

/// The one that a flag names, or the files of $KUBECONFIG that there are, or the one in
/// the home directory.
/// <https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/>
///
/// # Errors
/// If a file can't be read, is no kubeconfig, or if the one that a flag names is missing.
pub(super) fn find(given: Option<&Path>) -> Result<Found, KubeconfigError> {
    match given {
        Some(file) => Kubeconfig::read_from(file).map(|one| Found::Kubeconfig(Box::new(one))),
        None => merge(files(env::var_os("KUBECONFIG").as_deref(), env::home_dir())),
    }
}

fn files(listed: Option<&OsStr>, home: Option<PathBuf>) -> Vec<PathBuf> {
    let listed = listed.map(env::split_paths).into_iter().flatten();
    let listed: Vec<_> = listed.filter(|file| !file.as_os_str().is_empty()).collect();
    if listed.is_empty() {
        let home = home.unwrap_or_else(|| "~".into());
        vec![home.join(".kube/config")]
    } else {
        listed
    }
}

/// Of two files the first wins, name by name. Those that aren't there are left out:
/// people list what other clusters' tools will write.
fn merge(files: Vec<PathBuf>) -> Result<Found, KubeconfigError> {
    let mut merged: Option<Kubeconfig> = None;
    for file in &files {
        let mut one = match Kubeconfig::read_from(file) {
            Err(KubeconfigError::ReadConfig(error, _)) if error.kind() == ErrorKind::NotFound => {
                continue;
            }
            one => one?,
        };
        // As `kubectl config unset current-context` leaves it: it chooses nothing.
        one.current_context = one.current_context.filter(|name| !name.is_empty());
        merged = Some(match merged {
            Some(first) => first.merge(one)?,
            None => one,
        });
    }
    Ok(match merged {
        // Empty files are as good as none.
        Some(merged) if !merged.contexts.is_empty() => Found::Kubeconfig(Box::new(merged)),
        _ => Found::Nothing(files),
    })
}

/// Takes the proxy of a context's cluster out of a kubeconfig. kube gets another one in its
/// stead, which nobody uses: finding none it would look for one in the environment, and
/// refuse what the environment has for other programs.
pub(super) fn take_proxy_url(kubeconfig: &mut Kubeconfig, context: &str) -> Option<String> {
    let mut contexts = kubeconfig.contexts.iter();
    let context = contexts.find(|one| one.name == context)?.context.as_ref()?;
    let mut clusters = kubeconfig.clusters.iter_mut();
    let cluster = clusters.find(|one| one.name == context.cluster)?;
    let cluster = cluster.cluster.as_mut()?;
    cluster.proxy_url.replace("http://unused".to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn merged(texts: &[(&str, Option<&str>)]) -> Result<Found, KubeconfigError> {
        let dir = tempfile::tempdir().expect("a directory");
        let files = texts.iter().map(|(name, text)| {
            let file = dir.path().join(name);
            if let Some(text) = text {
                fs::write(&file, text).expect("it can be written");
            }
            file
        });
        merge(files.collect())
    }

    fn current_context(found: Result<Found, KubeconfigError>) -> Option<String> {
        match found.expect("files that are there can be read") {
            Found::Kubeconfig(kubeconfig) => kubeconfig.current_context,
            Found::Nothing(files) => panic!("none of {files:?} was found"),
        }
    }

    #[test]
    fn a_file_that_is_no_kubeconfig_is_refused_wherever_it_is_listed() {
        for texts in [
            [("a", Some("contexts: 7")), ("b", Some(B))],
            [("a", Some(A)), ("b", Some("]"))],
        ] {
            assert!(matches!(merged(&texts), Err(KubeconfigError::Parse(_))));
        }
    }

    const A: &str = "{current-context: a, contexts: [{name: a, context: {cluster: a}}]}";
    const B: &str = "{current-context: b, contexts: [{name: b, context: {cluster: b}}]}";

    #[test]
    fn files_that_are_not_there_are_left_out() {
        for texts in [
            [("missing", None), ("a", Some(A))],
            [("a", Some(A)), ("missing", None)],
        ] {
            assert_eq!(current_context(merged(&texts)).as_deref(), Some("a"));
        }
    }

    #[test]
    fn files_that_are_missing_or_empty_are_as_good_as_none() {
        for text in [None, Some(""), Some("kind: Config")] {
            let nothing = merged(&[("one", text), ("two", None)]);
            assert!(matches!(nothing, Ok(Found::Nothing(files)) if files.len() == 2));
        }
    }

    #[test]
    fn the_first_file_that_chooses_a_context_wins() {
        let chosen = |first| current_context(merged(&[("first", Some(first)), ("b", Some(B))]));
        assert_eq!(chosen(A).as_deref(), Some("a"));
        assert_eq!(chosen("current-context: \"\"").as_deref(), Some("b"));
        assert_eq!(chosen("kind: Config").as_deref(), Some("b"));
    }

    #[test]
    fn an_empty_list_is_as_good_as_none() {
        let home = || Some(PathBuf::from("/home/me"));
        let at_home = vec![PathBuf::from("/home/me/.kube/config")];
        for listed in [None, Some(""), Some(":"), Some("::")] {
            assert_eq!(files(listed.map(OsStr::new), home()), at_home);
        }
        assert_eq!(
            files(Some(OsStr::new(":/a::/b")), home()),
            ["/a", "/b"].map(PathBuf::from)
        );
    }
}
