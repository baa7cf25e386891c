//! How many files a process may have open: each connection is one, or two.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What nearly every system allows.
const FILES_ASSUMED: u64 = 1024;

/// Raises the limit on open files as far as it may be, and returns it. Many systems
/// allow few by default, and more if asked; what keeps a process from asking is logged.
pub fn raise_max() -> u64 {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, hard)| {
        let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        raised.map(|()| hard).map_err(|error| (error, soft))
    });
    let (error, files) = match raised {
        Ok(Ok(hard)) => return hard,
        Ok(Err((error, soft))) => (error, soft),
        Err(error) => (error, FILES_ASSUMED),
    };
    tracing::warn!(%error, files, "could not raise the limit on open files");
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_may_be_open_as_the_system_allows() {
        let limits = || getrlimit(Resource::RLIMIT_NOFILE).expect("the kernel knows it");
        let (_, hard) = limits();
        setrlimit(Resource::RLIMIT_NOFILE, hard - 1, hard).expect("less is always allowed");
        assert_eq!(raise_max(), hard);
        assert_eq!(limits(), (hard, hard));
    }
}
