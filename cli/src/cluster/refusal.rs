//! Why a cluster can't be asked, and what to do about it.

use std::{error::Error, path::PathBuf};

use kube::{client::AuthError, config::KubeconfigError};

use super::proxy::Proxy;

/// Why there is no answer. Where the reader can act, it says how.
#[derive(Debug, thiserror::Error)]
pub enum CannotAsk {
    /// There is neither a kubeconfig nor a cluster around the command.
    #[error(
        "no cluster to ask: there is no kubeconfig at {}, and this is no pod; \
         give one by --kubeconfig or KUBECONFIG",
        listed(files)
    )]
    NoCluster {
        /// Where it was looked for.
        files: Vec<PathBuf>,
    },
    /// The kubeconfig can't be read, or is wrong.
    #[error(
        "the kubeconfig can't be used: {0}; correct it, or give another by --kubeconfig or KUBECONFIG"
    )]
    Kubeconfig(KubeconfigError),
    /// Its user or its certificates are wrong, or a program that makes credentials fails.
    #[error(
        "the credentials of the kubeconfig can't be used: {0}; correct them, log in again, or choose another --context"
    )]
    Credentials(String),
    /// What should be a proxy is none. With who says so.
    #[error(
        "{0} is no URL of a proxy, such as http://proxy:3128 (or https, socks5, socks5h); correct it"
    )]
    ProxyUrl(String),
    /// The kubeconfig has no current context. With those that it has.
    #[error("the kubeconfig has no current context; choose one by --context: {0}")]
    NoCurrentContext(String),
    /// It has no context of that name.
    #[error("the kubeconfig has no context {wanted:?}; {}", they_are(contexts))]
    NoContext {
        /// The name.
        wanted: String,
        /// Those that it has, separated by commas.
        contexts: String,
    },
    /// Nobody answers at the API server's address.
    #[error(
        "the API server at {server} does not answer{}is the cluster up, and is it the right \
         context? ({why})", by(proxy.as_deref())
    )]
    Unreachable {
        /// Its URL.
        server: String,
        /// The proxy that was asked for it, and who names it.
        proxy: Option<String>,
        /// What happened instead: the innermost cause, for those around it repeat it.
        why: String,
    },
    /// The API server doesn't know who asks.
    #[error(
        "the API server does not accept these credentials ({message}); log in again, or choose another --context"
    )]
    Unauthorized {
        /// What it says.
        message: String,
    },
    /// The token of the auth-provider `oidc` is missing or out of date. kubectl would renew it,
    /// and note the new one in the kubeconfig.
    #[error(
        "the token that the kubeconfig's auth-provider oidc has can't be used ({0}): any kubectl \
         command renews it (kubectl get namespaces), then run this again; or log in again"
    )]
    OidcToken(String),
    /// Whoever asks may not.
    #[error("not allowed to {doing}: {message}; ask for a role that may, or use another --context")]
    Forbidden {
        /// What was tried: `list Pods`.
        doing: String,
        /// What the API server says, which names user, verb and resource.
        message: String,
    },
}

fn they_are(contexts: &str) -> String {
    if contexts.is_empty() {
        "it has none at all".to_owned()
    } else {
        format!("it has {contexts}")
    }
}

/// Whether an API server that answers with this status does not let whoever asks.
#[must_use]
pub fn is_refusal(status: u16) -> bool {
    matches!(status, 401 | 403)
}

fn listed(files: &[PathBuf]) -> String {
    let files = files.iter().map(|file| file.display().to_string());
    files.collect::<Vec<_>>().join(", ")
}

fn by(proxy: Option<&str>) -> String {
    match proxy {
        None => "; ".to_owned(),
        Some(proxy) => {
            format!(" by the proxy {proxy}; is that the way to it (NO_PROXY names what has none), ")
        }
    }
}

impl CannotAsk {
    /// From an error in making a client, before anything was asked.
    pub(super) fn from_credentials(error: kube::Error) -> Self {
        Self::Credentials(match error {
            // All that it says of itself has the environment that the program was given.
            kube::Error::Auth(AuthError::AuthExecRun { out, .. }) => {
                format!("the program that makes them ended with {}", out.status)
            }
            other => root(&other).to_string(),
        })
    }

    /// The same, where the kubeconfig's user has a token by the auth-provider `oidc`.
    pub(super) fn of_oidc(self) -> Self {
        match self {
            Self::Credentials(why) | Self::Unauthorized { message: why } => Self::OidcToken(why),
            other => other,
        }
    }

    /// From an error of the client, of which no answer came.
    pub(super) fn from_error(
        error: kube::Error,
        doing: &str,
        server: &str,
        proxy: Option<&Proxy>,
    ) -> Self {
        match Self::from_answer(error, doing) {
            Ok(refused) => refused,
            Err(other) => Self::Unreachable {
                server: server.to_owned(),
                proxy: proxy.map(ToString::to_string),
                why: root(&other).to_string(),
            },
        }
    }

    /// From an answer, if it says that it is about who asks.
    fn from_answer(error: kube::Error, doing: &str) -> Result<Self, kube::Error> {
        match error {
            kube::Error::Api(status) if status.code == 401 => Ok(Self::Unauthorized {
                message: status.message,
            }),
            kube::Error::Api(status) if status.code == 403 => Ok(Self::Forbidden {
                doing: doing.to_owned(),
                message: status.message,
            }),
            other => Err(other),
        }
    }
}

/// Says of a request what it was for, and of a refusal what to do.
pub trait Asked<T> {
    /// # Errors
    /// [`CannotAsk`] if whoever asks may not or isn't known; else the error, with
    /// what was tried as its context (`list Pods`).
    fn asked(self, doing: &str) -> anyhow::Result<T>;
}

impl<T> Asked<T> for Result<T, kube::Error> {
    fn asked(self, doing: &str) -> anyhow::Result<T> {
        self.map_err(|error| match CannotAsk::from_answer(error, doing) {
            Ok(refused) => refused.into(),
            Err(kube::Error::Api(status)) => {
                // Its own message alone: the rest of it is for programs.
                anyhow::anyhow!("could not {doing}: {}", status.message)
            }
            Err(other) => anyhow::anyhow!("could not {doing}: {}", root(&other)),
        })
    }
}

fn root<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root
}
